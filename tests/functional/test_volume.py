# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes by themselves over hosts in memory: every state, twice, and predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, VmConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.volume import (
    VolumeFilter,
    apply_volume,
    list_volumes,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.face.volume_options import volume_spec
from support.memory_state import MemoryDomain
from support.snapshots import run as run_snapshot
from support.snapshots import the_domain
from support.worlds import Controller, World, make_world, put_template

VM: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": (NicSpec("default"),),
    "data_disks": (DiskSpec("mine", size=GIB),),
    "wait": "none",
}


def site(hosts: int = 1, **vm: Any) -> World:
    world = make_world(hosts, disk_offerings={"data2": {"size": 2, "max_iops": 500}, "custom": {"custom": True}})
    run_vm(world, **{**VM, "host": "kvm01", **vm})
    return world


def run_vm(world: World, **options: Any) -> Outcome:
    with world.controller().infrastructure as infrastructure:
        return apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))


def run(controller: Controller, **options: Any) -> Outcome:
    with controller.infrastructure as infrastructure:
        return apply_volume(infrastructure, volume_spec(options))


def thrice(world: World, **options: Any) -> Outcome:
    predicted = run(world.controller(check=True), **options)
    done = run(world.controller(), **options)
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    again = world.controller()
    second = run(again, **options)
    assert not second.changed
    assert again.writes == []
    assert second.before == second.after == done.after
    return done


def code_of(world: World, **options: Any) -> Code:
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused:
            run(controller, **options)
        assert controller.writes == []
    return refused.value.code


def test_a_volume_is_made_grown_attached_moved_and_deleted() -> None:
    world = site()
    run_vm(world, **{**VM, "name": "web2", "data_disks": ()})
    volume = thrice(world, name="spare", size="1GiB").result["volume"]
    assert (volume["state"], volume["vm"], volume["size_gib"], volume["device"]) == ("Detached", "", 1, None)
    thrice(world, name="spare", size="2")
    volume = thrice(world, name="spare", state="attached", vm="web1", max_iops=300).result["volume"]
    assert (volume["vm"], volume["device"], volume["target"], volume["max_iops"]) == ("web1", 2, "vdc", 300)
    assert code_of(world, name="spare", state="attached", vm="web2") is Code.IN_USE
    assert code_of(world, name="spare", state="detached", vm="web2") is Code.IN_USE
    assert code_of(world, name="spare", state="absent") is Code.IN_USE
    assert thrice(world, name="spare", size=3).result["volume"]["size_gib"] == 3
    assert thrice(world, name="spare", state="detached", vm="web1").result["volume"]["state"] == "Detached"
    assert thrice(world, name="spare", state="attached", vm="web2", device=9).result["volume"]["target"] == "vdj"
    thrice(world, name="spare", state="detached")
    assert thrice(world, name="spare", state="absent").result["volume"] == {}
    assert sorted(name for name in world.pool.volumes if name.startswith("vol-")) == ["vol-mine.qcow2"]


def test_a_volume_that_is_to_be_there_for_a_vm_is_attached_to_it() -> None:
    world = site(hosts=2)
    volume = thrice(world, name="spare", size=1, vm="web1", max_iops=300).result["volume"]
    assert (volume["state"], volume["vm"], volume["host"], volume["max_iops"]) == ("Attached", "web1", "kvm01", 300)
    assert thrice(world, name="spare", vm="web1", max_iops=0).result["volume"]["max_iops"] == 0
    thrice(world, name="spare", state="detached", vm="web1")
    assert thrice(world, name="spare", state="absent", vm="web1").result["volume"] == {}


def test_a_change_that_needs_the_vm_off_says_nothing_of_options_a_volume_has_not() -> None:
    world = site()
    thrice(world, name="spare", size=1, vm="web1")
    move = {"name": "spare", "state": "attached", "vm": "web1", "device": 7}
    with pytest.raises(AblestackError) as refused:
        run(world.controller(), **move)
    assert (refused.value.code, refused.value.hint) == (Code.INVALID_STATE, "stop the VM first")
    assert code_of(world, **{**move, "device": 1}) is Code.INVALID_INPUT
    run_vm(world, name="web1", state="stopped")
    assert thrice(world, **move).result["volume"]["device"] == 7


def test_an_offering_is_attached_with_its_limits() -> None:
    world = site()
    volume = thrice(world, name="log", state="attached", vm="web1", disk_offering="data2").result["volume"]
    assert (volume["size_gib"], volume["offering"], volume["max_iops"]) == (2, "data2", 500)
    assert code_of(world, name="other", state="present", disk_offering="custom") is Code.INVALID_INPUT
    thrice(world, name="other", disk_offering="custom", size=1)


def test_a_destroyed_vms_disk_is_free() -> None:
    world = site()
    run_vm(world, name="web1", state="destroyed")
    volume = thrice(world, name="mine", size=2).result["volume"]
    assert (volume["state"], volume["vm"]) == ("Detached", "")
    thrice(world, name="mine", state="absent")
    back = run_vm(world, name="web1", state="recovered").result["vm"]
    assert [disk["name"] for disk in back["disks"]] == ["root"]


@pytest.mark.parametrize("given", [{"size": 2, "max_iops": 500}, {"disk_offering": "data2", "device": 5}])
def test_a_task_is_turned_round_by_its_state_alone(given: dict[str, Any]) -> None:
    world = site()
    task = {"name": "spare", "vm": "web1", **given}
    thrice(world, **task, state="attached")
    assert thrice(world, **task, state="detached").result["volume"]["vm"] == ""
    thrice(world, **task, state="absent")
    assert "vol-spare.qcow2" not in world.pool.volumes
    thrice(world, **task, state="attached")
    assert code_of(world, **task, state="absent") is Code.IN_USE
    run_vm(world, name="web1", state="expunged")
    thrice(world, **task, state="absent")
    assert "vol-spare.qcow2" not in world.pool.volumes


REFUSED: dict[str, tuple[dict[str, Any], Code]] = {
    "shrink": ({"name": "mine", "size": "512MiB"}, Code.INVALID_INPUT),
    "shrink a free one": ({"name": "free", "size": "512MiB"}, Code.INVALID_INPUT),
    "no size": ({"name": "new"}, Code.INVALID_INPUT),
    "attach without a size": ({"name": "new", "state": "attached", "vm": "web1"}, Code.INVALID_INPUT),
    "no such VM": ({"name": "free", "state": "attached", "vm": "nope"}, Code.NOT_FOUND),
    "no such volume": ({"name": "nope", "state": "detached"}, Code.NOT_FOUND),
    "no such pool": ({"name": "free", "size": 1, "pool": "nope"}, Code.NOT_FOUND),
    "no such offering": ({"name": "new", "disk_offering": "nope"}, Code.NOT_FOUND),
    "a fixed offering's size": ({"name": "new", "disk_offering": "data2", "size": 5}, Code.INVALID_INPUT),
    "attached where": ({"name": "free", "state": "attached"}, Code.INVALID_INPUT),
    "a device of another": ({"name": "free", "state": "attached", "vm": "web1", "device": 1}, Code.INVALID_INPUT),
    "a device of another that is attached": (
        {"name": "mine", "state": "attached", "vm": "web1", "device": 3},
        Code.INVALID_INPUT,
    ),
    "a VM's own": ({"name": "mine", "state": "absent", "vm": "web1"}, Code.IN_USE),
    "limits by itself": ({"name": "free", "max_iops": 5}, Code.INVALID_INPUT),
    "least above most": ({"name": "free", "state": "attached", "vm": "web1", "min_iops": 9, "max_iops": 5},
                         Code.INVALID_INPUT),
    "another's": ({"name": "theirs", "state": "absent"}, Code.IN_USE),
    "another's, once more": (
        {"name": "theirs", "state": "attached", "vm": "web1"}, Code.IN_USE),
    "another's too": ({"name": "theirs", "state": "detached"}, Code.NOT_MANAGED),
}  # fmt: skip


@pytest.mark.parametrize("by_volume", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(name: str, by_volume: bool) -> None:
    options, code = REFUSED[name]
    world = site()
    for volume in ("free", "theirs"):
        run(world.controller(), name=volume, size=1)
    foreign = "00000000-0000-4000-8000-00000000ffff"
    named = DiskConfig("vda", "", source="default/vol-theirs.qcow2")  # as other tools may have it
    disks = (named if by_volume else DiskConfig("vda", f"{world.pool.path}/vol-theirs.qcow2"),)
    world.state.domains[foreign] = MemoryDomain(VmConfig(foreign, "foreign", None, 1, 64, 1, 64, disks=disks))
    assert code_of(world, **options) is code


@pytest.mark.parametrize("options", [{"state": "detached"}, {"size": 2}])
def test_a_vm_snapshot_forbids_it(options: dict[str, Any]) -> None:
    world = site()
    next(iter(world.state.domains.values())).snapshots = ("s1",)
    assert code_of(world, name="mine", **options) is Code.SNAPSHOTS_EXIST


@pytest.mark.parametrize("made_by", ["us", "another tool"])
def test_a_destroyed_vms_disk_with_snapshots_is_left_as_it_is(made_by: str) -> None:
    """It is free, but the content is in several images, or what a snapshot needs is in this one."""
    world = site(start=False)
    run_vm(world, **{**VM, "name": "web2", "data_disks": ()})
    if made_by == "us":
        run_snapshot(world.controller(), "s1")
    else:
        the_domain(world).snapshots = ("s1",)
    run_vm(world, name="web1", state="destroyed")
    for options in ({"size": 2}, {"state": "absent"}, {"state": "attached", "vm": "web2"}):
        assert code_of(world, name="mine", **options) is Code.SNAPSHOTS_EXIST
    controller = world.controller()
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**{**VM, "name": "web3"}))
    assert (refused.value.code, controller.writes) == (Code.SNAPSHOTS_EXIST, [])
    assert not run(world.controller(), name="mine", size=1).changed  # as large as it is
    run_vm(world, name="web1", state="recovered")
    if made_by == "us":
        run_snapshot(world.controller(), "s1", "absent")
    else:
        the_domain(world).snapshots = ()
    run_vm(world, name="web1", state="destroyed")
    assert thrice(world, name="mine", size=2).result["volume"]["size_gib"] == 2


def test_of_many_hosts_the_right_one_is_found() -> None:
    world = site(hosts=2)
    assert code_of(world, name="spare", size=1) is Code.INVALID_INPUT
    thrice(world, name="spare", size=1, host="kvm02")
    assert thrice(world, name="spare", size=2).result["volume"]["host"] == "kvm02"
    assert code_of(world, name="spare", state="attached", vm="web1", host="kvm02") is Code.INVALID_INPUT
    assert thrice(world, name="twin", size=1, state="attached", vm="web1").result["volume"]["host"] == "kvm01"
    thrice(world, name="twin", size=1, host="kvm02")
    assert thrice(world, name="twin", state="detached").result["volume"]["host"] == "kvm01"
    for options in ({"size": 3}, {"state": "absent"}):
        assert code_of(world, name="twin", **options) is Code.INVALID_INPUT
    for host in ("kvm01", "kvm02"):
        thrice(world, name="twin", state="absent", host=host)
    # Nowhere is where it was to be, wherever that was, and a pool that only one host has is asked for there.
    assert not thrice(world, name="twin", state="absent").changed
    world.states["kvm02"].add_pool("nvme")
    thrice(world, name="fast", size=1, pool="nvme", host="kvm02")
    thrice(world, name="fast", state="absent", pool="nvme")
    assert not thrice(world, name="fast", state="absent", pool="nvme").changed
    assert code_of(world, name="fast", state="absent", pool="nope") is Code.NOT_FOUND
    world.down.add("kvm02")
    assert code_of(world, name="twin", state="absent") is Code.HOST_UNAVAILABLE


# Storage that hosts share: one volume, whoever has it


def shared_site(marks: str = "uuid") -> World:
    """web1 on kvm01 has `mine`, web2 is on kvm02; both hosts have one storage, by UUID or as the catalog says."""
    declared = {name: {"shared_pools": ["default"]} for name in ("kvm01", "kvm02")} if marks == "catalog" else {}
    world = make_world(3, shared=True, host_values=declared)
    other = world.states["kvm03"]
    other.pools = {}
    put_template(other.add_pool("default"))
    if marks == "catalog":  # a pool object of its own on each host, with the same files
        own = world.states["kvm02"].pools["default"]
        world.states["kvm02"].pools = {"default": replace(own, id="00000000-0000-4000-8000-00000000beef")}
    run_vm(world, **{**VM, "host": "kvm01"})
    run_vm(world, **{**VM, "name": "web2", "host": "kvm02", "data_disks": ()})
    return world


def vm_error(world: World, **options: Any) -> AblestackError:
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))
        assert controller.writes == []
    return refused.value


@pytest.mark.parametrize("marks", ["uuid", "catalog"])
def test_a_shared_disk_has_one_writer_on_whatever_host(marks: str) -> None:
    world = shared_site(marks)
    error = vm_error(world, name="web2", data_disks=(DiskSpec("mine"),))
    assert error.code is Code.IN_USE
    assert "VM 'web1' on host 'kvm01'" in error.message
    for host in ("kvm02", "kvm03"):
        new = {**VM, "name": "web3", "host": host}
        if host == "kvm02":
            assert vm_error(world, **new).code is Code.IN_USE
        else:  # a disk of the same name in storage of its own
            assert run_vm(world, **new).changed
    run_vm(world, name="web3", state="expunged", delete_data_disks="all")
    for options in ({"state": "attached", "vm": "web2"}, {"state": "absent", "host": "kvm02"}, {"state": "absent"}):
        assert code_of(world, name="mine", **options) is Code.IN_USE
    assert "vol-mine.qcow2" in world.pool.volumes


@pytest.mark.parametrize("marks", ["uuid", "catalog"])
def test_a_shared_volume_is_one_volume_without_a_host(marks: str) -> None:
    world = shared_site(marks)
    assert thrice(world, name="mine", size=2).result["volume"]["vm"] == "web1"
    assert thrice(world, name="mine", size=3, host="kvm02").result["volume"]["host"] == "kvm01"
    with world.controller(check=True).infrastructure as infrastructure:
        (row,) = list_volumes(infrastructure, VolumeFilter()).result["volumes"]
    assert (row["name"], row["state"], row["host"]) == ("mine", "Attached", "kvm01")
    thrice(world, name="mine", state="detached")
    assert thrice(world, name="mine", state="attached", vm="web2").result["volume"]["host"] == "kvm02"
    assert vm_error(world, name="web1", data_disks=(DiskSpec("mine"),)).code is Code.IN_USE
    run(world.controller(), name="mine", state="detached", vm="web2")
    # A free one is shown on the first host that has it.
    free = run(world.controller(), name="mine", state="detached")
    assert (free.changed, free.result["volume"]["host"]) == (False, "kvm01")
    thrice(world, name="mine", state="absent")
    assert not [name for name in world.pool.volumes if name.startswith("vol-")]


def test_a_destroyed_vms_shared_disk_is_free_on_its_own_host_alone() -> None:
    world = shared_site()
    run_vm(world, name="web1", state="destroyed")
    error = vm_error(world, name="web2", data_disks=(DiskSpec("mine"),))
    assert error.code is Code.IN_USE
    assert "kept for destroyed VM 'web1' on host 'kvm01'" in error.message
    assert code_of(world, name="mine", state="attached", vm="web2") is Code.IN_USE
    thrice(world, name="mine", size=2, host="kvm02")
    thrice(world, name="mine", state="absent", host="kvm02")
    back = run_vm(world, name="web1", state="recovered").result["vm"]
    assert [disk["name"] for disk in back["disks"]] == ["root"]


def test_pools_of_one_uuid_that_are_copies_have_volumes_of_their_own() -> None:
    world = make_world(2)
    world.states["kvm02"].pools["default"].id = world.pool.id
    run_vm(world, **{**VM, "host": "kvm01"})
    assert run_vm(world, **{**VM, "name": "web2", "host": "kvm02"}).changed
    assert code_of(world, name="mine", state="absent") is Code.INVALID_INPUT


def test_a_host_that_may_have_a_shared_disk_has_to_be_asked() -> None:
    world = shared_site("catalog")
    world.down.add("kvm01")
    error = vm_error(world, name="web2", data_disks=(DiskSpec("mine"),))
    assert error.code is Code.HOST_UNAVAILABLE
    assert code_of(world, name="mine", state="absent", host="kvm02") is Code.HOST_UNAVAILABLE
    world.down = {"kvm03"}  # it shares nothing
    assert vm_error(world, name="web2", data_disks=(DiskSpec("mine"),)).code is Code.IN_USE


@pytest.mark.parametrize("marks", ["uuid", "catalog"])
def test_of_two_hosts_that_want_one_shared_disk_at_once_one_gets_it(marks: str) -> None:
    """The other VM is given the disk between our look and our own attaching."""
    world = shared_site(marks)
    thrice(world, name="mine", state="detached")
    controller = world.controller()
    first = controller.hosts["kvm02"]
    genuine, raced = first.hold, []

    def hold(*arguments: Any) -> Any:
        if not raced:
            raced.append(run_vm(world, name="web1", data_disks=(DiskSpec("mine"),)))
        return genuine(*arguments)

    first.hold = hold  # type: ignore[method-assign]
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web2", data_disks=(DiskSpec("mine"),), wait="none"))
    assert raced[0].changed
    assert refused.value.code is Code.CONFLICT
    assert "VM 'web1' on host 'kvm01'" in refused.value.message


def test_what_is_listed() -> None:
    world = site(hosts=2)
    run(world.controller(), name="spare", size=1, host="kvm02")

    def names(**wanted: Any) -> list[str]:
        with world.controller(check=True).infrastructure as infrastructure:
            return [row["name"] for row in list_volumes(infrastructure, VolumeFilter(**wanted)).result["volumes"]]

    assert names() == ["mine", "spare"]
    assert names(vm="web1") == ["mine"]
    assert names(states=("Detached",)) == ["spare"]
    assert names(names=("spare", "nope")) == ["spare"]
    assert names(hosts=("kvm01",)) == ["mine"]
    assert names(pools=("nope",)) == []
    world.down.add("kvm02")
    assert names() == ["mine"]
    world.down.add("kvm01")
    with pytest.raises(AblestackError, match="cannot be reached"):
        names()


@pytest.mark.parametrize("hosts", [1, 2])
def test_what_is_missing_is_named_however_many_hosts_there_are(hosts: int) -> None:
    world = site(hosts)
    run(world.controller(), name="spare", host="kvm01", size=1)
    wanted = [
        ({"name": "nix", "state": "attached", "vm": "novm", "size": 1}, "VM 'novm' does not exist"),
        ({"name": "spare", "state": "attached", "vm": "novm"}, "VM 'novm' does not exist"),
        ({"name": "nix", "state": "detached"}, "there is no volume 'nix'"),
        ({"name": "nix", "state": "detached", "vm": "novm"}, "there is no volume 'nix'"),
    ]
    for options, said in wanted:
        with pytest.raises(AblestackError, match=said) as refused:
            run(world.controller(), **options)
        assert refused.value.code is Code.NOT_FOUND
