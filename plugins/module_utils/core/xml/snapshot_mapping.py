# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of snapshots and our words for them: one read, one to be taken, one edited in place."""

from __future__ import annotations

from collections.abc import Mapping

from ..model.errors import AblestackError, Code
from ..model.snapshot import DISK, MEMORY, SnapshotFacts
from ..model.vm import VmConfig, VmRecord
from .document import Document, DocumentError, Number, Text, serialize
from .domain import DEVICES, BalloonElement, ControllerElement, DiskElement, DomainElement
from .domain_mapping import read_domain
from .metadata_mapping import drop_holds, put_record

DISOWNED = ".forgotten"  # behind the path of an overlay: no image of ours ends like that
DEFINITIONS = ("domain", "inactiveDomain")  # what a snapshot has of its VM, and of the stored one where that differed
HELPER_MEMORY = 32  # MiB: its processors never run


class SnapshotDiskElement(Document):
    tag = "disk"
    name = Text("@name")
    snapshot = Text("@snapshot")
    format = Text("driver@type")
    file = Text("source@file")


class SnapshotElement(Document):
    tag = "domainsnapshot"
    name = Text("name")
    description = Text("description")
    state = Text("state")
    parent = Text("parent/name")
    created = Number("creationTime")
    memory = Text("memory@snapshot")


def _snapshot_of(text: str) -> SnapshotElement:
    try:
        return SnapshotElement.parse(text)
    except DocumentError as error:
        raise AblestackError(Code.INTERNAL, f"libvirt gave a snapshot document we cannot read: {error}") from None


def read_snapshot(text: str, current: str) -> SnapshotFacts:
    """A snapshot's document; `current` is the name of the one the VM goes on from."""
    snapshot = _snapshot_of(text)
    config = _config(snapshot)
    disks = snapshot.children(SnapshotDiskElement, "disks")
    external = {disk.name for disk in disks if disk.snapshot == "external"}
    return SnapshotFacts(
        name=snapshot.name,
        kind=MEMORY if snapshot.memory in ("internal", "external") else DISK,
        created=snapshot.created,
        config=config,
        description=snapshot.description,
        parent=snapshot.parent,
        current=snapshot.name == current,
        # The document names the overlay that was made for it; its content is in the image the VM had until then.
        images=tuple((disk.target, disk.path) for disk in config.disks if disk.target in external),
    )


def _config(snapshot: SnapshotElement) -> VmConfig:
    """The VM of that time. Some drivers, and snapshots others redefined, keep but its id."""
    domain = snapshot.element.find("domain")
    if domain is None or domain.find("name") is None:
        return VmConfig(id="", domain_name="", record=None, cpu=0, memory=0, max_cpu=0, max_memory=0)
    return read_domain(serialize(domain))


def new_snapshot(name: str, description: str, overlays: Mapping[str, str], others: tuple[str, ...]) -> str:
    """Asks for a disk snapshot: `overlays` are the images to go on with by target, `others` the drives left out."""
    snapshot = SnapshotElement(name=name, description=description)
    for target, path in overlays.items():
        snapshot.add(SnapshotDiskElement(name=target, snapshot="external", format="qcow2", file=path), "disks")
    for target in others:
        snapshot.add(SnapshotDiskElement(name=target, snapshot="no"), "disks")
    return snapshot.text


def new_checkpoint(name: str, description: str) -> str:
    """Asks for a snapshot of disks and memory, inside the images."""
    return SnapshotElement(name=name, description=description).text


def described(text: str, description: str) -> str:
    """The same snapshot with another description."""
    snapshot = _snapshot_of(text)
    snapshot.description = description
    return snapshot.text


def continued(text: str, overlays: Mapping[str, str]) -> str:
    """The same snapshot when the VM goes on from it with other overlays, by target."""
    snapshot = _snapshot_of(text)
    for disk in snapshot.children(SnapshotDiskElement, "disks"):
        if disk.name in overlays and disk.snapshot == "external":
            disk.file = overlays[disk.name]
    return snapshot.text


def disowned(text: str) -> str:
    """The same snapshot as if the VM had gone on from it in other overlays than it has, and any other snapshot."""
    snapshot = _snapshot_of(text)
    for disk in snapshot.children(SnapshotDiskElement, "disks"):
        if disk.snapshot == "external":
            disk.file = f"{disk.file}{DISOWNED}"
    return snapshot.text


def recorded(text: str, record: VmRecord) -> str:
    """The same snapshot when the VM of then is to have that record; who worked on it then is at it no more."""
    snapshot = _snapshot_of(text)
    for element in map(snapshot.element.find, DEFINITIONS):
        if element is not None:
            definition = DomainElement(element)
            put_record(definition, record)
            drop_holds(definition)
    return snapshot.text


def relocated(text: str, moved: Mapping[str, str]) -> str | None:
    """The same snapshot once images have moved, by path; None where that does not concern it."""
    snapshot = _snapshot_of(text)
    found = False
    for disk in snapshot.children(SnapshotDiskElement, "disks"):
        if disk.file in moved:
            disk.file, found = moved[disk.file], True
    for kind in DEFINITIONS:
        element = snapshot.element.find(kind)
        for disk_of_then in [] if element is None else DomainElement(element).children(DiskElement, DEVICES):
            if disk_of_then.file in moved:
                disk_of_then.file, found = moved[disk_of_then.file], True
                disk_of_then.backing = False
    return snapshot.text if found else None


def chain_of(text: str, target: str) -> tuple[str, ...]:
    """The images of a running domain's disk, the one written to first."""
    for disk in DomainElement.parse(text).children(DiskElement, DEVICES):
        if disk.target != target:
            continue
        paths = [disk.file]
        backing = disk.element.find("backingStore")
        while backing is not None:
            source = backing.find("source")
            paths.append(source.get("file", "") if source is not None else "")
            backing = backing.find("backingStore")
        return tuple(path for path in paths if path)
    return ()


def is_ready(text: str, target: str) -> bool:
    """Whether the copy into the image below a disk's own has caught up."""
    for disk in DomainElement.parse(text).children(DiskElement, DEVICES):
        if disk.target == target:
            mirror = disk.element.find("mirror")
            return mirror is not None and (mirror.get("job"), mirror.get("ready")) == ("active-commit", "yes")
    return False


def new_helper(name: str, virt_type: str, disks: Mapping[str, tuple[str, str]]) -> str:
    """A domain of nothing but disks, (path, format) by target: QEMU merges images only while it has them open."""
    domain = DomainElement(type=virt_type, name=name, os_type="hvm", arch="x86_64", machine="q35")
    domain.memory = domain.current_memory = HELPER_MEMORY
    domain.vcpus = 1
    for target, (path, image_format) in disks.items():
        disk = DiskElement(type="file", device="disk", driver="qemu", format=image_format, file=path, bus="virtio")
        disk.target = target
        domain.add(disk, DEVICES)
    domain.add(ControllerElement(type="usb", model="none"), DEVICES)
    domain.add(BalloonElement(model="none"), DEVICES)
    return domain.text
