# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM snapshot: what is wanted, what is found, and the layers of images that disk snapshots are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .vm import VmConfig, VmFacts

DISK = "Disk"
MEMORY = "DiskAndMemory"
"""The two kinds, as Mold names them: overlays on the disks' images, and libvirt's checkpoints inside the images."""

OVERLAY_HEAD = 1024 * 1024
"""Bytes that hold the first table of every overlay we make: an entry in it maps half a GiB of disk."""
_QCOW2_MAGIC = b"QFI\xfb"

MIN_AGENT = (1, 6)
"""The first guest agent that freezes file systems in the way libvirt asks for (Mold's guide)."""


@dataclass(frozen=True)
class SnapshotSpec:
    """One task: `vm` is a name or an id; an empty `name` has one generated. `quiesce` is auto, true or false."""

    vm: str = ""
    vm_id: str = ""
    name: str = ""
    state: str = "present"
    description: str | None = None  # None: not managed
    memory: bool = False
    quiesce: str = "auto"


@dataclass(frozen=True)
class SnapshotFacts:
    """A snapshot as libvirt has it. `images` are (target, path) of the images that hold its disks' content.

    `config` is the VM as it was then, with its record; `created` is seconds since 1970.
    """

    name: str
    kind: str
    created: int
    config: VmConfig
    description: str = ""
    parent: str = ""
    current: bool = False
    images: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Agent:
    """What a guest's agent says of itself: its version, and whether it holds the file systems frozen."""

    version: str
    frozen: bool = False
    freezes: bool = True  # whether the guest's administrator lets it

    @property
    def is_new_enough(self) -> bool:
        """Whether its version is one that freezes as libvirt asks for."""
        numbers = [int(part) if part.isdecimal() else 0 for part in self.version.split(".")[:2]]
        return tuple(numbers) >= MIN_AGENT


@dataclass(frozen=True)
class Layer:
    """An image in a disk's chain: `backing` is the path of the one below, `capacity` in bytes.

    `mergeable` tells that it belongs to this disk alone: its base or an overlay of ours.
    """

    path: str
    backing: str
    capacity: int
    format: str = "qcow2"
    mergeable: bool = True


@dataclass(frozen=True)
class DiskLayers:
    """All images of one disk by path. `active` is the one written to, `base` the one a disk without snapshots has.

    `untouched` tells that nothing was ever written to the active one.
    """

    target: str
    pool: str
    stem: str  # what the names of its overlays begin with
    base: str
    active: str
    layers: Mapping[str, Layer] = field(default_factory=dict)
    untouched: bool = False

    @property
    def folder(self) -> str:
        """The folder of its pool."""
        return self.base.rpartition("/")[0]

    def children(self, path: str) -> tuple[str, ...]:
        """The images that stand on that one."""
        return tuple(layer.path for layer in self.layers.values() if layer.backing == path)

    def renamed(self, old: str, new: str) -> DiskLayers:
        """The same once the content of `old` is in `new`, and all stand on that."""
        kept = {path: layer for path, layer in self.layers.items() if path != old}
        moved = {path: replace(layer, backing=new) if layer.backing == old else layer for path, layer in kept.items()}
        return replace(self, layers=moved, active=new if self.active == old else self.active)


@dataclass(frozen=True)
class Merge:
    """The content of `layer`, and of all between, goes down into `into`; `top` is the topmost image of that chain."""

    target: str
    pool: str
    layer: str
    into: str
    top: str
    gone: tuple[str, ...]  # the images that are needed no more afterwards, `layer` the last of them
    format: str = "qcow2"  # of `into`


@dataclass(frozen=True)
class SnapshotWorld:
    """A VM with its snapshots, oldest first. `agent` is None where none answers, or none was asked."""

    vm: VmFacts
    snapshots: tuple[SnapshotFacts, ...] = ()
    disks: tuple[DiskLayers, ...] = ()
    agent: Agent | None = None

    def snapshot(self, name: str) -> SnapshotFacts | None:
        """The snapshot of that name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    @property
    def current(self) -> str:
        """The name of the snapshot the VM goes on from, empty where there is none."""
        return next((snapshot.name for snapshot in self.snapshots if snapshot.current), "")


def holds_nothing(head: bytes) -> bool:
    """Whether the image's content is that of the image below it. False where the beginning does not tell.

    Source: QEMU, docs/interop/qcow2.txt. A cluster that was ever written has an entry in the first table.
    """
    if not head.startswith(_QCOW2_MAGIC) or len(head) < 72:
        return False
    entries, table = int.from_bytes(head[36:40], "big"), int.from_bytes(head[40:48], "big")
    end = table + 8 * entries
    internal_snapshots = int.from_bytes(head[60:64], "big")
    return end <= len(head) and not internal_snapshots and not any(head[table:end])
