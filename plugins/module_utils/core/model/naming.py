# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names under which domains and volumes of ours are found: all derived from the VM's name and id (DESIGN 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DATA_VOLUME = re.compile(r"vol-(.+)\.qcow2\Z")
_OWN_VOLUME = re.compile(r"(root|seed|data\d+)\.")  # what follows a VM's prefix: no other VM's name has a dot
_CLAIM = re.compile(r"\.claim(\d+)-[0-9a-f]{8}\Z")
TEMPLATE_PREFIX = "tmpl-"
TEMPLATE_FORMATS = ("qcow2", "raw", "iso")


@dataclass(frozen=True)
class VmNames:
    """The names that belong to one VM. The id's first eight digits keep VMs of one name apart."""

    name: str
    id: str

    @property
    def short_id(self) -> str:
        """The id's first eight digits."""
        return self.id[:8]

    @property
    def domain(self) -> str:
        """The domain's name while the VM holds its name; lower case, so libvirt's uniqueness is ours."""
        return self.name.lower()

    @property
    def destroyed_domain(self) -> str:
        """The domain's name once the VM is destroyed; VM names have no dot, so it can never clash."""
        return f"{self.domain}.destroyed-{self.short_id}"

    def claimed_domain(self, generation: int) -> str:
        """The domain's name while one process, chosen by libvirt's atomic rename, recovers or expunges it."""
        return f"{self.domain}.claim{generation}-{self.short_id}"

    @property
    def volume_prefix(self) -> str:
        """What the names of all volumes begin with that live and die with the VM; so may those of another (`owns`)."""
        return f"vm-{self.domain}-{self.short_id}-"

    def owns(self, volume: str) -> bool:
        """Whether the volume lives and dies with the VM: its root disk, its seed, overlays of its disks."""
        prefix = self.volume_prefix
        return volume.startswith(prefix) and bool(_OWN_VOLUME.match(volume, len(prefix)))

    @property
    def root_volume(self) -> str:
        """The root disk's volume."""
        return f"{self.volume_prefix}root.qcow2"

    @property
    def seed_volume(self) -> str:
        """The cloud-init seed's volume."""
        return f"{self.volume_prefix}seed.iso"


def claim_generation(domain_name: str) -> int:
    """How many claims this domain has seen: 0 where it is not claimed."""
    match = _CLAIM.search(domain_name)
    return int(match.group(1)) if match else 0


def vm_name_of(domain_name: str) -> str:
    """The VM name a domain's name begins with, whatever mark the domain's name carries."""
    return domain_name.partition(".")[0].lower()


def data_volume(disk_name: str) -> str:
    """The volume of a data disk: it outlives VMs, so no VM is in its name."""
    return f"vol-{disk_name}.qcow2"


def is_data_volume(path: str) -> bool:
    """Whether the path or name is that of a data disk of ours."""
    return data_disk_of(path.rpartition("/")[2]) != ""


def data_disk_of(volume: str) -> str:
    """The data disk a volume holds, empty where it is none of ours."""
    found = _DATA_VOLUME.match(volume)
    return found.group(1) if found else ""


def tombstone(disk_name: str) -> str:
    """The volume that stands beside a data disk while it is being deleted: no disk's name ends so."""
    return f"vol-{disk_name}.deleting"


def template_image(name: str, image_format: str) -> str:
    """The volume of a template's image."""
    return f"{TEMPLATE_PREFIX}{name}.{image_format}"


def template_descriptor(name: str) -> str:
    """The volume of a template's descriptor."""
    return f"{TEMPLATE_PREFIX}{name}.json"


def template_tombstone(name: str) -> str:
    """The volume that stands beside a descriptor while it is being deleted."""
    return f"{TEMPLATE_PREFIX}{name}.deleting"


def template_volumes(name: str) -> tuple[str, ...]:
    """All volumes a template may have, its descriptor first."""
    return (template_descriptor(name), *(template_image(name, image_format) for image_format in TEMPLATE_FORMATS))


def template_of(volume: str) -> str:
    """The template that a volume belongs to, empty where it is none of a template's."""
    stem, _dot, suffix = volume.rpartition(".")
    if not stem.startswith(TEMPLATE_PREFIX) or suffix not in (*TEMPLATE_FORMATS, "json"):
        return ""
    return stem[len(TEMPLATE_PREFIX) :]


def disk_target(device: int) -> str:
    """The target of the disk with that device id: 0 is vda, 1 vdb, …, 25 vdz, 26 vdaa, as Linux names them."""
    letters, left = "", device + 1
    while left:
        left, letter = divmod(left - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"vd{letters}"
