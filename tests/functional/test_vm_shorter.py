# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that says less than the one before strips nothing: any part of a VM's options, and of its lists' entries."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations
from typing import Any

import pytest
from functional.test_vm_change import VM, apply, domain, holds, site
from functional.test_vm_options import HOW, growing_site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.digest import keys_digest
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.seed import build_seed, read_seed
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.worlds import World

# what a VM is deployed with, what a later task says of the same subject -> what is to be seen afterwards
DISKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "a limit beside the offering": ({"offering": "data2", "max_iops": 300}, {"offering": "data2"}, {
        "offering": "data2", "min_iops": 100, "max_iops": 300, "size_gib": 2}),
    "one limit more": ({"offering": "data2", "max_iops": 300}, {"offering": "data2", "min_iops": 50}, {
        "offering": "data2", "min_iops": 50, "max_iops": 300}),
    "a limit and no offering": ({"offering": "data2"}, {"max_iops": 300}, {
        "offering": "data2", "min_iops": 100, "max_iops": 300}),
    "no limit": ({"offering": "data2"}, {"max_iops": 0, "min_iops": 0}, {"max_iops": 0, "min_iops": 0}),
    "no limit where there was a literal one": ({"size": GIB, "max_iops": 300}, {"max_iops": 0}, {"max_iops": 0}),
    "another offering": ({"offering": "data2", "max_iops": 300}, {"offering": "custom"}, {
        "offering": "custom", "min_iops": 0, "max_iops": 0, "size_gib": 2}),
    "a custom offering grows": ({"offering": "custom", "size": GIB}, {"size": 2 * GIB}, {
        "offering": "custom", "size_gib": 2}),
    "a fixed offering grows": ({"offering": "data2"}, {"size": 3 * GIB}, {"offering": "", "size_gib": 3}),
    "the size it has": ({"offering": "data2"}, {"offering": "data2", "size": 2 * GIB}, {"offering": "data2"}),
    "the name alone": ({"offering": "data2", "max_iops": 300}, {}, {"offering": "data2", "max_iops": 300}),
}  # fmt: skip


@pytest.mark.parametrize("name", DISKS)
def test_a_shorter_entry_strips_no_disk(name: str) -> None:
    made, given, seen = DISKS[name]
    world = site()
    apply(world, **{**VM, "data_disks": (DiskSpec("d", **made),)})
    options = {"name": "web1", "data_disks": (DiskSpec("d", **given),)}
    predicted, done = apply(world, check=True, **options), apply(world, **options)
    holds(world, predicted, done, options)
    disk = next(disk for disk in done.result["vm"]["disks"] if disk["name"] == "d")
    assert {key: disk[key] for key in seen} == seen
    # limits given beside an offering outlive the next task that only names it
    if disk["offering"]:
        again = {"name": "web1", "data_disks": (DiskSpec("d", offering=disk["offering"]),)}
        assert not apply(world, **again).changed


def test_a_custom_offering_of_a_root_disk_grows_with_it() -> None:
    world = site()
    apply(world, **VM, root_disk_offering="custom", root_disk_size=2 * GIB)
    done = apply(world, name="web1", root_disk_size=3 * GIB)
    root = done.result["vm"]["disks"][0]
    assert (root["offering"], root["size_gib"]) == ("custom", 3)


def keys_on_seed(world: World) -> list[str]:
    (volume,) = [volume for name, volume in world.pool.volumes.items() if name.endswith("-seed.iso")]
    content = read_seed(bytes(volume.content))
    return [*(content.pair_keys or ()), *content.public_keys]


MINE, YOURS = "ssh-ed25519 AAAA mine", "ssh-ed25519 AAAA yours"


@pytest.mark.parametrize(("given", "left"), [
    ({"ssh_public_keys": (YOURS,)}, ["OPS", YOURS]),
    ({"ssh_public_keys": ()}, ["OPS"]),
    ({"ssh_key_pairs": ()}, [MINE]),
    ({"ssh_key_pairs": ("ops",)}, ["OPS", MINE]),
    ({"ssh_public_keys": (MINE,)}, ["OPS", MINE]),
    ({"ssh_public_keys": (YOURS,), "ssh_key_pairs": ()}, [YOURS]),
    ({"user_data": "#!/bin/sh"}, ["OPS", MINE]),
])  # fmt: skip
@pytest.mark.parametrize("written", ["now", "once"])
def test_keys_of_one_kind_leave_those_of_the_other(written: str, given: dict[str, Any], left: list[str]) -> None:
    world = site()
    ops = world.catalog.ssh_key("ops")
    apply(world, **{**VM, "ssh_key_pairs": ("ops",), "ssh_public_keys": (MINE,)}, start=False)
    if written == "once":
        as_once_written(world, ops)
    options = {"name": "web1", **given}
    predicted, done = apply(world, check=True, **options), apply(world, **options)
    holds(world, predicted, done, options)
    assert keys_on_seed(world) == [key.replace("OPS", ops) for key in left]
    assert done.result["vm"]["ssh_key_pairs"] == (["ops"] if "OPS" in left else [])


def as_once_written(world: World, ops: str) -> None:
    """One digest of all keys in the record, and a seed that does not tell them apart."""
    vm = domain(world)
    digest = keys_digest(vm.config.id, (ops, MINE))
    record = replace(vm.config.record, keys_digest=digest, key_pairs_digest="", public_keys_digest="")
    vm.config = replace(vm.config, record=record)
    (volume,) = [volume for name, volume in world.pool.volumes.items() if name.endswith("-seed.iso")]
    content = read_seed(bytes(volume.content))
    volume.content = bytearray(build_seed(replace(content, pair_keys=None, public_keys=(ops, MINE))))


# Options that are given, as far as they can be: no task that says less of them changes anything.
FULL: dict[str, Any] = {
    "compute_offering": "bounded", "cpu": 2, "memory": 1024, "dynamic_scaling": True,
    "root_disk_offering": "custom", "root_disk_size": 2 * GIB,
    "data_disks": (
        DiskSpec("a", offering="data2", min_iops=50, max_iops=300, pool="other", device=4),
        DiskSpec("b", offering="custom", size=GIB, max_iops=70, device=2),
        DiskSpec("c", size=GIB, device=1),
    ),
    "networks": (
        NicSpec("lan", ip="10.10.10.50", mac="52:54:00:00:00:02", model="e1000e"),
        NicSpec("default", ip="192.168.122.9", mac="52:54:00:00:00:03"),
    ),
    "ssh_key_pairs": ("ops",), "ssh_public_keys": (MINE,), "user_data": "#cloud-config\n",
    "boot_type": "uefi", "boot_mode": "secure", "tpm": True,
    "affinity_groups": ("apart",), "display_name": "Web", "group": "shop", "labels": (("a", "b"),),
    "autostart": True, "protected": True, "attached_iso": "rescue", "template": "tiny",
    "zone": "default", "pod": "default", "cluster": "default", "host": "kvm01",
}  # fmt: skip
# Those of one subject, of which any may be given without the others.
SUBJECTS = [
    ("compute_offering", "cpu", "memory", "dynamic_scaling"),
    ("root_disk_offering", "root_disk_size"),
    ("ssh_key_pairs", "ssh_public_keys", "user_data", "networks"),
    ("boot_type", "boot_mode", "tpm"),
    ("data_disks", "root_disk_size"),
    ("zone", "pod", "cluster", "host"),
    ("display_name", "group", "labels", "affinity_groups"),
    ("autostart", "protected", "attached_iso", "template"),
]
PARTS = [(option,) for option in FULL] + [pair for subject in SUBJECTS for pair in combinations(subject, 2)]


def test_every_option_is_in_the_full_vm_and_in_a_subject() -> None:
    assert {field.name for field in fields(VmSpec)} - HOW - {"iso"} == set(FULL)
    assert {option for subject in SUBJECTS for option in subject} == set(FULL)


@pytest.fixture(scope="module")
def full() -> World:
    """A VM that has all of it; no test of those that use it changes it."""
    world = growing_site()
    apply(world, name="web1", **FULL)
    return world


def says_nothing_new(world: World, options: dict[str, Any]) -> None:
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        done = apply_vm(infrastructure, VmSpec(name="web1", wait="none", **options))
    assert not done.changed, done.result["changes"]
    assert done.result["changes"] == []
    assert controller.writes == []


@pytest.mark.parametrize("part", PARTS, ids="+".join)
def test_a_task_with_a_part_of_the_options_changes_nothing(full: World, part: tuple[str, ...]) -> None:
    says_nothing_new(full, {option: FULL[option] for option in part})


@pytest.mark.parametrize(
    ("option", "entry", "keys"),
    [
        (option, index, keys)
        for option in ("data_disks", "networks")
        for index, entry in enumerate(FULL[option])
        for count in (0, 1, 2)
        for keys in combinations([f.name for f in fields(entry)[1:] if getattr(entry, f.name) != f.default], count)
        if not (getattr(entry, "offering", "") == "data2" and "size" in keys)
    ],
)
def test_an_entry_with_a_part_of_its_options_changes_nothing(
    full: World, option: str, entry: int, keys: tuple[str, ...]
) -> None:
    # the name is all that an entry needs: so every other entry says nothing else
    entries = [type(one)(*[getattr(one, fields(one)[0].name)]) for one in FULL[option]]
    entries[entry] = replace(entries[entry], **{key: getattr(FULL[option][entry], key) for key in keys})
    says_nothing_new(full, {option: tuple(entries)})


# Each option changed by itself: nothing else of the VM may change with it.
OTHER: dict[str, Any] = {
    "cpu": 3, "memory": 2048, "dynamic_scaling": False, "root_disk_size": 3 * GIB, "ssh_key_pairs": (),
    "ssh_public_keys": (YOURS,), "user_data": "#!/bin/sh\n", "tpm": False, "boot_mode": "legacy",
    "affinity_groups": (), "display_name": "Other", "group": "", "labels": (), "autostart": False, "protected": False,
    "attached_iso": "",
}  # fmt: skip
SHOWN = {"root_disk_size": "disks", "ssh_public_keys": "", "user_data": "", "attached_iso": "iso"}


@pytest.mark.parametrize("option", OTHER)
def test_an_option_that_changes_takes_no_other_with_it(option: str) -> None:
    world = growing_site()
    apply(world, name="web1", **FULL)
    before = apply(world, name="web1").result["vm"]
    done = apply(world, name="web1", allow_restart=True, **{option: OTHER[option]})
    assert done.changed
    after = done.result["vm"]
    assert {key for key in after if after[key] != before[key]} == {SHOWN.get(option, option)} - {""}
    for other in set(FULL) - {option}:
        if not (option == "dynamic_scaling" and other == "cpu"):
            says_nothing_new(world, {other: FULL[other]})
