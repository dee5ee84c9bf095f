# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of a disk once some are needed no more: which are dropped, and which merged (docs/design/snapshots.md).

A layer is needed when it is written to, or holds the content of a snapshot. Nothing is ever written to a needed layer
but the active one, nor to one that two stand on; and nothing here sees a template, which stands below the base.

The order may be interrupted anywhere: first a merge, then whoever named the merged image learns where its content is
now, and only then it is deleted. Until the last of them both images read the same, so the next run may find either.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.plan_parts import Step
from ..model.snapshot import DiskLayers, Merge, SnapshotFacts, SnapshotWorld
from ..model.vm import VmConfig
from .snapshot_steps import MergeLayers, RelocateSnapshots
from .steps import DeleteVolume, RedefineVm


def tidy(world: SnapshotWorld) -> tuple[tuple[Step, ...], SnapshotWorld]:
    """The steps, and what will be found afterwards. Nothing to do is no step."""
    steps: list[Step] = []
    while True:
        dropped, world = _drop(world)
        steps += dropped
        merging, world = _merge(world)
        if not merging:
            return tuple(steps), world
        steps += merging


def _drop(world: SnapshotWorld) -> tuple[list[Step], SnapshotWorld]:
    steps: list[Step] = []
    disks = []
    for disk in world.disks:
        gone = droppable(disk, images_of(world, disk)) if is_known(world, disk) else ()
        steps += delete_images(disk, gone)
        disks.append(without(disk, gone))
    return steps, replace(world, disks=tuple(disks))


def _merge(world: SnapshotWorld) -> tuple[list[Step], SnapshotWorld]:
    """The next merge of every disk: those under the running guest, and those beside it, each in one go."""
    found: list[tuple[DiskLayers, Merge, bool]] = []
    for disk in world.disks:
        merge = next_merge(disk, images_of(world, disk)) if is_known(world, disk) else None
        if merge is not None:
            found.append((disk, merge, world.vm.is_active and is_active_chain(disk, merge.layer)))
    steps: list[Step] = []
    for live in (True, False):
        merges = tuple(merge for _disk, merge, is_live in found if is_live is live)
        if merges:
            steps.append(MergeLayers(world.vm.id, merges, live))
    if not found:
        return [], world
    after = _relocated(world, [merge for _disk, merge, _live in found])
    if after.vm.config != world.vm.config and not world.vm.is_active:
        steps.append(RedefineVm(world.vm.config, after.vm.config))
    moved = tuple((merge.layer, merge.into) for _disk, merge, _live in found)
    if after.snapshots != world.snapshots:
        steps.append(RelocateSnapshots(world.vm.id, moved))
    for disk, merge, _live in found:
        steps += delete_images(disk, merge.gone)
    return steps, after


def _relocated(world: SnapshotWorld, merges: list[Merge]) -> SnapshotWorld:
    """Everything that named the merged images names those they were merged into."""
    by_target = {merge.target: merge for merge in merges}
    moved = {merge.layer: merge.into for merge in merges}
    disks = tuple(merged(disk, by_target[disk.target]) if disk.target in by_target else disk for disk in world.disks)
    snapshots = tuple(_moved_snapshot(snapshot, moved) for snapshot in world.snapshots)
    formats = {merge.into: merge.format for merge in merges}
    vm = world.vm
    vm = replace(vm, config=_moved_config(vm.config, moved, formats))
    if vm.live is not None:
        vm = replace(vm, live=_moved_config(vm.live, moved, formats))
    return replace(world, vm=vm, disks=disks, snapshots=snapshots)


def _moved_snapshot(snapshot: SnapshotFacts, moved: dict[str, str]) -> SnapshotFacts:
    images = tuple((target, moved.get(path, path)) for target, path in snapshot.images)
    return snapshot if images == snapshot.images else replace(snapshot, images=images)


def _moved_config(config: VmConfig, moved: dict[str, str], formats: dict[str, str]) -> VmConfig:
    disks = tuple(
        replace(disk, path=moved[disk.path], format=formats[moved[disk.path]]) if disk.path in moved else disk
        for disk in config.disks
    )
    return config if disks == config.disks else replace(config, disks=disks)


def is_known(world: SnapshotWorld, disk: DiskLayers) -> bool:
    """Whether every needed image is seen to stand on the disk's base: else something unseen may need what we see."""

    def lowest(path: str) -> str:
        while path != disk.base and path in disk.layers:
            path = disk.layers[path].backing
        return path

    return all(lowest(path) == disk.base for path in (disk.active, *images_of(world, disk)))


def images_of(world: SnapshotWorld, disk: DiskLayers) -> frozenset[str]:
    """The images that hold a snapshot's content of that disk."""
    return frozenset(path for snapshot in world.snapshots for target, path in snapshot.images if target == disk.target)


def delete_images(disk: DiskLayers, paths: tuple[str, ...]) -> list[Step]:
    """Deletes images of a disk, the topmost first."""
    return [DeleteVolume(disk.pool, path.rpartition("/")[2]) for path in reversed(paths)]


def droppable(disk: DiskLayers, images: frozenset[str]) -> tuple[str, ...]:
    """The overlays nobody needs and nobody stands on, the lowest first."""
    dropped: list[str] = []
    while True:
        left = replace(disk, layers={path: layer for path, layer in disk.layers.items() if path not in dropped})
        found = [
            path
            for path, layer in left.layers.items()
            if layer.mergeable and path not in (disk.active, disk.base) and path not in images
            if not left.children(path)
        ]
        if not found:
            return tuple(reversed(dropped))
        dropped += sorted(found)


def without(disk: DiskLayers, paths: tuple[str, ...]) -> DiskLayers:
    """The same disk when those images are gone."""
    return replace(disk, layers={path: layer for path, layer in disk.layers.items() if path not in paths})


def next_merge(disk: DiskLayers, images: frozenset[str]) -> Merge | None:
    """The lowest merge there is to do, None where every layer is needed or stood on by several."""
    needed = images | {disk.active}
    for path in _upwards(disk):
        layer = disk.layers[path]
        if path in needed or not layer.mergeable:
            continue
        merge = _merge_into(disk, path, needed)
        if merge is not None:
            return merge
    return None


def _merge_into(disk: DiskLayers, into: str, needed: frozenset[str]) -> Merge | None:
    """What can be merged into that layer: the images above it one by one, up to the first that is needed."""
    run: list[str] = []
    at = into
    while True:
        children = disk.children(at)
        # More than one child: only one of them would learn that the image below it is another now.
        if len(children) != 1 or not disk.layers[children[0]].mergeable or len(disk.children(children[0])) > 1:
            break
        at = children[0]
        run.append(at)
        if at in needed:
            break
    if not run:
        return None
    return Merge(disk.target, disk.pool, run[-1], into, _head(disk, run[-1]), tuple(run), disk.layers[into].format)


def _head(disk: DiskLayers, path: str) -> str:
    """The topmost image above that one: whoever merges opens the chain from there, to correct it."""
    while children := disk.children(path):
        path = children[0]
    return path


def _upwards(disk: DiskLayers) -> list[str]:
    """All images, each behind the one it stands on."""
    order: list[str] = []
    waiting = sorted(path for path, layer in disk.layers.items() if layer.backing not in disk.layers)
    while waiting:
        path = waiting.pop(0)
        order.append(path)
        waiting += sorted(disk.children(path))
    return order


def merged(disk: DiskLayers, merge: Merge) -> DiskLayers:
    """The disk after that merge, the images that are gone with it taken out."""
    for path in merge.gone[:-1]:
        disk = without(disk, (path,))
    return disk.renamed(merge.layer, merge.into)


def is_active_chain(disk: DiskLayers, path: str) -> bool:
    """Whether what is written to stands on that image, or is it."""
    at = disk.active
    while at and at != path:
        layer = disk.layers.get(at)
        at = layer.backing if layer else ""
    return bool(at)
