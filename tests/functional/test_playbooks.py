# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ready-made playbooks make of their variables, as texts of the command line and as files have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.stand_ins import StandIns

HOSTS = {"hosts": [{"name": "kvm01", "uri": "test:///default"}]}


@pytest.fixture
def site(tmp_path: Path) -> StandIns:
    trees = {"snapshots": [{"name": "20250601"}, {"name": "2025-06-01"}]}
    return StandIns(tmp_path, {"ablestack_vm_snapshot_info": trees})


@pytest.mark.parametrize(("start", "states"), [("false", ["stopped"]), ("yes", ["stopped", "started"])])
def test_restore_starts_the_vms_or_leaves_them_off(site: StandIns, start: str, states: list[str]) -> None:
    words = ("-e", "ablestack_names=web1", "-e", "ablestack_snapshot=20250601", "-e", f"ablestack_start={start}")
    done = site.run("ablestack.kvm.restore", *words)
    assert done.code == 0, done.output
    assert [given["state"] for given in done.asked("ablestack_vm")] == states


@pytest.mark.parametrize("snapshot", ["20250601", "2025-06-01"])
def test_restore_knows_a_snapshot_that_yaml_takes_for_a_number_or_a_date(site: StandIns, snapshot: str) -> None:
    (site.folder / "vars.yml").write_text(f"{{ablestack_names: [web1], ablestack_snapshot: {snapshot}}}\n")
    done = site.run("ablestack.kvm.restore", "-e", "@vars.yml")
    assert done.code == 0, done.output
    assert [str(given["name"]) for given in done.asked("ablestack_vm_snapshot")] == [snapshot]


def test_restore_names_a_vm_without_the_snapshot(site: StandIns) -> None:
    done = site.run("ablestack.kvm.restore", "-e", "ablestack_names=web1", "-e", "ablestack_snapshot=7")
    assert "VM 'web1' has no snapshot '7': it has: 20250601, 2025-06-01" in done.output
    assert done.asked("ablestack_vm") == []
    assert done.code != 0


@pytest.mark.parametrize(
    ("playbook", "missing"),
    [
        ("deploy", "ablestack_vms is not set"),
        ("destroy", "ablestack_names is not set"),
        ("host_evacuation", "ablestack_host is not set"),
        ("power", "ablestack_names or ablestack_state is not set"),
        ("recover", "ablestack_names is not set"),
        ("report", "ablestack_report is not set"),
        ("restore", "ablestack_names or ablestack_snapshot is not set"),
        ("snapshot", "ablestack_names or ablestack_snapshot is not set"),
    ],
)
def test_a_playbook_says_which_variable_it_lacks(site: StandIns, playbook: str, missing: str) -> None:
    done = site.run(f"ablestack.kvm.{playbook}", ABLESTACK_CATALOG="/nowhere/catalog.yml")
    assert missing in done.output
    assert done.calls == []
    assert done.code != 0


@pytest.mark.parametrize("path", ["cat.yml", "~/cat.yml"])
@pytest.mark.parametrize("installed", [True, False])
def test_the_catalog_of_the_environment_begins_at_the_folder_of_the_command(
    tmp_path: Path, path: str, installed: bool
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "cat.yml").write_text(yaml.safe_dump(HOSTS))
    python = tmp_path / "python"  # another name for the same: Ansible packs what it cannot know for installed
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    given = f"ansible_python_interpreter={sys.executable if installed else python}"
    program = [sys.executable, str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    env = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "HOME": str(work), "ABLESTACK_CATALOG": path}
    done = subprocess.run(
        [*program, "ablestack.kvm.expunge_due", "-e", given],
        env=env,
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", ["cat.yml", "$HOME/cat.yml", "~/cat.yml"])
def test_an_evacuation_reads_the_same_file(site: StandIns, path: str) -> None:
    (site.folder / "cat.yml").write_text(yaml.safe_dump(HOSTS))
    here = {"ABLESTACK_CATALOG": path, "HOME": str(site.folder)}
    site.answers["ablestack_vm_info"] = {"vms": [], "unreachable_hosts": {}}
    done = site.run("ablestack.kvm.host_evacuation", "-e", "ablestack_host=kvm01", **here)
    assert done.code == 0, done.output
    [given] = done.asked("ablestack_vm_info")
    assert [host["name"] for host in given["catalog"]["hosts"]] == ["kvm01"]


@pytest.mark.parametrize("state", ["empty", "filled"])
@pytest.mark.parametrize("place", ["group/ablestack.kvm.ablestack", "each"])
def test_an_evacuation_heeds_no_other_connection_of_the_play(site: StandIns, state: str, place: str) -> None:
    used = ("ablestack_vm", "ablestack_vm_info", "ablestack_vm_migrate")
    names = [place] if place != "each" else [f"ablestack.kvm.{name}" for name in used]
    vm = {"id": "vm1-id", "name": "web1", "managed": True, "state": "Running", "labels": {}}
    site.answers = {name: {"vms": [vm], "unreachable_hosts": {}, "vm": vm} for name in used}
    variables = {"ablestack_catalog": HOSTS, "host_evacuation_host": "kvm01", "host_evacuation_state": state}
    done = site.play(
        {
            "module_defaults": {name: {"uri": "test:///default", "catalog_file": "other.yml"} for name in names},
            "vars": variables,
            "roles": ["ablestack.kvm.host_evacuation"],
        }
    )
    assert done.code == 0, done.output
    assert {name for name, _given in done.calls} == set(used)
    assert [given for _name, given in done.calls if {"uri", "catalog_file"} & set(given)] == []
