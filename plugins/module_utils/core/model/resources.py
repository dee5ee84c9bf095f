# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else lives on a host: pools, volumes, templates, networks, and the host's own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .catalog import HostSpec


@dataclass(frozen=True)
class PoolFacts:
    """A storage pool; sizes in bytes, `path` is the folder volumes lie in, `id` its UUID on that host."""

    name: str
    id: str
    type: str
    path: str
    capacity: int
    available: int


@dataclass(frozen=True)
class VolumeFacts:
    """A volume; sizes in bytes, `backing` the path of the image it stands on."""

    pool: str
    name: str
    path: str
    capacity: int
    allocation: int
    format: str
    backing: str = ""


@dataclass(frozen=True)
class VolumeSpec:
    """A volume to make; `backing` is a path, `mode` the file's permission bits."""

    pool: str
    name: str
    capacity: int
    format: str = "qcow2"
    backing: str = ""
    backing_format: str = ""
    fat: bool = False
    mode: int = 0o600


@dataclass(frozen=True)
class Template:
    """A template as its descriptor tells. `size` is the virtual size in bytes, `file_size` the image file's.

    `source` is the path or URL it came from; of a path, `source_mtime` (ns) and `file_size` tell whether it changed.
    `checksum` is the image's SHA-256, `verified` the checksum the user gave for it (of any kind).
    """

    name: str
    format: str
    size: int
    file_size: int
    checksum: str
    display_text: str = ""
    os_type: str = ""
    boot_type: str = ""  # empty: nobody said, so it is tried with what the VM asks for, BIOS by default
    boot_mode: str = ""
    ssh_key_enabled: bool = True
    dynamic_scaling: bool = False
    featured: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    source: str = ""
    source_mtime: int = 0
    verified: str = ""
    created: str = ""


@dataclass(frozen=True)
class TemplateCopy:
    """A template on one host: Ready when its image is complete, else NotReady with the reason.

    `path` is the image's (empty unless Ready), `volumes` what there is of it in the pool: nothing where it is absent.
    """

    host: str
    pool: str
    path: str
    template: Template | None
    ready: bool
    reason: str = ""
    name: str = ""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reservation:
    """A fixed address in a network's DHCP; `name` goes into its DNS."""

    mac: str
    ip: str
    name: str = ""


@dataclass(frozen=True)
class Lease:
    """An address libvirt's DHCP has handed out."""

    mac: str
    ip: str
    hostname: str = ""
    expires: int = 0


@dataclass(frozen=True)
class NetworkFacts:
    """A libvirt network. `forward` is nat, route, open, bridge … or empty; `cidr` empty without an address."""

    name: str
    id: str
    active: bool
    forward: str = ""
    bridge: str = ""
    cidr: str = ""
    gateway: str = ""
    dhcp_start: str = ""
    dhcp_end: str = ""
    reservations: tuple[Reservation, ...] = ()
    record: Mapping[str, Any] | None = None  # our element in its metadata, None where it is not ours

    @property
    def managed(self) -> bool:
        """Whether this collection made it."""
        return self.record is not None


@dataclass(frozen=True)
class HostFacts:
    """A host's size and what runs on it; memory in MiB, versions as libvirt prints them."""

    spec: HostSpec
    cpus: int
    memory: int
    virt_types: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()  # of uefi, secure
    tpm: bool = False
    machine: str = "q35"
    libvirt_version: str = ""
    hypervisor_version: str = ""
    used_cpus: int = 0
    used_memory: int = 0
    running: int = 0
    pools: Mapping[str, PoolFacts] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
