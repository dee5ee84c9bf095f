# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role expunge_timer on a real host: its units are right, what they run expunges, and it goes without a trace."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import Any, Callable

from lab_tests.lab import Lab
from lab_tests.runs import Run

UNITS = "/etc/systemd/system/ablestack-expunge"
PACKAGE = "/srv/local/expunge.zip"


def test_a_host_expunges_by_itself(clean_lab: Lab, run_playbook: Callable[..., Run]) -> None:
    def role(check: bool = False, **variables: Any) -> Run:
        # The machine's /usr is the hosts', and the lab has no systemd to run timers.
        given = {"expunge_timer_package": PACKAGE, "expunge_timer_enabled": False, **variables}
        play = {"hosts": "h1", "gather_facts": False, "roles": ["ablestack.kvm.expunge_timer"], "vars": given}
        return run_playbook([play], check=check)

    def exists(path: str) -> bool:
        return clean_lab.host("h1", "test", "-e", path, check=False).returncode == 0

    copied, written, removed = (
        f"ablestack.kvm.expunge_timer : {name}"
        for name in (
            "Copy it to the host",
            "Write the service and its timer",
            "Remove the service, its timer and what they run",
        )
    )
    assert role(check=True).changed == [copied, written]
    assert not exists(f"{UNITS}.timer")
    role()
    assert role().changed == role(check=True).changed == []

    verified = clean_lab.host("h1", "systemd-analyze", "verify", f"{UNITS}.service", f"{UNITS}.timer")
    assert verified.stdout + verified.stderr == ""
    again = role(expunge_timer_schedule="*-*-* 03:00:00")
    assert again.changed == [written]

    deploy(clean_lab, run_playbook)
    service = clean_lab.host("h1", "cat", f"{UNITS}.service").stdout.splitlines()
    [command] = [line.partition("=")[2] for line in service if line.startswith("ExecStart=")]
    [variable] = [shlex.split(line.partition("=")[2])[0] for line in service if line.startswith("Environment=")]
    told = clean_lab.host("h1", "env", variable, *shlex.split(command)).stdout
    assert told.startswith("expunged VM 'gone' (")
    with closing(clean_lab.connect()) as connection:
        assert [domain.name() for domain in connection.listAllDomains()] == ["kept"]
        assert "vol-log.qcow2" in connection.storagePoolLookupByName("default").listVolumes()
        assert "gone" not in connection.networkLookupByName("lan").XMLDesc()
    assert clean_lab.host("h1", "env", variable, *shlex.split(command)).stdout == ""

    assert role(check=True, expunge_timer_state="absent").changed == [removed]
    assert role(expunge_timer_state="absent").changed == [removed]
    assert not any(map(exists, (f"{UNITS}.timer", f"{UNITS}.service", PACKAGE)))
    assert role(expunge_timer_state="absent").changed == []


def deploy(lab: Lab, run_playbook: Callable[..., Run]) -> None:
    """A VM that is due, with an address reserved and a disk that outlives it, and one that is not."""
    template, network, vm = (f"ablestack.kvm.ablestack_{name}" for name in ("template", "network", "vm"))
    size = {"template": "tiny", "cpu": 1, "memory": 96, "start": False}
    gone = {"networks": [{"name": "lan", "ip": "10.20.0.9"}], "data_disks": [{"name": "log", "size": "1MiB"}]}
    tasks = [
        {template: {"name": "tiny", "src": str(lab.tiny)}},
        {network: {"name": "lan", "cidr": "10.20.0.0/24"}},
        {vm: {**size, **gone, "name": "gone"}},
        {vm: {**size, "networks": ["lan"], "name": "kept"}},
        {vm: {"name": "gone", "state": "destroyed", "expunge_delay": 0}},
    ]
    defaults = {"group/ablestack.kvm.ablestack": {"uri": lab.uri()}}
    run_playbook([{"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}])
