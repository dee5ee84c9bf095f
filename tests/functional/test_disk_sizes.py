# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks only grow, also where a VM's record does not tell how large they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from support.memory_calls import Killed
from support.samples import ID, vm_config
from support.tasks import Task, refused, vm, volume
from support.test_driver import driver_host
from support.worlds import World, make_world

WEB: dict[str, Any] = {
    "template": "tiny",
    "compute_offering": "small",
    "networks": ["default"],
    "data_disks": [{"name": "d", "size": 1}],
    "wait": "none",
}


def run(world: World, task: Task, check: bool = False) -> Outcome:
    return task.run(world.controller(check))


def true_size(world: World, disk: str = "d") -> int:
    end = "-root.qcow2" if disk == "root" else f"vol-{disk}.qcow2"
    return next(volume.capacity // GIB for name, volume in world.pool.volumes.items() if name.endswith(end))


def sizes(world: World) -> dict[str, int]:
    """As the VM's view tells them."""
    return {disk["name"]: disk["size_gib"] for disk in run(world, vm("web1")).result["vm"]["disks"]}


def kill_after_growing(world: World, task: Task, call: str) -> None:
    """The process dies before it can say in the record how large the disk is now."""
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(call, Killed(), "after")
    with pytest.raises(Killed):
        task.run(controller)
    for domain in world.state.domains.values():
        domain.holds.clear()  # as if some time had passed


def never_shrinks(world: World, task: Task) -> None:
    error = refused(world, task)
    assert error.code is Code.INVALID_INPUT
    assert "cannot shrink" in error.message


def settles(world: World, task: Task, shown: list[tuple[str, Any, Any]]) -> None:
    """Check mode foretells these changes, they are made, and a second run finds nothing to do."""
    foretold, done = run(world, task, check=True), run(world, task)
    assert [(row["path"], row["before"], row["after"]) for row in done.result["changes"]] == shown
    assert (foretold.result["changes"], foretold.after) == (done.result["changes"], done.after)
    assert not run(world, task).changed


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("what", ["root", "d"])
def test_a_disk_that_a_killed_task_has_grown_does_not_shrink(what: str, runs: bool) -> None:
    def asks(size: int) -> Task:
        if what == "root":
            return vm("web1", root_disk_size=size)
        return vm("web1", data_disks=[{"name": "d", "size": size}])

    def killed() -> World:
        world = make_world()
        run(world, vm("web1", start=runs, **WEB))
        kill_after_growing(world, asks(4), "resize_disk" if runs else "resize_volume")
        return world

    path = "root_disk.size" if what == "root" else "data_disks.d.size"
    world = killed()
    never_shrinks(world, asks(2))
    assert true_size(world, what) == 4
    settles(world, asks(4), [(path, 1, 4)])
    assert sizes(world)[what] == 4
    world = killed()
    settles(world, asks(5), [(path, 4, 5)])
    assert true_size(world, what) == 5


def test_a_free_volume_that_has_grown_is_as_large_in_the_vm_that_gets_it_back() -> None:
    world = make_world()
    run(world, vm("web1", **WEB))
    run(world, vm("web1", state="destroyed"))
    assert run(world, volume("d", size=3)).changed
    assert not run(world, volume("d", size=3)).changed
    run(world, vm("web1", state="recovered"))
    assert sizes(world)["d"] == 3
    run(world, vm("web1", state="started"))
    never_shrinks(world, vm("web1", data_disks=[{"name": "d", "size": 2}]))
    never_shrinks(world, volume("d", size=2))
    assert true_size(world) == 3


def test_growing_a_free_volume_can_be_killed_before_its_vm_is_told() -> None:
    world = make_world()
    run(world, vm("web1", **WEB))
    run(world, vm("web1", state="destroyed"))
    kill_after_growing(world, volume("d", size=3), "resize_volume")
    assert run(world, volume("d", size=3)).changed
    run(world, vm("web1", state="recovered"))
    assert sizes(world)["d"] == 3


# --- the last guard, at the call itself: a disk may have grown since the plan was made


class Growing:
    """A domain's disk, or a volume, of 3 GiB: shrinks without a word, as libvirt's do."""

    def __init__(self) -> None:
        self.size = 3 * GIB

    def blockInfo(self, _target: str) -> list[int]:  # noqa: N802
        return [self.size, 0, 0]

    def blockResize(self, _target: str, size: int, _flags: int) -> None:  # noqa: N802
        self.size = size

    def info(self) -> list[int]:
        return [0, self.size, 0]

    def resize(self, size: int, _flags: int) -> None:
        self.size = size


@pytest.mark.parametrize("runs", [True, False])
def test_a_host_grows_disks_and_never_shrinks_them(tmp_path: Path, runs: bool) -> None:
    disk = Growing()
    with driver_host(tmp_path) as host:
        host.define(vm_config(virt_type="test"))

        def resize(size: int) -> None:
            host.resize_disk(ID, "vdb", size) if runs else host.resize_volume("default", "vol-d.qcow2", size)

        host._domains[ID], host._volumes["default", "vol-d.qcow2"] = disk, disk
        with pytest.raises(AblestackError, match="has 3 GiB and cannot shrink to 2 GiB") as error:
            resize(2 * GIB)
        assert (error.value.code, disk.size) == (Code.INVALID_INPUT, 3 * GIB)
        resize(3 * GIB)
        resize(4 * GIB)
    assert disk.size == 4 * GIB
