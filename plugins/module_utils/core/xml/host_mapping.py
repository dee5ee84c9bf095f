# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of a host's other resources: pools, volumes, and what its hypervisor can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from ..model.errors import AblestackError, Code
from ..model.migration import GuestNeeds
from ..model.resources import PoolFacts, VolumeFacts, VolumeSpec
from .document import Document, DocumentError, Size, Switch, Text, serialize
from .domain_mapping import domain_of

D = TypeVar("D", bound=Document)
PASSTHROUGH = "host-passthrough"

NETWORK_POOLS = ("netfs", "gluster", "rbd", "iscsi", "iscsi-direct")
"""The types of pools whose storage other machines serve."""


class PoolElement(Document):
    tag = "pool"
    type = Text("@type")
    name = Text("name")
    uuid = Text("uuid")
    path = Text("target/path")
    capacity = Size("capacity", "bytes", "bytes")
    available = Size("available", "bytes", "bytes")
    folder = Text("source/dir@path")
    device = Text("source/device@path")
    source_name = Text("source/name")

    @property
    def servers(self) -> list[str]:
        """The machines that serve it; monitors of one cluster may stand in any order."""
        return sorted(entry.get("name", "").lower() for entry in self.element.findall("source/host"))

    @property
    def source(self) -> str:
        """Where its storage is, where that is on other machines than this one."""
        if self.type not in NETWORK_POOLS or not self.servers:
            return ""
        path = self.folder.rstrip("/") or self.device
        return " ".join(part for part in (",".join(self.servers), self.source_name, path) if part)


class VolumeElement(Document):
    tag = "volume"
    name = Text("name")
    path = Text("target/path")
    capacity = Size("capacity", "bytes", "bytes")
    allocation = Size("allocation", "bytes", "bytes")
    file_size = Size("physical", "bytes", "bytes")
    format = Text("target/format@type", "raw")
    backing = Text("backingStore/path")
    changed = Text("target/timestamps/ctime")


class NewVolumeElement(Document):
    """A volume to make: here a size of nothing must be said, and all are in bytes."""

    tag = "volume"
    type = Text("@type")
    name = Text("name")
    capacity = Text("capacity")
    allocation = Text("allocation")
    format = Text("target/format@type")
    mode = Text("target/permissions/mode")
    compatibility = Text("target/compat")
    backing = Text("backingStore/path")
    backing_format = Text("backingStore/format@type")


class AbilitiesElement(Document):
    """The domain capabilities of one way to run a guest."""

    tag = "domainCapabilities"
    virt_type = Text("domain")
    tpm = Switch("devices/tpm@supported")

    def allows(self, path: str, enum: str, value: str) -> bool:
        """Whether that list of values at that place holds the value."""
        found = self.element.findall(f"{path}/enum[@name='{enum}']/value")
        return value in [(entry.text or "").strip() for entry in found]


class CapabilitiesElement(Document):
    """The host's capabilities: which guests it runs at all."""

    tag = "capabilities"


def parse(kind: type[D], text: str) -> D:
    """The document of that kind that libvirt gave as text."""
    try:
        return kind.parse(text)
    except DocumentError as error:
        what = kind.tag or "capabilities"
        raise AblestackError(Code.INTERNAL, f"libvirt gave a {what} document we cannot read: {error}") from None


def read_pool(text: str) -> PoolFacts:
    """A pool's document."""
    pool = parse(PoolElement, text)
    return PoolFacts(pool.name, pool.uuid, pool.type, pool.path, pool.capacity, pool.available, pool.source)


def new_folder_pool(name: str, path: str) -> str:
    """The document that defines a pool of the folder at that path."""
    return PoolElement(type="dir", name=name, path=path).text


def read_volume(text: str, pool: str) -> VolumeFacts:
    """A volume's document."""
    volume = parse(VolumeElement, text)
    return VolumeFacts(
        pool=pool,
        name=volume.name,
        path=volume.path,
        capacity=volume.capacity,
        allocation=volume.allocation,
        format=volume.format,
        backing=volume.backing,
        changed=volume.changed,
        file_size=volume.file_size,
    )


def new_volume(spec: VolumeSpec) -> str:
    """The document that makes a volume. Thin ones allocate nothing; qcow2 is of the kind that can free blocks."""
    return NewVolumeElement(
        type="file",
        name=spec.name,
        capacity=str(spec.capacity),
        allocation=str(spec.capacity if spec.fat else 0),
        format=spec.format,
        mode=f"{spec.mode:04o}",
        compatibility="1.1" if spec.format == "qcow2" else "",
        backing=spec.backing,
        backing_format=(spec.backing_format or "qcow2") if spec.backing else "",
    ).text


@dataclass(frozen=True)
class Abilities:
    """What guests of a host may have."""

    virt_types: tuple[str, ...]
    firmware: tuple[str, ...]
    tpm: bool


def read_abilities(text: str) -> Abilities:
    """The domain capabilities: ways to run a guest, firmware kinds (uefi, secure), emulated TPM."""
    abilities = parse(AbilitiesElement, text)
    uefi = abilities.allows("os", "firmware", "efi")
    secure = uefi and abilities.allows("os/loader", "secure", "yes")
    return Abilities(
        # where QEMU can use the hardware, it can do without, too
        virt_types=("kvm", "qemu") if abilities.virt_type == "kvm" else (abilities.virt_type,),
        firmware=(("uefi",) if uefi else ()) + (("secure",) if secure else ()),
        tpm=abilities.tpm and abilities.allows("devices/tpm", "backendModel", "emulator"),
    )


def guest_needs(definition: str) -> GuestNeeds:
    """What a domain needs of its host, of the processor only where the definition is that of a running one."""
    domain = domain_of(definition)
    cpu = domain.element.find("cpu")
    needs = GuestNeeds(domain.machine, domain.type)
    if not domain.running_id or cpu is None:
        return needs
    return GuestNeeds(domain.machine, domain.type, PASSTHROUGH if domain.cpu_mode == PASSTHROUGH else serialize(cpu))


def host_processor(capabilities: str) -> str:
    """The host's own processor, which a guest has that was passed it through."""
    cpu = parse(CapabilitiesElement, capabilities).element.find("host/cpu")
    return "" if cpu is None else serialize(cpu)
