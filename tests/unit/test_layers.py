# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random trees of layers, tidied up: no needed content ever changes, at no step, and nothing is left to do."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import (
    DISK,
    Agent,
    DiskLayers,
    Layer,
    Merge,
    SnapshotFacts,
    SnapshotWorld,
    holds_nothing,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, Power, VmFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.layers import tidy
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.snapshot_steps import (
    MergeLayers,
    RelocateSnapshots,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.steps import DeleteVolume, RedefineVm
from support.samples import vm_config

TEMPLATE, FOLDER = "/pool/tmpl-x.qcow2", "/pool"
Contents = dict[str, dict[str, str]]  # path -> sector -> what was written there
Backing = dict[str, str]


def path(number: int) -> str:
    return f"{FOLDER}/image{number}.qcow2"


@st.composite
def worlds(draw: st.DrawFn) -> SnapshotWorld:
    """A disk of up to nine images, each on an earlier one; the VM writes to one that nothing stands on."""
    count = draw(st.integers(1, 9))
    layers = {path(0): Layer(path(0), TEMPLATE, 1)}
    for number in range(1, count):
        below = path(draw(st.integers(0, number - 1)))
        foreign = draw(st.integers(0, 19)) == 19
        layers[path(number)] = Layer(path(number), below, 1, mergeable=not foreign)
    leaves = [one for one in layers if not any(layer.backing == one for layer in layers.values())]
    active = draw(st.sampled_from(leaves))
    # an image that nothing stands on is there because a snapshot needs it, or it would have been dropped before
    images = {one for one in layers if one != active and draw(st.integers(0, 9)) < (8 if one in leaves else 3)}
    config = replace(vm_config(), disks=(DiskConfig("vda", active),))
    running = draw(st.booleans())
    facts = VmFacts(
        HostSpec("kvm01", "test:///default"),
        Power.RUNNING if running else Power.OFF,
        config,
        config if running else None,
    )
    snapshots = tuple(
        SnapshotFacts(f"s{number}", DISK, number, config, images=(("vda", image),))
        for number, image in enumerate(sorted(images))
    )
    disk = DiskLayers("vda", "pool", "image", path(0), active, layers)
    return SnapshotWorld(facts, snapshots, (disk,))


def read(contents: Contents, backing: Backing, image: str) -> dict[str, str]:
    """What a disk on that image holds."""
    if image == TEMPLATE:
        return {"boot": "template"}
    return {**read(contents, backing, backing[image]), **contents[image]}


def commit(contents: Contents, backing: Backing, merge: Merge, top: str) -> None:
    """What QEMU does: the images above `into` are written down into it, and the one above them stands on it."""
    chain = [top]
    while chain[-1] != merge.into:
        chain.append(backing[chain[-1]])
    between = chain[chain.index(merge.layer) : -1]
    for image in reversed(between):
        contents[merge.into] = {**contents[merge.into], **contents[image]}
    if chain[0] != merge.layer:
        backing[chain[chain.index(merge.layer) - 1]] = merge.into


@settings(max_examples=400)
@given(worlds())
def test_no_needed_content_changes_at_any_step(world: SnapshotWorld) -> None:
    disk = world.disks[0]
    contents: Contents = {image: {"all": image, image: "own"} for image in disk.layers}
    backing: Backing = {image: layer.backing for image, layer in disk.layers.items()}
    heads = {"": disk.active, **{row.name: row.images[0][1] for row in world.snapshots}}
    before = {name: read(contents, backing, image) for name, image in heads.items()}
    steps, after = tidy(world)
    for step in steps:
        if isinstance(step, MergeLayers):
            for merge in step.merges:
                commit(contents, backing, merge, heads[""] if step.live else merge.top)
                if step.live and merge.layer == heads[""]:
                    heads[""] = merge.into
        elif isinstance(step, RelocateSnapshots):
            moved = dict(step.moved)
            heads = {name: moved.get(image, image) if name else image for name, image in heads.items()}
        elif isinstance(step, RedefineVm):
            heads[""] = step.after.disks[0].path
        else:
            assert isinstance(step, DeleteVolume)
            del backing[f"{FOLDER}/{step.volume}"]
        assert {name: read(contents, backing, image) for name, image in heads.items()} == before
    assert heads == {"": after.disks[0].active, **{row.name: row.images[0][1] for row in after.snapshots}}
    assert backing == {image: layer.backing for image, layer in after.disks[0].layers.items()}
    assert after.vm.config.disks[0].path == after.disks[0].active
    assert tidy(after) == ((), after)


@given(worlds())
def test_without_snapshots_the_disk_is_in_its_own_volume(world: SnapshotWorld) -> None:
    layers = {one: replace(layer, mergeable=True) for one, layer in world.disks[0].layers.items()}
    disk = replace(world.disks[0], layers=layers)
    _steps, after = tidy(replace(world, snapshots=(), disks=(disk,)))
    assert after.disks[0].active == after.disks[0].base
    assert set(after.disks[0].layers) == {after.disks[0].base}


@given(worlds(), st.data())
def test_where_an_image_is_unseen_nothing_is_touched(world: SnapshotWorld, data: st.DataObject) -> None:
    disk = world.disks[0]
    heads = [disk.active, *(row.images[0][1] for row in world.snapshots)]
    unseen = data.draw(st.sampled_from(heads))
    if unseen != disk.base:
        layers = {one: layer for one, layer in disk.layers.items() if one != unseen}
        world = replace(world, disks=(replace(disk, layers=layers),))
        assert tidy(world) == ((), world)


def test_an_overlay_that_was_never_written_to_is_told_by_its_first_table() -> None:
    head = bytearray(b"QFI\xfb".ljust(4096, b"\0"))
    head[36:40] = (4).to_bytes(4, "big")
    head[40:48] = (1024).to_bytes(8, "big")
    assert holds_nothing(bytes(head))
    assert not holds_nothing(bytes(head[:1040]))
    head[1024 + 8 * 3] = 0x80
    assert not holds_nothing(bytes(head))
    assert not holds_nothing(b"")


def test_agents_are_compared_by_numbers() -> None:
    versions = {"1.5.3": False, "1.6": True, "1.10.2": True, "7.2.22": True, "10.0": True, "": False, "x.y": False}
    assert {version: Agent(version).is_new_enough for version in versions} == versions
