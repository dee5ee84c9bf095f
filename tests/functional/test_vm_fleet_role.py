# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that the role vm_fleet makes of VMs, from what a fleet returned: names, groups, addresses and variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.inventory import to_safe_group_name

PLAIN = {"state": "Running", "host": "kvm01", "group": "", "labels": {}, "ip_address": "10.10.10.21"}
VMS = [
    {**PLAIN, "name": "web1", "group": "the shop", "labels": {"role": "web", "tier-2": "a b"}},
    {**PLAIN, "name": "plain1", "ip_address": "10.10.10.22"},
    {**PLAIN, "name": "off1", "state": "Stopped", "labels": {"role": "web"}},
    {**PLAIN, "name": "lost1", "ip_address": ""},
]
SEEN = """{{ {'groups': groups, 'vars': hostvars | dict2items
  | rejectattr('key', 'equalto', 'localhost') | items2dict} | to_json }}"""


def hosts_of(folder: Path, vms: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
    """The groups and the hosts' variables of a run in which the role has seen these VMs."""
    result = {"results": [{"name": vm["name"], "action": "unchanged", "vm": vm} for vm in vms]}
    out = folder / "seen.json"
    role = {"name": "ablestack.kvm.vm_fleet", "tasks_from": "hosts.yml"}
    tasks = [
        {"name": "Make hosts", "ansible.builtin.include_role": role, "vars": {"vm_fleet_result": result, **given}},
        {"name": "Look", "ansible.builtin.copy": {"content": SEEN, "dest": str(out), "mode": "0600"}},
    ]
    play = {"name": "Fleet", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    playbook = folder / "fleet.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    program = [sys.executable, str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*program, str(playbook)],
        env={**os.environ, "ANSIBLE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_the_vms_that_can_be_reached_are_hosts_in_the_groups_of_their_labels(tmp_path: Path) -> None:
    found = hosts_of(tmp_path, VMS, vm_fleet_inventory_groups=["shops"], vm_fleet_hostvars={"ansible_user": "debian"})
    groups = {name: sorted(members) for name, members in found["groups"].items() if name not in ("all", "ungrouped")}
    assert groups == {
        "ablestack": ["plain1", "web1"],
        "shops": ["plain1", "web1"],
        "group_the_shop": ["web1"],
        "label_role_web": ["web1"],
        "label_tier_2_a_b": ["web1"],
    }
    web1 = found["vars"]["web1"]
    assert (web1["ansible_host"], web1["ansible_user"], web1["ablestack_host"]) == ("10.10.10.21", "debian", "kvm01")
    assert web1["ablestack_labels"] == {"role": "web", "tier-2": "a b"}


def test_guests_without_an_address_are_hosts_where_their_agent_is_asked(tmp_path: Path) -> None:
    found = hosts_of(tmp_path, VMS, vm_fleet_connection="guest_agent")
    assert sorted(found["groups"]["ablestack"]) == ["lost1", "plain1", "web1"]
    assert found["vars"]["lost1"]["ansible_connection"] == "ablestack.kvm.ablestack_guest_agent"


def test_letters_of_every_language_are_kept_in_groups_as_the_inventory_keeps_them(tmp_path: Path) -> None:
    vm = {**PLAIN, "name": "web1", "group": "쇼핑몰 1", "labels": {"역할": "웹", "größe": "2.5", "café": "é-à/b"}}
    groups = set(hosts_of(tmp_path, [vm])["groups"]) - {"all", "ungrouped", "ablestack"}
    names = ["group_쇼핑몰 1", "label_역할_웹", "label_größe_2.5", "label_café_é-à/b"]
    assert groups == {to_safe_group_name(name) for name in names}
    assert {"group_쇼핑몰_1", "label_역할_웹", "label_größe_2_5"} <= groups
