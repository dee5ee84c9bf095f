# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process killed or failing at any write of any task on a VM: the same task again ends it, nothing is orphaned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_calls import Killed
from support.worlds import Controller, World, make_world

WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": (NicSpec("lan", ip="10.10.10.50"), NicSpec("default")),
    "data_disks": (DiskSpec("keep", size=GIB), DiskSpec("drop", size=GIB)),
    "autostart": True,
    "wait": "none",
}


@dataclass(frozen=True)
class Case:
    """A task, the tasks that come before it, and the state it ends in (None: no VM is left)."""

    before: tuple[dict[str, Any], ...]
    task: dict[str, Any]
    ends: str | None


GROWN = {"name": "web1", "cpu": 2, "memory": 1024, "compute_offering": "custom", "allow_restart": True}
CASES = {
    "deploy": Case((), WEB, "Running"),
    "deploy stopped": Case((), {**WEB, "start": False}, "Stopped"),
    "full clone": Case((), {**WEB, "clone": "full", "root_disk_size": 2 * GIB}, "Running"),
    "deploy over a destroyed one": Case(
        (WEB, {"name": "web1", "state": "destroyed"}), {**WEB, "networks": (NicSpec("lan"),)}, "Running"
    ),
    "change": Case(
        (WEB,),
        GROWN,
        "Running",
    ),
    "grow": Case((WEB,), {"name": "web1", "state": "stopped", "root_disk_size": 4 * GIB}, "Stopped"),
    "user data": Case((WEB,), {"name": "web1", "user_data": "#!/bin/sh\n"}, "Running"),
    "disks": Case(
        (WEB,), {"name": "web1", "data_disks": (DiskSpec("keep", size=2 * GIB), DiskSpec("new", size=GIB))}, "Running"
    ),
    "disks while off": Case(
        ({**WEB, "start": False},),
        {"name": "web1", "data_disks": (DiskSpec("keep", size=2 * GIB), DiskSpec("new", size=GIB))},
        "Stopped",
    ),
    "a disk moves": Case(
        (WEB,), {"name": "web1", "data_disks": (DiskSpec("keep", device=7),), "allow_restart": True}, "Running"
    ),
    "a destroyed one's disk": Case(
        (WEB, {"name": "web1", "state": "destroyed"}, {**WEB, "networks": (NicSpec("default"),), "data_disks": ()}),
        {"name": "web1", "data_disks": (DiskSpec("keep"),)},
        "Running",
    ),
    "NICs": Case(
        (WEB,),
        {
            "name": "web1",
            "networks": (NicSpec("default"), NicSpec("lan", ip="10.10.10.51"), NicSpec("lan", ip="10.10.10.52")),
        },
        "Running",
    ),
    "NICs go": Case((WEB,), {"name": "web1", "networks": (NicSpec("default"),)}, "Running"),
    "root grows": Case((WEB,), {"name": "web1", "root_disk_size": 4 * GIB}, "Running"),
    "firmware": Case((WEB,), {"name": "web1", "boot_type": "uefi", "tpm": True, "allow_restart": True}, "Running"),
    "reinstall": Case((WEB,), {"name": "web1", "state": "reinstalled"}, "Running"),
    "reinstall while off": Case(({**WEB, "start": False},), {"name": "web1", "state": "reinstalled"}, "Stopped"),
    "stop": Case((WEB,), {"name": "web1", "state": "stopped"}, "Stopped"),
    "start": Case(({**WEB, "start": False},), {"name": "web1", "state": "started"}, "Running"),
    "destroy": Case((WEB,), {"name": "web1", "state": "destroyed"}, "Destroyed"),
    "recover": Case((WEB, {"name": "web1", "state": "destroyed"}), {"name": "web1", "state": "recovered"}, "Stopped"),
    "expunge": Case((WEB,), {"name": "web1", "state": "expunged", "delete_data_disks": ("drop",)}, None),
    "expunge a destroyed one": Case(
        (WEB, {"name": "web1", "state": "destroyed", "delete_data_disks": ("drop",)}),
        {"name": "web1", "state": "expunged"},
        None,
    ),
}


def run(controller: Controller, **options: Any) -> dict[str, Any]:
    with controller.infrastructure as infrastructure:
        return dict(apply_vm(infrastructure, VmSpec(**{"wait": "none", **options})).result)


def prepared(case: Case) -> World:
    world = make_world()
    for task in case.before:
        run(world.controller(), **task)
    return world


def audit(world: World) -> None:
    """Every volume, reservation and definition belongs to something that is there."""
    domains = list(world.state.domains.values())
    ids = {domain.config.id[:8] for domain in domains}
    own = [name for name in world.pool.volumes if name.startswith("vm-")]
    assert [name for name in own if name.split("-")[-2] not in ids] == []
    macs = {nic.mac for domain in domains for nic in domain.config.nics}
    assert [row for row in world.state.networks["lan"].facts.reservations if row.mac not in macs] == []
    for domain in domains:
        for disk in domain.config.disks:
            assert not disk.path or world.state.volume_at(disk.path) is not None, disk


def in_the_end(world: World, case: Case) -> None:
    """What must hold after the task has run to its end, however often it was interrupted."""
    audit(world)
    vms = [domain.config.record for domain in world.state.domains.values()]
    found = run(
        world.controller(), name="web1", **({} if case.ends and case.ends != "Destroyed" else {"state": "destroyed"})
    )
    assert (found["vm"].get("state") if found["vm"] else None) == case.ends
    assert {"vol-keep.qcow2"} <= set(world.pool.volumes), "a data disk that nobody named is gone"
    if case.ends is None:
        assert vms == []
        assert "vol-drop.qcow2" not in world.pool.volumes
    again = world.controller()
    if case.task.get("state") != "reinstalled":
        run(again, **case.task)
    assert again.writes == []


def writes_of(case: Case) -> int:
    world = prepared(case)
    controller = world.controller()
    run(controller, **case.task)
    in_the_end(world, case)
    return len(controller.writes)


@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_write_the_same_task_again_ends_it(name: str) -> None:
    case = CASES[name]
    for position in range(1, writes_of(case) + 1):
        for when in ("before", "after"):
            world = prepared(case)
            controller = world.controller()
            controller.hosts["kvm01"].fail_at(position, Killed(), when)
            with pytest.raises(Killed):
                run(controller, **case.task)
            run(world.controller(), **case.task)
            in_the_end(world, case)


@pytest.mark.parametrize("name", CASES)
def test_failing_at_any_write_the_same_task_again_ends_it(name: str) -> None:
    case = CASES[name]
    for position in range(1, writes_of(case) + 1):
        for when in ("before", "after"):
            world = prepared(case)
            controller = world.controller()
            controller.hosts["kvm01"].fail_at(position, AblestackError(Code.INTERNAL, "injected"), when)
            with pytest.raises(AblestackError, match="injected"):
                run(controller, **case.task)
            run(world.controller(), **case.task)
            in_the_end(world, case)
