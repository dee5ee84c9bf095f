# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else lives on a host: pools, volumes, templates, networks, and the host's own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .catalog import HostSpec

NEEDS_RESTART = (
    "forward",
    "bridge",
    "cidr",
    "gateway",
    "cidr6",
    "gateway6",
    "dns_servers",
    "domain",
    "mtu",
    "vlan",
    "openvswitch",
)
"""The properties that libvirt changes in a running network only by stopping and starting it."""
OPTION_OF = {"forward": "type", "cidr6": "ip6_cidr", "gateway6": "ip6_gateway", "openvswitch": "bridge"}
"""The option behind a property where it has another name."""
FILE_POOLS = ("dir", "fs", "netfs")
"""libvirt's types of pools of files: the only ones that hold disks of VMs."""


@dataclass(frozen=True)
class PoolFacts:
    """A storage pool; sizes in bytes, `path` is the folder volumes lie in, `id` its UUID on that host.

    `source` says where network storage is, in the same words on every host; it is empty for local pools.
    """

    name: str
    id: str
    type: str
    path: str
    capacity: int
    available: int
    source: str = ""


FOLDER = "dir"
"""libvirt's type of a pool that is a folder of the host."""


@dataclass(frozen=True)
class PoolState:
    """A pool as it is defined on a host, running or not; `path` is the folder that its volumes lie in."""

    name: str
    type: str
    path: str
    active: bool
    autostart: bool


@dataclass(frozen=True)
class VolumeFacts:
    """A volume; sizes in bytes, `backing` the path of the image it stands on.

    `changed` is when anything about its file last changed (its ctime, to the nanosecond): what two hosts show of one
    file is the same, and of two files never. `file_size` is how long the file itself is.
    """

    pool: str
    name: str
    path: str
    capacity: int
    allocation: int
    format: str
    backing: str = ""
    changed: str = ""
    file_size: int = 0


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
class DnsRecord:
    """A name, or several, of an address in a network's DNS, beside those that reservations bring."""

    ip: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class NetworkRecord:
    """Our element in a network's metadata: what libvirt has no place for.

    `cidr`, `gateway` and `dns_servers` are kept here of a network on a bridge of the host's, whose addresses are
    handed out by somebody else.
    """

    type: str = "isolated"
    created: str = ""
    autostart: bool = True
    cidr: str = ""
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NetworkFacts:
    """A libvirt network. `forward` is nat, route, open, bridge … or empty; `cidr` empty without an address.

    `cidr` is of IPv6 only where there is none of IPv4; `cidr6` is an IPv6 network beside one of IPv4.
    """

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
    record: NetworkRecord | None = None  # our element in its metadata, None where it is not ours
    cidr6: str = ""
    gateway6: str = ""
    dns_servers: tuple[str, ...] = ()
    dns_records: tuple[DnsRecord, ...] = ()
    domain: str = ""
    mtu: int = 0
    vlan: int = 0
    openvswitch: bool = False
    leases: tuple[Lease, ...] = ()  # of its DHCP, where they were asked for

    @property
    def managed(self) -> bool:
        """Whether this collection made it."""
        return self.record is not None

    @property
    def reserves(self) -> bool:
        """Whether VMs get fixed addresses by reservations in it. DHCP of IPv6 knows no MAC addresses to go by."""
        return self.managed and self.forward in ("nat", "route", "open") and bool(self.cidr) and ":" not in self.cidr

    @property
    def serves(self) -> bool:
        """Whether the host has an address of its own in it, and so DHCP and DNS; cidr may also be but a description."""
        return self.forward != "bridge" and bool(self.cidr)


@dataclass(frozen=True)
class NetworkState:
    """One network: as it is stored, as it runs (None where it does not), whether its host starts it at boot."""

    stored: NetworkFacts
    live: NetworkFacts | None = None
    autostart: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.stored.name

    @property
    def type(self) -> str:
        """The type as Mold names it; of a network that is not ours the nearest one."""
        record = self.stored.record
        return record.type if record and record.type else type_of(self.stored)

    @property
    def pending(self) -> tuple[str, ...]:
        """The options whose stored value takes effect when it is next started."""
        live = self.live
        if live is None:
            return ()
        names = [OPTION_OF.get(name, name) for name in NEEDS_RESTART if _seen(self.stored, name) != _seen(live, name)]
        if not names and live.serves:
            later = ("dhcp_start", "dhcp_end", "dns_records")
            names = [name for name in later if getattr(self.stored, name) != getattr(live, name)]
        return tuple(dict.fromkeys(names))


def _seen(facts: NetworkFacts, name: str) -> object:
    """A property as far as libvirt acts by it: of a network on a bridge of the host's, addresses only describe."""
    described = name in ("cidr", "gateway", "dns_servers") and not facts.serves
    return None if described else getattr(facts, name) or None


def type_of(facts: NetworkFacts) -> str:
    """The type that suits a definition best."""
    if facts.forward in ("route", "open"):
        return "routed"
    if facts.forward in ("bridge", "passthrough", "private", "vepa", "hostdev"):
        return "shared"
    return "isolated" if facts.forward or facts.cidr else "l2"


@dataclass(frozen=True)
class BridgeFacts:
    """A bridge of the host's that libvirt did not make. `kind` is linux, other (as Open vSwitch) or unknown."""

    name: str
    kind: str
    tags_vlans: bool = False  # whether libvirt can put a VM's traffic into a VLAN on it without Open vSwitch


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
