# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reinstalling a VM over hosts in memory: what is new, what stays, and what ends a run that was killed."""

from __future__ import annotations

from typing import Any

import pytest
from functional.test_vm_change import VM, apply, domain, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import VmFilter, list_vms
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_calls import Killed
from support.memory_state import MemoryVolume, qcow2_bytes
from support.worlds import World, put_template


def root_of(world: World) -> MemoryVolume:
    path = domain(world).config.disks[0].path
    found = world.state.volume_at(path)
    assert found is not None
    return found


@pytest.mark.parametrize("running", [True, False])
def test_a_reinstalled_vm_has_a_new_root_disk_and_all_else_of_before(running: bool) -> None:
    world = site()
    apply(world, **VM, start=running)
    before = apply(world, name="web1").result["vm"]
    root_of(world).content += b"old"
    data = world.pool.volumes["vol-a.qcow2"]
    for _run in range(2):
        predicted = apply(world, check=True, name="web1", state="reinstalled")
        done = apply(world, name="web1", state="reinstalled")
        assert done.changed
        assert (predicted.after, predicted.result["changes"]) == (done.after, done.result["changes"])
        assert done.result["changes"][0]["path"] == "root_disk"
    after = done.result["vm"]
    assert not root_of(world).content.endswith(b"old")
    assert world.pool.volumes["vol-a.qcow2"] is data
    kept = ("id", "disks", "cpu", "memory", "state", "created", "template", "ssh_key_pairs")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert [(nic["mac"], nic["network"]) for nic in after["nics"]] == [
        (nic["mac"], nic["network"]) for nic in before["nics"]
    ]
    assert not apply(world, name="web1").changed


def test_a_vm_is_reinstalled_from_another_template_with_other_options() -> None:
    world = site()
    put_template(world.pool, "efi", qcow2_bytes(3 * GIB), boot_type="uefi")
    apply(world, **VM)
    done = apply(world, name="web1", state="reinstalled", template="efi", cpu=1, memory=512, compute_offering="fixed")
    vm = done.result["vm"]
    assert (vm["template"], vm["boot_type"], vm["disks"][0]["size_gib"], vm["cpu"]) == ("efi", "uefi", 3, 1)
    assert not apply(world, name="web1", template="efi").changed
    grown = apply(world, name="web1", state="reinstalled", root_disk_size=5 * GIB).result["vm"]
    assert grown["disks"][0]["size_gib"] == 5
    iso = apply(world, name="web1", state="reinstalled", iso="install").result["vm"]
    assert (iso["template"], iso["iso"]) == ("", "install")
    assert root_of(world).backing == ""


@pytest.mark.parametrize(
    ("given", "code"),
    [({"template": "nope"}, Code.NOT_FOUND), ({"root_disk_size": GIB // 2}, Code.INVALID_INPUT),
     ({"template": "rescue"}, Code.INVALID_INPUT), ({"boot_type": "bios", "boot_mode": "secure"}, Code.INVALID_INPUT)],
)  # fmt: skip
def test_a_reinstall_that_cannot_be_leaves_it_as_it_is(given: dict[str, Any], code: Code) -> None:
    world = site()
    apply(world, **VM)
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(name="web1", state="reinstalled", wait="none", **given))
        assert refused.value.code is code
        assert controller.writes == []


def test_protected_snapshots_and_missing_vms_are_not_reinstalled() -> None:
    world = site()
    apply(world, **VM, protected=True)
    with pytest.raises(AblestackError) as refused:
        apply(world, name="web1", state="reinstalled")
    assert refused.value.code is Code.PROTECTED
    apply(world, name="web1", protected=False)
    domain(world).snapshots = ("s1",)
    with pytest.raises(AblestackError) as refused:
        apply(world, name="web1", state="reinstalled")
    assert refused.value.code is Code.SNAPSHOTS_EXIST
    with pytest.raises(AblestackError) as refused:
        apply(world, **{**VM, "name": "web2"}, state="reinstalled")
    assert refused.value.code is Code.NOT_FOUND


def test_a_guest_that_does_not_go_down_is_not_taken_for_half_reinstalled() -> None:
    world = site()
    apply(world, **VM)
    root = root_of(world)
    domain(world).guest.shuts_down = False
    with pytest.raises(AblestackError) as late:
        apply(world, name="web1", state="reinstalled")
    assert late.value.code is Code.TIMEOUT
    assert apply(world, name="web1").result["vm"]["state"] == "Running"
    assert root_of(world) is root


@pytest.mark.parametrize("task", [{}, {"state": "started"}, {"state": "stopped"}])
def test_any_task_ends_a_reinstall_that_was_killed(task: dict[str, Any]) -> None:
    ends = "Stopped" if task.get("state") == "stopped" else "Running"
    for position in range(1, 9):
        world = site()
        apply(world, **VM)
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, Killed())
        with pytest.raises(Killed), controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(name="web1", state="reinstalled", root_disk_size=2 * GIB, wait="none"))
        done = apply(world, name="web1", **task)
        assert done.result["vm"]["state"] == ends
        assert root_of(world).capacity in (GIB, 2 * GIB)
        assert not apply(world, name="web1", **task).changed


@pytest.mark.parametrize("running", [True, False])
def test_a_destroyed_vm_that_lends_its_disk_stays_destroyed(running: bool) -> None:
    world = site()
    apply(world, **{**VM, "name": "old", "networks": (NicSpec("lan"),)}, start=False)
    apply(world, name="old", state="destroyed")
    apply(world, **{**VM, "data_disks": ()}, start=running)
    assert apply(world, name="web1", state="reinstalled", data_disks=(DiskSpec("a"),)).changed
    with world.controller(check=True).infrastructure as infrastructure:
        rows = list_vms(infrastructure, VmFilter(states=("Destroyed",))).result["vms"]
    assert [row["name"] for row in rows] == ["old"]
    assert rows[0]["expunge_at"]
    back = apply(world, name="old", state="recovered")
    assert [disk["name"] for disk in back.result["vm"]["disks"]] == ["root", "b"]
