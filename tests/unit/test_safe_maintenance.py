# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role safe_maintenance by Ansible, over stand-ins of the modules it uses: what it asks of them, and when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("ablestack_vm", "ablestack_vm_info", "ablestack_vm_snapshot")
# Notes what it is asked, and knows one VM with its labels; of where to ask, only one may be given.
STAND_IN = """#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule
texts = {name: {"type": "str"} for name in "uri vm description quiesce state wait".split()}
module = AnsibleModule(
    {**texts, "catalog": {"type": "dict"}, "labels": {"type": "dict"}, "timeout": {"type": "int"},
     "force_after_timeout": {"type": "bool"}, "name": {"type": "raw"}, "id": {"type": "raw"}},
    mutually_exclusive=[("uri", "catalog")],
    supports_check_mode=True,
)
file = os.environ["STATE"]
with open(file) as content:
    state = json.load(content)
given = {name: value for name, value in module.params.items() if value is not None}
state["calls"].append(given)
if given.get("state") == "reverted" and module.check_mode:
    module.fail_json(msg="there is no such snapshot")
state["labels"] = given.get("labels", state["labels"])
with open(file, "w") as content:
    json.dump(state, content)
vm = {"id": "vm1-id", "name": "vm1", "state": "Running", "labels": state["labels"], "snapshots": []}
module.exit_json(changed="id" in given or "vm" in given, vms=[vm])
"""


@dataclass
class Site:
    """A play of one guest, which is this machine, and what the stand-ins were asked."""

    folder: Path
    state: dict[str, Any] = field(default_factory=lambda: {"calls": [], "labels": {}})

    def __post_init__(self) -> None:
        collection = self.folder / "ansible_collections" / "ablestack" / "kvm"
        (collection / "plugins" / "modules").mkdir(parents=True)
        (collection / "meta").mkdir()
        (collection / "roles").symlink_to(REPOSITORY / "roles")
        groups = {"requires_ansible": ">=2.17.0", "action_groups": {"ablestack": list(MODULES)}}
        (collection / "meta" / "runtime.yml").write_text(yaml.safe_dump(groups))
        for name in MODULES:
            (collection / "plugins" / "modules" / f"{name}.py").write_text(STAND_IN)
        (self.folder / "boot").write_text("first\n")
        (self.folder / "work.yml").write_text("- name: Work\n  ansible.builtin.raw: echo work >> done\n")
        self.health("exit 0")

    def health(self, command: str) -> None:
        (self.folder / "health.yml").write_text(f"- name: Health\n  ansible.builtin.raw: {command}\n")

    @property
    def worked(self) -> int:
        done = self.folder / "done"
        return len(done.read_text().splitlines()) if done.exists() else 0

    def run(self, maintenance: Any = "2025-06", ok: bool = True, words: tuple[str, ...] = ()) -> str:
        """Plays the role; the state is what it was after the last time, without its calls."""
        told = {
            "safe_maintenance_id": maintenance,
            "safe_maintenance_uri": "qemu+ssh://kvm01/system",
            "safe_maintenance_tasks": str(self.folder / "work.yml"),
            "safe_maintenance_health_tasks": str(self.folder / "health.yml"),
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        defaults = {
            "group/ablestack.kvm.ablestack": {"catalog": {"hosts": []}},
            "ablestack.kvm.ablestack_vm": {"catalog": {"hosts": []}},
        }
        play = {"hosts": "vm1", "gather_facts": False, "module_defaults": defaults, "vars": told}
        (self.folder / "book.yml").write_text(
            yaml.safe_dump([{**play, "roles": ["ablestack.kvm.safe_maintenance"]}]), encoding="utf-8"
        )
        state = self.folder / "state.json"
        state.write_text(json.dumps({**self.state, "calls": []}))
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "STATE": str(state),
        }
        boot = json.dumps({"__safe_maintenance_boot": f"cat {self.folder}/boot"})
        command = ["ansible-playbook", "-i", "vm1,", "-e", boot, str(self.folder / "book.yml"), *words]
        done = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        self.state = json.loads(state.read_text())
        return done.stdout

    @property
    def asked(self) -> list[str]:
        """The states that were wanted."""
        return [call["state"] for call in self.state["calls"] if "state" in call]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("maintenance", ["2025-06", date(2025, 6, 1), 2025])
def test_it_is_done_once_and_asks_the_vms_own_host(site: Site, maintenance: Any) -> None:
    site.run(maintenance)
    assert {call["uri"] for call in site.state["calls"]} == {"qemu+ssh://kvm01/system"}
    assert site.state["labels"] == {"maintenance": str(maintenance)}
    assert (site.worked, site.asked) == (1, ["absent"])
    site.run(maintenance)
    assert (site.worked, site.asked) == (1, [])


def test_what_fails_is_taken_back_and_not_tried_again(site: Site) -> None:
    site.health("exit 1")
    assert "is as it was before maintenance '2025'" in site.run(2025, ok=False)
    assert site.asked == ["stopped", "reverted", "started", "absent"]
    assert site.state["labels"] == {"maintenance-failed": "2025"}
    assert "failed before" in site.run(2025, ok=False)
    assert site.worked == 1


def test_a_guest_that_is_restarted_during_its_health_check_is_not_healthy(site: Site) -> None:
    site.health(f"echo second > {site.folder}/boot")
    assert "was restarted during the health check" in site.run(ok=False)
    assert site.asked == ["stopped", "reverted", "started", "absent"]


CANNOT_HOLD = """
- name: Ask the service
  ansible.builtin.command: echo ready
  register: asked
- name: See that it answers
  ansible.builtin.assert:
    that: asked.stdout | default('') == 'ready'
"""


def test_check_mode_predicts_the_maintenance_without_its_health_check(site: Site) -> None:
    (site.folder / "health.yml").write_text(CANNOT_HOLD)
    site.run(words=("--check",))
    assert (site.worked, site.asked) == (0, ["absent"])
    assert site.state["labels"] == {"maintenance": "2025-06"}
    site.state["labels"] = {}
    site.run()
    assert (site.worked, site.asked) == (1, ["absent"])


def test_work_that_fails_in_check_mode_is_the_reason_that_is_given(site: Site) -> None:
    (site.folder / "work.yml").write_text(CANNOT_HOLD)
    told = " ".join(site.run(ok=False, words=("--check",)).split())
    assert "'vm1' would be as it was before maintenance '2025-06': task 'See that it answers' failed" in told
    assert site.asked == ["absent"]


@pytest.mark.parametrize(("retry", "worked"), [("false", 1), ("true", 2)])
def test_it_is_tried_again_where_that_is_said_on_the_command_line(site: Site, retry: str, worked: int) -> None:
    site.health("exit 1")
    site.run(ok=False)
    site.run(ok=False, words=("-e", f"safe_maintenance_retry={retry}"))
    assert site.worked == worked
