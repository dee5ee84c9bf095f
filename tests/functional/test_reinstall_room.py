# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reinstalling where there is little room: refused before the VM is touched, and completed on a host that is full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase
from support.memory_calls import Killed
from support.memory_state import MemoryDomain
from support.tasks import fleet, refused, vm
from support.worlds import World, make_world

WEB: dict[str, Any] = {"template": "tiny", "compute_offering": "small", "networks": ["default"], "wait": "none"}
FAT = vm("web1", state="reinstalled", root_disk_offering="fat", wait="none")


def site(**options: Any) -> World:
    world = make_world(disk_offerings={"fat": {"size": 5, "provisioning": "fat"}})
    vm("web1", **{**WEB, **options}).run(world.controller())
    return world


def leave_room(world: World, gib: int) -> None:
    world.pool.capacity -= world.pool.available - gib * GIB


def the_domain(world: World) -> MemoryDomain:
    (domain,) = world.state.domains.values()
    return domain


def killed_reinstall(world: World) -> None:
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("delete_volume", Killed(), "after")
    with pytest.raises(Killed):
        vm("web1", state="reinstalled").run(controller)
    the_domain(world).holds.clear()  # as if some time had passed


def crowded(world: World) -> World:
    """The same site, where not one VM more may be started."""
    settings = replace(world.catalog.settings, capacity_threshold=0.01)
    return World(replace(world.catalog, settings=settings), world.states)


def test_a_root_disk_there_is_no_room_for_is_refused_while_the_old_one_is_there() -> None:
    world = site()
    leave_room(world, 2)
    volumes = set(world.pool.volumes)
    error = refused(world, FAT)
    assert error.code is Code.INSUFFICIENT_CAPACITY
    assert "of 5 GiB needed" in error.message
    assert the_domain(world).active
    assert set(world.pool.volumes) == volumes


def test_the_room_of_the_old_root_disk_counts_as_free() -> None:
    world = site(root_disk_offering="fat")
    leave_room(world, 1)
    assert FAT.run(world.controller(check=True)).changed
    assert FAT.run(world.controller()).result["vm"]["state"] == "Running"


@pytest.mark.parametrize(("room", "fits"), [(9, False), (10, True)])
def test_two_of_a_fleet_do_not_count_on_the_same_room(room: int, fits: bool) -> None:
    world = site()
    vm("web2", **WEB).run(world.controller())
    leave_room(world, room)
    both = fleet("web1", "web2", defaults={"root_disk_offering": "fat", "wait": "none"}, state="reinstalled")
    if fits:
        assert both.run(world.controller()).result["summary"]["failed"] == 0
    else:
        with pytest.raises(AblestackError, match="of 5 GiB needed"):
            both.run(world.controller())
    assert all(domain.active for domain in world.state.domains.values())
    roots = [volume for name, volume in world.pool.volumes.items() if name.endswith("-root.qcow2")]
    assert sorted(root.capacity // GIB for root in roots) == ([5, 5] if fits else [1, 5])


def test_each_of_a_fleet_counts_on_the_room_of_its_own_root_disk() -> None:
    world = site(root_disk_offering="fat")
    vm("web2", **WEB, root_disk_offering="fat").run(world.controller())
    leave_room(world, 1)
    both = fleet("web1", "web2", defaults={"root_disk_offering": "fat", "wait": "none"}, state="reinstalled")
    assert both.run(world.controller()).result["summary"]["failed"] == 0


def test_room_that_libvirt_has_not_seen_yet_counts() -> None:
    world = site()
    world.pool.seen = 0
    assert FAT.run(world.controller()).changed


@pytest.mark.parametrize("state", ["reinstalled", "present", "started"])
def test_a_killed_reinstall_of_a_vm_that_ran_is_completed_on_a_full_host(state: str) -> None:
    world = site()
    killed_reinstall(world)
    done = vm("web1", state=state).run(crowded(world).controller())
    assert done.result["vm"]["state"] == "Running"
    assert the_domain(world).config.record is not None
    assert the_domain(world).config.record.mark.phase is Phase.SETTLED


def test_one_that_was_off_needs_room_to_be_started() -> None:
    world = site(start=False)
    killed_reinstall(world)
    with pytest.raises(AblestackError, match="above the threshold") as error:
        vm("web1", state="started").run(crowded(world).controller())
    assert error.value.code is Code.INSUFFICIENT_CAPACITY
    assert vm("web1").run(crowded(world).controller()).result["vm"]["state"] == "Stopped"
