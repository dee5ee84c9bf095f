# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an expunge deletes and what it leaves: other VMs' disks whose names begin alike, pools that are gone."""

from __future__ import annotations

from typing import Any

import pytest
from functional.test_vm_life import WEB, apply, thrice

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import VmNames
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_calls import Killed
from support.worlds import make_world

NAMES = VmNames("web1", "68c50ae2-0000-4000-8000-000000000001")


@pytest.mark.parametrize("rest", ["root.qcow2", "root.s1-1.qcow2", "seed.iso", "seed.iso.new", "data12.x"])
def test_a_vm_owns_its_disks_seed_and_overlays(rest: str) -> None:
    assert NAMES.owns(f"vm-web1-68c50ae2-{rest}")


@pytest.mark.parametrize("name", ["copy", "root", "seed", "data1", "d", "root-copy"])
def test_a_vm_owns_nothing_of_one_whose_name_begins_with_its_own_and_its_id(name: str) -> None:
    other = VmNames(f"web1-68c50ae2-{name}", "0a0a0a0a-0000-4000-8000-000000000002")
    for volume in (other.root_volume, other.seed_volume, f"{other.volume_prefix}data1.s1"):
        assert volume.startswith(NAMES.volume_prefix)
        assert not NAMES.owns(volume)


def test_an_expunge_leaves_the_disks_of_a_vm_named_after_it() -> None:
    world = make_world()
    first = apply(world, **WEB).result["vm"]
    copy = f"web1-{first['id'][:8]}-copy"
    apply(world, **{**WEB, "name": copy})
    thrice(world, name="web1", state="expunged")
    (left,) = world.state.domains.values()
    assert left.config.domain_name == copy
    assert all(world.state.volume_at(disk.path) for disk in left.config.disks if disk.path)


def test_a_pool_that_is_no_longer_defined_does_not_keep_a_vm_from_being_expunged() -> None:
    world = make_world()
    world.state.add_pool("nvme")
    apply(world, **WEB, data_disks=(DiskSpec("d", size=GIB, pool="nvme"),))
    del world.state.pools["nvme"]
    thrice(world, name="web1", state="expunged", delete_data_disks="all")
    assert not world.state.domains
    assert not [name for name in world.pool.volumes if name.startswith("vm-")]


def test_a_pool_that_is_stopped_does() -> None:
    world = make_world()
    apply(world, **WEB)
    apply(world, name="web1", state="destroyed")
    world.state.pools["default"].active = False
    with pytest.raises(AblestackError, match="not active"):
        apply(world, name="web1", state="expunged")
    world.state.pools["default"].active = True
    thrice(world, name="web1", state="expunged")
    assert not [name for name in world.pool.volumes if name.startswith("vm-")]


@pytest.mark.parametrize(
    "task", [{}, {"state": "started"}, {"state": "stopped", "root_disk_size": 2 * GIB}, {"state": "reinstalled"}]
)
@pytest.mark.usefixtures("waiting_takes_no_time")
def test_a_vm_that_a_killed_expunge_had_only_claimed_gets_its_name_back(task: dict[str, Any]) -> None:
    world = make_world()
    apply(world, **WEB, autostart=True)
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("rename", Killed(), when="after")
    with pytest.raises(Killed), controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", state="expunged"))
    (domain,) = world.state.domains.values()
    assert domain.config.domain_name.startswith("web1.claim1-")
    predicted = apply(world, check=True, name="web1", **task)
    done = apply(world, name="web1", **task)
    assert (predicted.changed, predicted.after) == (done.changed, done.after)
    assert domain.config.domain_name == "web1"
    assert domain.autostart
    assert not apply(world, name="web1").changed
