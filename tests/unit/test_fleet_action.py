# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's module run from where it is installed: when, and that nobody can tell it from a packed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.action import ablestack_vm_fleet as action

INSTALLED = {"ansible_python_interpreter": sys.executable}
# The same program by another path: Ansible cannot know what it is, and packs.
PACKED = {"ansible_python_interpreter": f"{Path(sys.executable).parent}/../bin/{Path(sys.executable).name}"}
UNCHANGED = {"vms": [{"name": "web2", "state": "destroyed"}]}
FAILED = {"vms": [{"name": "web1"}, {"name": "web2", "state": "destroyed"}]}
REFUSED = {"vms": [{"name": "web1", "nmae": "web2"}]}
UNREACHABLE = {"vms": [{"name": "web1"}], "catalog": {"hosts": [{"name": "a", "uri": "qemu+unix:///no?socket=/no"}]}}


def results_of(folder: Path, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What one playbook registers of fleet tasks: each has `options`, and keywords of its task."""
    fleets = []
    for number, task in enumerate(tasks):
        options = task.pop("options")
        given = options if "catalog" in options else {"uri": "test:///default", **options}
        told = {"register": f"done{number}", "ignore_errors": True}
        fleets.append({"ablestack.kvm.ablestack_vm_fleet": given, **told, **task})
    content = f"{{{{ [{', '.join(f'done{number}' for number in range(len(tasks)))}] | to_json }}}}"
    copy = {"ansible.builtin.copy": {"content": content, "dest": str(folder / "done.json")}, "check_mode": False}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"ansible_connection": "local", **INSTALLED}}
    (folder / "book.yml").write_text(yaml.safe_dump([{**play, "tasks": [*fleets, copy]}]))
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    words = ["ansible-playbook", "-i", "localhost,", str(folder / "book.yml")]
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
    done = results_of(tmp_path, [{**kind, "vars": python} for python in (INSTALLED, PACKED) for kind in kinds])
    assert done[: len(kinds)] == done[len(kinds) :]
    assert [one.get("failed", False) for one in done[: len(kinds)]] == [False, False, *[True] * 6]


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


@pytest.mark.parametrize(
    ("interpreter", "become", "installed"),
    [
        (sys.executable, None, True),
        (sys.executable, object(), False),
        ("/usr/bin/python9", None, False),
        (None, None, False),
    ],
)
def test_only_the_same_python_and_user_has_it_installed(interpreter: Any, become: Any, installed: bool) -> None:
    task = SimpleNamespace(
        _templar=SimpleNamespace(template=lambda value: value), _connection=SimpleNamespace(become=become)
    )
    variables = {"ansible_python_interpreter": interpreter} if interpreter else {}
    assert action.ActionModule._is_installed(task, variables) is installed


def test_a_module_that_dies_is_a_failure_with_what_it_said() -> None:
    told = {"stdout": "", "stderr": "Killed\n", "rc": 137}
    task = SimpleNamespace(
        _task=SimpleNamespace(args={"vms": []}, action="ablestack_vm_fleet"),
        _update_module_args=lambda _name, options, _vars: options.update(_ansible_check_mode=False),
        _compute_environment_string=lambda: "",
        _low_level_execute_command=lambda _command, in_data: told,
    )
    done = action.ActionModule._run_installed(task, {})
    assert done["failed"] is True
    assert (done["module_stderr"], done["rc"]) == ("Killed\n", 137)
