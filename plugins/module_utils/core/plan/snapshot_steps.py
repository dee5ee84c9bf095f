# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of snapshots: one small verb each, carried out in usecase/layering.py."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.plan_parts import Step
from ..model.snapshot import Merge
from ..model.vm import VmRecord


@dataclass(frozen=True)
class Thaw(Step):
    """Thaws the guest, which somebody left frozen."""

    vm_id: str


@dataclass(frozen=True)
class TakeSnapshot(Step):
    """A disk snapshot; `overlays` are (target, path) of the images to go on with, `others` the drives left out."""

    vm_id: str
    name: str
    description: str
    overlays: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    quiesce: bool


@dataclass(frozen=True)
class TakeCheckpoint(Step):
    """A snapshot with memory."""

    vm_id: str
    name: str
    description: str


@dataclass(frozen=True)
class RestoreCheckpoint(Step):
    """Brings a snapshot with memory back: it runs afterwards, with that record, for libvirt's is of then."""

    vm_id: str
    name: str
    record: VmRecord


@dataclass(frozen=True)
class ContinueFrom(Step):
    """Notes in libvirt that the VM goes on from that snapshot; `overlays` are (target, path)."""

    vm_id: str
    name: str
    overlays: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DescribeSnapshot(Step):
    """Another description."""

    vm_id: str
    name: str
    description: str


@dataclass(frozen=True)
class DeleteCheckpoint(Step):
    """Deletes a snapshot with memory from the images."""

    vm_id: str
    name: str


@dataclass(frozen=True)
class ForgetSnapshot(Step):
    """Removes what libvirt keeps of a disk snapshot; its images are then tidied up."""

    vm_id: str
    name: str


@dataclass(frozen=True)
class MergeLayers(Step):
    """Merges images of different disks, `live` under the running guest."""

    vm_id: str
    merges: tuple[Merge, ...]
    live: bool


@dataclass(frozen=True)
class RelocateSnapshots(Step):
    """Notes in libvirt's snapshots that images have moved, (old path, new path)."""

    vm_id: str
    moved: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReleaseDisks(Step):
    """Takes all snapshots off some disks (by target) of a VM that is off, so that each is whole in its own volume."""

    vm_id: str
    targets: tuple[str, ...]
