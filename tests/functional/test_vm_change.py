# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to a VM that exists, option by option: how each is classed, that check mode predicts it, that it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_state import MemoryDomain
from support.worlds import DEFAULT_NETWORK, World, make_world, put_template

ISO = b"\0" * 0x8001 + b"CD001" + b"\0" * 100
A, B, C = DiskSpec("a", size=GIB), DiskSpec("b", size=GIB), DiskSpec("c", size=GIB)
MAC = "52:54:00:00:00:01"
LAN, DEFAULT = NicSpec("lan", ip="10.10.10.50"), NicSpec("default", mac=MAC)
VM: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "medium",
    "data_disks": (A, B),
    "networks": (LAN, DEFAULT),
    "ssh_key_pairs": ("ops",),
    "user_data": "#cloud-config\n",
    "wait": "none",
}


def site(**sections: Any) -> World:
    world = make_world(compute_offerings={
        "medium": {"cpu": 2, "memory": "1GiB", "max_cpu": 4, "max_memory": "4GiB", "dynamic_scaling": True},
        "large": {"cpu": 4, "memory": "2GiB", "max_cpu": 4, "max_memory": "4GiB", "dynamic_scaling": True},
        "huge": {"cpu": 8, "memory": "2GiB", "max_cpu": 8, "max_memory": "4GiB", "dynamic_scaling": True},
        "fixed": {"cpu": 1, "memory": 512},
    }, disk_offerings={
        "data2": {"size": 2, "max_iops": 500, "min_iops": 100},
        "custom": {"custom": True},
        "elsewhere": {"size": 2, "pool": "other"},
    }, **sections)  # fmt: skip
    world.state.add_pool("other")
    put_template(world.pool, "rescue", ISO, format="iso")
    put_template(world.pool, "install", ISO, format="iso")
    bridged = {"forward": "bridge", "bridge": "ovs0", "cidr": "", "gateway": "", "dhcp_start": "", "dhcp_end": ""}
    world.state.add_network(
        replace(DEFAULT_NETWORK, name="tagged", id="0" * 8 + "-0000-4000-8000-0000000000b0", vlan=5, openvswitch=True,
                **bridged)
    )  # fmt: skip
    return world


def apply(world: World, check: bool = False, **options: Any) -> Outcome:
    with world.controller(check).infrastructure as infrastructure:
        return apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))


def domain(world: World, name: str = "web1") -> MemoryDomain:
    return next(one for one in world.state.domains.values() if one.config.domain_name == name)


# option values -> the paths of the changes with their impact while it runs; {} where nothing differs
CHANGES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "same": ({key: value for key, value in VM.items() if key not in ("name", "wait")}, {}),
    "display_name": ({"display_name": "Web"}, {"display_name": "live"}),
    "group": ({"group": "shop"}, {"group": "live"}),
    "labels": ({"labels": (("a", "b"),)}, {"labels": "live"}),
    "affinity_groups": ({"affinity_groups": ("apart",)}, {"affinity_groups": "live"}),
    "autostart": ({"autostart": True}, {"autostart": "live"}),
    "protected": ({"protected": True}, {"protected": "live"}),
    "user_data": ({"user_data": "#!/bin/sh\n"}, {"user_data": "next_boot"}),
    "keys": ({"ssh_key_pairs": ()}, {"ssh_key_pairs": "next_boot"}),
    "public keys": ({"ssh_public_keys": ("ssh-ed25519 AAAA me",), "ssh_key_pairs": ("ops",)}, {
        "ssh_public_keys": "next_boot"}),
    "public keys alone": ({"ssh_public_keys": ("ssh-ed25519 AAAA me",)}, {"ssh_public_keys": "next_boot"}),
    "less": ({"compute_offering": "fixed"}, {
        "cpu": "restart", "memory": "restart", "compute_offering": "live", "dynamic_scaling": "next_boot",
        "max_cpu": "next_boot", "max_memory": "next_boot"}),
    "more": ({"compute_offering": "large"}, {"cpu": "live", "memory": "live", "compute_offering": "live"}),
    "more than there is room for": ({"compute_offering": "huge"}, {
        "cpu": "restart", "memory": "live", "compute_offering": "live", "max_cpu": "next_boot"}),
    "without scaling": ({"dynamic_scaling": False}, {
        "dynamic_scaling": "next_boot", "max_cpu": "next_boot", "max_memory": "next_boot"}),
    "boot_type": ({"boot_type": "uefi"}, {"boot_type": "restart"}),
    "secure": ({"boot_type": "uefi", "boot_mode": "secure"}, {"boot_type": "restart", "boot_mode": "restart"}),
    "secure alone": ({"boot_mode": "secure"}, {"boot_type": "restart", "boot_mode": "restart"}),
    "tpm": ({"tpm": True}, {"tpm": "restart"}),
    "insert": ({"attached_iso": "rescue"}, {"attached_iso": "live"}),
    "nothing in it": ({"attached_iso": ""}, {}),
    "root size": ({"root_disk_size": 2 * GIB}, {"root_disk.size": "live"}),
    "root size as it is": ({"root_disk_size": GIB}, {}),
    "root offering": ({"root_disk_offering": "data2", "root_disk_size": 9 * GIB}, {
        "root_disk.size": "live", "root_disk.max_iops": "live", "root_disk.min_iops": "live",
        "root_disk.offering": "live"}),
    "root custom": ({"root_disk_offering": "custom"}, {"root_disk.offering": "live"}),
    "attach": ({"data_disks": (A, B, C)}, {"data_disks.c": "live"}),
    "attach a named device": ({"data_disks": (A, B, replace(C, device=7))}, {"data_disks.c": "live"}),
    "attach from an offering": ({"data_disks": (A, B, DiskSpec("c", offering="elsewhere"))}, {"data_disks.c": "live"}),
    "detach": ({"data_disks": (B,)}, {"data_disks.a": "live"}),
    "detach all": ({"data_disks": ()}, {"data_disks.a": "live", "data_disks.b": "live"}),
    "swap": ({"data_disks": (B, C)}, {"data_disks.a": "live", "data_disks.c": "live"}),
    "another order": ({"data_disks": (B, A)}, {}),
    "by name alone": ({"data_disks": (DiskSpec("a"), DiskSpec("b"))}, {}),
    "grow": ({"data_disks": (replace(A, size=2 * GIB), B)}, {"data_disks.a.size": "live"}),
    "limit": ({"data_disks": (replace(A, max_iops=300, min_iops=10), B)}, {
        "data_disks.a.max_iops": "live", "data_disks.a.min_iops": "live"}),
    "offering": ({"data_disks": (DiskSpec("a", offering="data2"), B)}, {
        "data_disks.a.size": "live", "data_disks.a.max_iops": "live", "data_disks.a.min_iops": "live",
        "data_disks.a.offering": "live"}),
    "limits go": ({"data_disks": (replace(A, max_iops=0, min_iops=0), B)}, {}),
    "device": ({"data_disks": (replace(A, device=9), B)}, {"data_disks.a.device": "restart"}),
    "devices change places": ({"data_disks": (replace(A, device=2), replace(B, device=1))}, {
        "data_disks.a.device": "restart", "data_disks.b.device": "restart"}),
    "plug": ({"networks": (LAN, DEFAULT, NicSpec("default"))}, {"networks.default": "live"}),
    "plug with an address": ({"networks": (LAN, DEFAULT, NicSpec("lan", ip="10.10.10.60"))}, {"networks.lan": "live"}),
    "plug with a MAC": ({"networks": (LAN, DEFAULT, NicSpec("lan", mac="52:54:00:00:00:09"))}, {
        "networks.lan": "live"}),
    "plug an older model": ({"networks": (LAN, DEFAULT, NicSpec("default", model="e1000"))}, {
        "networks.default": "restart"}),
    "unplug": ({"networks": (LAN,)}, {"networks.default": "live"}),
    "unplug the default": ({"networks": (DEFAULT,)}, {"networks.lan": "live", "default_nic": "next_boot"}),
    "order": ({"networks": (DEFAULT, LAN)}, {"default_nic": "next_boot"}),
    "address": ({"networks": (NicSpec("lan", ip="10.10.10.51"), DEFAULT)}, {"networks.lan.ip": "next_boot"}),
    "address by the seed": ({"networks": (LAN, NicSpec("default", mac=MAC, ip="192.168.122.9"))}, {
        "networks.default.ip": "next_boot"}),
    "names alone": ({"networks": (NicSpec("lan"), NicSpec("default"))}, {}),
    "another network": ({"networks": (LAN, NicSpec("lan", mac=MAC))}, {f"networks.{MAC}": "live"}),
    "another switch": ({"networks": (LAN, NicSpec("tagged", mac=MAC))}, {f"networks.{MAC}": "restart"}),
    "model": ({"networks": (LAN, replace(DEFAULT, model="e1000e"))}, {"networks.default.model": "restart"}),
}  # fmt: skip
HARDWARE = [name for name, (given, changes) in CHANGES.items()
            if changes and set(given) & {"root_disk_size", "data_disks", "networks"}]  # fmt: skip


def outcome_of(outcome: Outcome) -> dict[str, str]:
    return {change["path"]: change["impact"] for change in outcome.result["changes"]}


def holds(world: World, predicted: Outcome, done: Outcome, options: dict[str, Any]) -> None:
    """Check mode said what was done, a second run does nothing, and neither does one that asks for less."""
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    for again in (options, {"name": "web1"}):
        controller = world.controller()
        with controller.infrastructure as infrastructure:
            second = apply_vm(infrastructure, VmSpec(**{"wait": "none", **again}))
        assert not second.changed, second.result["changes"]
        assert controller.writes == []
        assert second.after == done.after


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_under_a_running_guest(name: str) -> None:
    given, impacts = CHANGES[name]
    world = site()
    apply(world, **VM)
    options = {"name": "web1", **given}
    if "restart" in impacts.values():
        before = domain(world)
        was = (before.config, before.live)
        with pytest.raises(AblestackError) as refused:
            apply(world, **options)
        assert refused.value.code is Code.INVALID_STATE
        assert {row["path"]: row["impact"] for row in refused.value.details["changes"]} == impacts
        assert (before.config, before.live) == was
        options["allow_restart"] = True
    boots = domain(world).guest.boots
    predicted = apply(world, check=True, **options)
    done = apply(world, **options)
    expected = {**impacts}
    assert {path: impact for path, impact in outcome_of(done).items() if path != "state"} == expected
    assert done.changed == bool(impacts)
    assert domain(world).guest.boots == boots + ("restart" in impacts.values())
    assert done.result["vm"]["state"] == "Running"
    holds(world, predicted, done, options)
    running, stored = domain(world).live, domain(world).config
    assert running is not None
    assert {(disk.target, disk.path, disk.max_iops) for disk in running.disks} == {
        (disk.target, disk.path, disk.max_iops) for disk in stored.disks
    }
    assert {(nic.mac, nic.network) for nic in running.nics} == {(nic.mac, nic.network) for nic in stored.nics}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_while_it_is_off(name: str) -> None:
    given, impacts = CHANGES[name]
    world = site(settings={"cpu_overprovisioning": 2})
    apply(world, **VM, start=False)
    options = {"name": "web1", **given}
    predicted = apply(world, check=True, **options)
    done = apply(world, **options)
    # nothing grows live that does not run
    asleep = {path: "restart" if path in ("cpu", "memory") else impact for path, impact in impacts.items()}
    assert outcome_of(done) == asleep
    assert done.result["vm"]["state"] == "Stopped"
    holds(world, predicted, done, options)
    started = apply(world, name="web1", state="started")
    assert started.result["vm"]["disks"] == done.result["vm"]["disks"]
    assert not started.result["restart_required"]


@pytest.mark.parametrize("by", ["record", "libvirt"])
@pytest.mark.parametrize("name", HARDWARE)
def test_a_vm_snapshot_forbids_changes_of_disks_and_nics(name: str, by: str) -> None:
    given, _impacts = CHANGES[name]
    for running in (True, False):
        world = site()
        apply(world, **VM, start=running)
        vm = domain(world)
        if by == "libvirt":
            vm.snapshots = ("s1",)
        else:
            config = replace(vm.config, record=replace(vm.config.record, snapshots=("s1",)))
            vm.config, vm.live = config, config if running else None
        volumes = {name: (entry.capacity, entry.content) for name, entry in world.pool.volumes.items()}
        for check in (True, False):
            controller = world.controller(check)
            with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
                apply_vm(infrastructure, VmSpec(name="web1", wait="none", allow_restart=True, **given))
            assert refused.value.code is Code.SNAPSHOTS_EXIST
            assert controller.writes == []
        assert volumes == {name: (entry.capacity, entry.content) for name, entry in world.pool.volumes.items()}


REFUSED: dict[str, tuple[dict[str, Any], Code]] = {
    "shrink": ({"data_disks": (replace(A, size=GIB // 2), B)}, Code.INVALID_INPUT),
    "shrink root": ({"root_disk_size": GIB // 2}, Code.INVALID_INPUT),
    "another pool": ({"data_disks": (replace(A, pool="other"), B)}, Code.INVALID_INPUT),
    "root in another pool": ({"root_disk_offering": "elsewhere"}, Code.INVALID_INPUT),
    "no size": ({"data_disks": (A, B, DiskSpec("c"))}, Code.INVALID_INPUT),
    "unknown offering": ({"data_disks": (A, B, DiskSpec("c", offering="nope"))}, Code.NOT_FOUND),
    "unknown pool": ({"data_disks": (A, B, replace(C, pool="nope"))}, Code.NOT_FOUND),
    "somebody else's": ({"data_disks": (A, B, DiskSpec("theirs", size=GIB))}, Code.IN_USE),
    "too many": ({"data_disks": tuple(DiskSpec(f"d{n}", size=GIB) for n in range(7))}, Code.INVALID_INPUT),
    "device of a disk that stays": ({"data_disks": (replace(A, device=2), B)}, Code.INVALID_INPUT),
    "device of a disk that is named alone": (
        {"data_disks": (DiskSpec("b", device=1), DiskSpec("a"))},
        Code.INVALID_INPUT,
    ),
    "limits out of order": ({"data_disks": (DiskSpec("a", offering="data2", max_iops=50), B)}, Code.INVALID_INPUT),
    "a fixed offering with a size": (
        {"data_disks": (A, B, DiskSpec("c", offering="data2", size=2 * GIB))},
        Code.INVALID_INPUT,
    ),
    "taken device": ({"data_disks": (A, B, replace(C, device=1))}, Code.INVALID_INPUT),
    "unknown network": ({"networks": (LAN, DEFAULT, NicSpec("nope"))}, Code.NOT_FOUND),
    "address outside": ({"networks": (NicSpec("lan", ip="10.9.9.9"), DEFAULT)}, Code.INVALID_INPUT),
    "address of another": ({"networks": (NicSpec("lan", ip="10.10.10.77"), DEFAULT)}, Code.CONFLICT),
    "MAC of another": ({"networks": (LAN, DEFAULT, NicSpec("lan", mac="52:54:00:00:00:77"))}, Code.CONFLICT),
    "no such ISO": ({"attached_iso": "nope"}, Code.NOT_FOUND),
    "no ISO": ({"attached_iso": "tiny"}, Code.INVALID_INPUT),
    "bios and secure": ({"boot_type": "bios", "boot_mode": "secure"}, Code.INVALID_INPUT),
    "template": ({"template": "other"}, Code.INVALID_STATE),
    "iso": ({"iso": "rescue"}, Code.INVALID_STATE),
    "host": ({"host": "kvm02"}, Code.INVALID_STATE),
    "zone": ({"zone": "elsewhere"}, Code.INVALID_STATE),
    "pod": ({"pod": "elsewhere"}, Code.INVALID_STATE),
    "cluster": ({"cluster": "elsewhere"}, Code.INVALID_STATE),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(name: str) -> None:
    given, code = REFUSED[name]
    world = site()
    theirs = (NicSpec("lan", ip="10.10.10.77", mac="52:54:00:00:00:77"),)
    apply(world, **{**VM, "name": "web2", "networks": theirs, "data_disks": (DiskSpec("theirs", size=GIB),)})
    apply(world, **VM)
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(name="web1", wait="none", **given))
        assert refused.value.code is code, refused.value
        assert controller.writes == []


@pytest.mark.parametrize(
    ("values", "option"),
    [({"firmware": ()}, {"boot_type": "uefi"}), ({"firmware": ("uefi",)}, {"boot_mode": "secure"}),
     ({"tpm": False}, {"tpm": True})],
)  # fmt: skip
def test_firmware_the_host_lacks_is_refused(values: dict[str, Any], option: dict[str, Any]) -> None:
    world = site()
    apply(world, **VM, start=False)
    world.state.facts = {**world.state.facts, **values}
    with pytest.raises(AblestackError) as refused:
        apply(world, name="web1", **option)
    assert refused.value.code is Code.UNSUPPORTED


def test_another_boot_type_than_the_templates_is_refused() -> None:
    world = site()
    put_template(world.pool, "efi", boot_type="uefi")
    apply(world, **{**VM, "template": "efi"}, start=False)
    assert domain(world).config.boot_type == "uefi"
    with pytest.raises(AblestackError, match="boot type uefi, not bios"):
        apply(world, name="web1", boot_type="bios")


def test_a_detached_disk_keeps_its_data_and_goes_to_another_vm() -> None:
    world = site()
    apply(world, **VM)
    apply(world, **{**VM, "name": "web2", "networks": (NicSpec("default"),), "data_disks": ()})
    volume = world.pool.volumes["vol-a.qcow2"]
    volume.content += b"precious"
    apply(world, name="web1", data_disks=(B,))
    moved = apply(world, name="web2", data_disks=(DiskSpec("a"),))
    assert [disk["name"] for disk in moved.result["vm"]["disks"]] == ["root", "a"]
    assert moved.result["vm"]["disks"][1]["size_gib"] == 1
    assert world.pool.volumes["vol-a.qcow2"] is volume
    assert volume.content.endswith(b"precious")


def test_a_destroyed_vms_disk_is_free_and_recover_brings_back_the_rest() -> None:
    world = site()
    apply(world, **VM)
    apply(world, **{**VM, "name": "web2", "networks": (NicSpec("default"),), "data_disks": ()})
    apply(world, name="web1", state="destroyed")
    apply(world, name="web2", data_disks=(DiskSpec("a"),))
    back = apply(world, name="web1", state="recovered")
    assert [disk["name"] for disk in back.result["vm"]["disks"]] == ["root", "b"]


def test_a_guest_that_holds_on_to_its_disk_is_an_error_and_keeps_it() -> None:
    world = site()
    apply(world, **VM)
    domain(world).guest.unplugs = False
    with pytest.raises(AblestackError) as late:
        apply(world, name="web1", data_disks=(A,))
    assert late.value.code is Code.TIMEOUT
    assert [disk["name"] for disk in apply(world, name="web1").result["vm"]["disks"]] == ["root", "a", "b"]
    domain(world).guest.unplugs = True
    assert apply(world, name="web1", data_disks=(A,)).changed


def test_a_locked_drive_opens_by_force_alone() -> None:
    world = site()
    apply(world, **VM, attached_iso="rescue")
    domain(world).guest.locks_drive = True
    with pytest.raises(AblestackError) as locked:
        apply(world, name="web1", attached_iso="install")
    assert locked.value.code is Code.INVALID_STATE
    done = apply(world, name="web1", attached_iso="", forced=True)
    assert done.result["vm"]["iso"] == ""


def test_a_vm_from_an_iso_remembers_it_when_it_is_ejected() -> None:
    world = site()
    options = {key: value for key, value in VM.items() if key != "template"}
    done = apply(world, **options, iso="install", root_disk_size=GIB)
    assert done.result["vm"]["iso"] == "install"
    assert apply(world, name="web1", attached_iso="").result["vm"]["iso"] == ""
    assert not apply(world, **options, iso="install", root_disk_size=GIB).changed
    with pytest.raises(AblestackError, match="cannot have 'rescue'"):
        apply(world, **{**options, "name": "web2"}, iso="install", attached_iso="rescue", root_disk_size=GIB)
