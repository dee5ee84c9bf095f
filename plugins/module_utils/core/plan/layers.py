# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of a disk once some are needed no more: which are dropped, and which merged (docs/design/snapshots.md).

A layer is needed when it is written to, or holds the content of a snapshot. Nothing is ever written to a needed layer
but the active one, nor to one that two stand on; and nothing here sees a template, which stands below the base.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.snapshot import DiskLayers, Merge


def droppable(disk: DiskLayers, images: frozenset[str]) -> tuple[str, ...]:
    """The overlays nobody needs and nobody stands on, topmost first."""
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
            return tuple(dropped)
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
