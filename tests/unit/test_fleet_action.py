# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run from where they are installed: when, and that nobody can tell one from a packed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.action import ablestack_vm_fleet as fleet
from ansible_collections.ablestack.kvm.plugins.plugin_utils import installed as action

FLEET = "ablestack_vm_fleet"
INSTALLED = {"ansible_python_interpreter": sys.executable}
UNCHANGED = {"vms": [{"name": "web2", "state": "destroyed"}]}
FAILED = {"vms": [{"name": "web1"}, {"name": "web2", "state": "destroyed"}]}
REFUSED = {"vms": [{"name": "web1", "nmae": "web2"}]}
UNREACHABLE = {"vms": [{"name": "web1"}], "catalog": {"hosts": [{"name": "a", "uri": "qemu+unix:///no?socket=/no"}]}}


def packed(folder: Path) -> dict[str, str]:
    """The same program by another name: Ansible cannot know what it is, and packs."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return {"ansible_python_interpreter": str(program)}


def results_of(folder: Path, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What one playbook registers of tasks: each has `options`, a `module`, and keywords of its task."""
    fleets = []
    for number, task in enumerate(tasks):
        options = task.pop("options")
        given = options if "catalog" in options else {"uri": "test:///default", **options}
        told = {"register": f"done{number}", "ignore_errors": True}
        fleets.append({f"ablestack.kvm.{task.pop('module', FLEET)}": given, **told, **task})
    content = f"{{{{ [{', '.join(f'done{number}' for number in range(len(tasks)))}] | to_json }}}}"
    copy = {"ansible.builtin.copy": {"content": content, "dest": str(folder / "done.json")}, "check_mode": False}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"ansible_connection": "local", **INSTALLED}}
    (folder / "book.yml").write_text(yaml.dump([{**play, "tasks": [*fleets, copy]}]))
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (folder / "password").write_text("secret")
    words = ["ansible-playbook", "-i", "localhost,", "--vault-password-file", "password", str(folder / "book.yml")]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    # what releases of Ansible note for themselves differs from one to the next
    return [{key: value for key, value in one.items() if not key.startswith("_ansible_")} for one in done]


def test_an_installed_module_tells_what_a_packed_one_does(tmp_path: Path) -> None:
    kinds = [
        {"options": options, **mode}
        for options in (UNCHANGED, FAILED, REFUSED, UNREACHABLE)
        for mode in ({}, {"check_mode": True, "diff": True})
    ]
    kinds += [{"module": module, "options": {}} for module in sorted(every_module())]
    ways = (INSTALLED, packed(tmp_path))
    done = results_of(tmp_path, [{**kind, "vars": python} for python in ways for kind in kinds])
    assert done[: len(kinds)] == done[len(kinds) :]
    assert [one.get("failed", False) for one in done[:8]] == [False, False, *[True] * 6]
    told = {kind["module"]: one for kind, one in zip(kinds[8:], done[8 : len(kinds)])}
    assert told["ablestack_vm_info"]["vms"] == []
    assert [module for module, one in told.items() if "module_stderr" in one] == []


def every_module() -> set[str]:
    folder = Path(action.__file__).parents[1] / "modules"
    return {file.stem for file in folder.glob("ablestack_*.py")}


def test_every_module_has_the_action() -> None:
    root = Path(action.__file__).parents[2]
    routes = yaml.safe_load((root / "meta" / "runtime.yml").read_text(encoding="utf-8"))["plugin_routing"]["modules"]
    own = {file.stem for file in (root / "plugins" / "action").glob("*.py")}
    assert set(routes) | own == every_module()
    assert {route["action_plugin"] for route in routes.values()} == {"ablestack.kvm.ablestack_vm"}
    assert issubclass(fleet.ActionModule, action.InstalledAction)


def test_values_that_are_no_json_are_sent_as_ansible_sends_them(tmp_path: Path) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret

    sealed = VaultLib([("default", VaultSecret(b"secret"))]).encrypt("web2").decode()
    labels = {"vms": [{"name": "web2", "state": "destroyed", "labels": {"since": date(2025, 6, 1)}}]}
    named = {"vms": [{"name": Sealed(sealed), "state": "destroyed"}]}
    ways = (INSTALLED, packed(tmp_path))
    done = results_of(tmp_path, [{"options": given, "vars": python} for python in ways for given in (labels, named)])
    assert [one.get("failed", False) for one in done] == [False] * 4
    assert [one["results"][0]["name"] for one in done] == ["web2"] * 4
    assert done[:2] == done[2:]


class Sealed(str):
    """An encrypted value, which YAML has a tag for."""


yaml.add_representer(Sealed, lambda dumper, text: dumper.represent_scalar("!vault", str(text), style="|"))


def test_what_lies_beside_the_playbook_is_no_library_and_its_environment_counts(tmp_path: Path) -> None:
    for name in ("secrets", "libvirt", "uuid"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    catalog = tmp_path / "catalog.yml"
    catalog.write_text("hosts: []\n")
    named = {"vms": [{"name": "web1"}], "catalog": None}
    environment = {"environment": {"ABLESTACK_CATALOG": str(catalog)}}
    unchanged, refused = results_of(tmp_path, [{"options": UNCHANGED}, {"options": named, **environment}])
    assert unchanged["changed"] is False
    assert refused["error"]["code"] == "InvalidInput"
    assert "hosts" in refused["msg"]


HERE = Path(sys.executable).parent
DISCOVERED = {"ansible_facts": {"discovered_interpreter_python": sys.executable}}


@pytest.mark.parametrize(
    ("variables", "delegate", "become", "installed"),
    [
        (INSTALLED, None, None, True),
        ({"ansible_python_interpreter": f"{HERE}/python"}, None, None, True),
        ({"ansible_python_interpreter": f"{HERE}/python3"}, None, None, True),
        (INSTALLED, None, object(), False),
        ({"ansible_python_interpreter": os.path.realpath(sys.executable)}, None, None, sys.prefix == sys.base_prefix),
        ({"ansible_python_interpreter": "/usr/bin/python9"}, None, None, False),
        ({"ansible_python_interpreter": "python3"}, None, None, False),
        ({}, None, None, False),
        (DISCOVERED, None, None, True),
        ({**DISCOVERED, "ansible_python_interpreter": "auto_silent"}, None, None, True),
        ({**DISCOVERED, "ansible_python_interpreter": "/usr/bin/python9"}, None, None, False),
        ({"ansible_delegated_vars": {"here": INSTALLED}}, "here", None, True),
        ({**INSTALLED, "ansible_delegated_vars": {"here": {}}}, "here", None, False),
    ],
)
def test_only_the_same_python_and_user_has_it_installed(
    variables: dict[str, Any], delegate: str | None, become: Any, installed: bool
) -> None:
    task = action.InstalledAction.__new__(action.InstalledAction)
    task._task = SimpleNamespace(delegate_to=delegate)
    task._templar = SimpleNamespace(template=lambda value: value)
    task._connection = SimpleNamespace(become=become)
    assert task._is_installed(variables) is installed


@pytest.mark.parametrize(
    ("interpreter", "sent"), [("{{ ansible_playbook_python }}", False), (" {{ '/usr/bin/env' }} python3", True)]
)
def test_an_interpreter_may_be_a_template(interpreter: str, sent: bool, tmp_path: Path) -> None:
    told = {"ansible_connection": "local", "ansible_python_interpreter": interpreter}
    task = {"ablestack.kvm.ablestack_vm_info": {"uri": "test:///default"}}
    (tmp_path / "book.yml").write_text(
        yaml.dump([{"hosts": "localhost", "gather_facts": False, "vars": told, "tasks": [task]}])
    )
    words = [str(HERE / "ansible-playbook"), "-vvv", "-i", "localhost,", str(tmp_path / "book.yml")]
    run = subprocess.run(words, env={**os.environ, "ANSIBLE_HOME": str(tmp_path)}, capture_output=True, check=False)
    assert run.returncode == 0 or sent, run.stdout
    assert (b"AnsiballZ" in run.stdout) is sent


def test_compiled_files_are_kept_elsewhere_where_the_collection_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/some one")
    assert action.cache_setting() == ""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert action.cache_setting() == "'PYTHONPYCACHEPREFIX=/home/some one/ablestack-kvm/compiled'"
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/elsewhere")
    assert action.cache_setting() == ""


def test_names_are_not_told_where_nothing_may_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fleet.SWITCH, "always")
    monkeypatch.setattr(action.InstalledAction, "_done", lambda self, *_more: self._task.environment)
    for no_log, told in ((False, 1), (True, 0)):
        task = fleet.ActionModule.__new__(fleet.ActionModule)
        task._task = SimpleNamespace(no_log=no_log, check_mode=False, environment=[])
        assert len(task._done({}, True, False)) == told


def test_a_module_that_dies_is_a_failure_with_what_it_said() -> None:
    told = {"stdout": "", "stderr": "Killed\n", "rc": 137}
    task = SimpleNamespace(
        _module=FLEET,
        _compute_environment_string=lambda: "",
        _low_level_execute_command=lambda _command, in_data: told,
    )
    done = action.InstalledAction._run_installed(task, "{}")
    assert done["failed"] is True
    assert (done["module_stderr"], done["rc"]) == ("Killed\n", 137)


def test_warnings_are_sentences_whatever_release_of_ansible_wrote_them() -> None:
    event = {"event": {"msg": "host 'h2' was left out", "__ansible_type": "Event"}, "__ansible_type": "WarningSummary"}
    answer = json.dumps({"changed": False, "warnings": [event, "as ever", {"other": 1}]})
    task = SimpleNamespace(
        _module=FLEET,
        _compute_environment_string=lambda: "",
        _low_level_execute_command=lambda _command, in_data: {"stdout": answer, "stderr": "", "rc": 0},
    )
    done = action.InstalledAction._run_installed(task, "{}")
    assert done["warnings"] == ["host 'h2' was left out", "as ever", "{'other': 1}"]
