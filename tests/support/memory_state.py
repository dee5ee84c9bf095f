# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host in memory consists of: domains and guests, pools and volumes, networks and leases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import count
from threading import RLock
from typing import Any
from uuid import uuid4

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import StateFile
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    BridgeFacts,
    Lease,
    NetworkFacts,
    PoolFacts,
    VolumeFacts,
    VolumeSpec,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Power, VmConfig

QCOW2_MAGIC = b"QFI\xfb"
QCOW2_HEADER = 512  # bytes our made-up images keep before their payload
OVERLAY_SIZE = 200 * 1024  # what an empty qcow2 takes on disk
_CHANGES = count(1)
ACTIVE = (Power.RUNNING, Power.PAUSED, Power.SHUTDOWN)


def qcow2_bytes(size: int, payload: bytes = b"", backing: str = "") -> bytes:
    """An image with a true qcow2 header (version 3) of that virtual size, followed by `payload` as it is."""
    name = backing.encode()
    offset = 104 if name else 0
    head = QCOW2_MAGIC + (3).to_bytes(4, "big") + offset.to_bytes(8, "big") + len(name).to_bytes(4, "big")
    head += (16).to_bytes(4, "big") + size.to_bytes(8, "big") + bytes(4)
    head = head.ljust(100, b"\0") + (104).to_bytes(4, "big") + name
    return head.ljust(QCOW2_HEADER, b"\0") + payload


@dataclass
class Guest:
    """How the system inside behaves: `agent` is present, slow, hung or absent; `answers` are exit code and output."""

    agent: str = "present"
    agent_version: str = "7.2.0"
    frozen: bool = False
    freezes: int = 0
    shuts_down: bool = True
    reboots: bool = True
    unplugs: bool = True
    locks_drive: bool = False
    answers: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    console: tuple[str, ...] = ()
    boots: int = 0


@dataclass
class MemoryDomain:
    """A domain: stored definition, and the running one while it runs."""

    config: VmConfig
    live: VmConfig | None = None
    power: Power = Power.OFF
    autostart: bool = False
    snapshots: tuple[str, ...] = ()  # names alone, for tests that need no more
    kept: list[Any] = field(default_factory=list)  # of memory_snapshots.Kept
    guest: Guest = field(default_factory=Guest)
    transient: bool = False  # undefined while it ran
    saved: VmConfig | None = None  # the running definition of one whose memory is saved
    moves_for: int = 0  # so many looks it is still being sent elsewhere
    holds: dict[str, Hold] = field(default_factory=dict)  # who works on it, by token

    @property
    def active(self) -> bool:
        return self.power in ACTIVE

    def uses(self, path: str) -> bool:
        """Whether either definition has a disk at that path."""
        return any(disk.path == path for config in (self.config, self.live) if config for disk in config.disks)


@dataclass
class MemoryVolume:
    """A file in a pool. `building` is libvirt's state of a volume that another job still writes."""

    content: bytes = b""
    format: str = "raw"
    capacity: int = 0
    backing: str = ""
    mode: int = 0o600
    reserved: int = 0  # bytes taken whatever the content is (fat provisioning)
    building: bool = False
    changed: str = field(default_factory=lambda: str(next(_CHANGES)))  # tells files apart, whatever is in them

    @property
    def allocation(self) -> int:
        least = OVERLAY_SIZE if self.format == "qcow2" else 0
        return max(self.reserved, len(self.content), least)

    def resize(self, size: int) -> None:
        """Another virtual size, the same content."""
        self.capacity = size
        if self.format == "qcow2":
            self.content = qcow2_bytes(size, self.content[QCOW2_HEADER:], self.backing)

    def probe(self) -> None:
        """What a refresh of the pool does: the content decides format and size."""
        if self.content.startswith(QCOW2_MAGIC):
            self.format, self.capacity = "qcow2", int.from_bytes(self.content[24:32], "big")
            start, length = int.from_bytes(self.content[8:16], "big"), int.from_bytes(self.content[16:20], "big")
            self.backing = self.content[start : start + length].decode() if start else ""
        else:
            self.format = "iso" if self.content[0x8001:0x8006] == b"CD001" else "raw"
            self.capacity = len(self.content) or self.capacity


@dataclass
class MemoryPool:
    """A pool of files."""

    name: str
    capacity: int = 100 * GIB
    active: bool = True
    path: str = ""
    volumes: dict[str, MemoryVolume] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))
    type: str = "dir"
    source: str = ""
    autostart: bool = False
    seen: int | None = None  # the room when libvirt last looked, where others have written or deleted since

    @property
    def available(self) -> int:
        return max(0, self.capacity - sum(volume.allocation for volume in self.volumes.values()))

    def facts(self, anew: bool = False) -> PoolFacts:
        if anew:
            self.seen = None
        room = self.available if self.seen is None else self.seen
        return PoolFacts(self.name, self.id, self.type, self.path, self.capacity, room, self.source)

    def volume_facts(self, name: str) -> VolumeFacts:
        volume = self.volumes[name]
        return VolumeFacts(
            pool=self.name,
            name=name,
            path=f"{self.path}/{name}",
            capacity=volume.capacity,
            allocation=volume.allocation,
            format=volume.format,
            backing=volume.backing,
            changed=volume.changed,
            file_size=len(volume.content),
        )

    def take(self, spec: VolumeSpec, volume: MemoryVolume) -> None:
        """Adds a volume, as far as its name is free and there is room."""
        if spec.name in self.volumes:
            raise AblestackError(Code.ALREADY_EXISTS, f"volume '{spec.name}' exists in pool '{self.name}'")
        self.ensure(volume.allocation or 1)
        self.volumes[spec.name] = volume

    def ensure(self, size: int) -> None:
        if size > self.available:
            raise AblestackError(Code.INSUFFICIENT_CAPACITY, f"pool '{self.name}' has no room for {size} bytes")


@dataclass
class MemoryNetwork:
    """A network as it runs, what is stored of it where that differs, and what its DHCP has handed out."""

    facts: NetworkFacts
    leases: tuple[Lease, ...] = ()
    redefined: NetworkFacts | None = None
    autostart: bool = True

    @property
    def stored(self) -> NetworkFacts:
        return replace(self.redefined or self.facts, active=self.facts.active)

    def redefine(self, **values: Any) -> None:
        """In the stored definition; what is read of our record always comes from there."""
        self.redefined = replace(self.stored, **values)
        record = self.redefined.record
        self.facts = replace(self.facts, record=record) if self.facts.active else self.redefined
        if record and self.facts.forward == "bridge":
            told = {"cidr": record.cidr, "gateway": record.gateway, "dns_servers": record.dns_servers}
            self.facts = replace(self.facts, **told)

    def power(self, on: bool) -> None:
        if on != self.facts.active:
            self.facts, self.redefined = replace(self.stored, active=on), None

    def lease(self, mac: str, hostname: str) -> None:
        """What the network's DHCP does for a guest that asks: its reservation, else the next free address."""
        facts = self.facts
        if not facts.dhcp_start or any(lease.mac == mac for lease in self.leases):
            return
        fixed = [entry.ip for entry in facts.reservations if entry.mac == mac]
        taken = {lease.ip for lease in self.leases} | {entry.ip for entry in facts.reservations}
        first, last = int(ip_address(facts.dhcp_start)), int(ip_address(facts.dhcp_end))
        free = (str(ip_address(number)) for number in range(first, last + 1))
        found = fixed[0] if fixed else next((ip for ip in free if ip not in taken), "")
        if found:
            self.leases = (*self.leases, Lease(mac, found, hostname))

    def edit(self, **values: Any) -> None:
        """In both definitions."""
        self.facts = replace(self.facts, **values)
        self.redefined = replace(self.redefined, **values) if self.redefined else None


class MemoryState:
    """All there is on one host; several MemoryHost objects may be connected to it at once."""

    def __init__(self, **facts: Any) -> None:
        self.lock = RLock()
        self.moments = 0
        self.domains: dict[str, MemoryDomain] = {}
        self.lacks = ""  # what its processor has not, in words: then it refuses every running guest
        self.pools: dict[str, MemoryPool] = {}
        self.clashes: list[str] = []  # what was to be started on a disk that another had open
        self.networks: dict[str, MemoryNetwork] = {}
        self.peers: dict[str, MemoryState] = {}  # other hosts, by the URI they are reached at
        self.files: dict[tuple[str, str], StateFile] = {}  # NVRAM and TPM state: by id and VmConfig.boot_state's name
        self.bridges: dict[str, BridgeFacts] = {"br0": BridgeFacts("br0", "linux")}
        self.facts: Mapping[str, Any] = {
            "cpus": 8,
            "memory": 16384,
            "virt_types": ("kvm", "qemu"),
            "firmware": ("uefi", "secure"),
            "tpm": True,
            "libvirt_version": "9.0.0",
            "hypervisor_version": "7.2.0",
            **facts,
        }

    def add_pool(self, name: str = "default", capacity: int = 100 * GIB) -> MemoryPool:
        """A new, empty pool."""
        self.pools[name] = MemoryPool(name, capacity, path=f"/pools/{name}")
        return self.pools[name]

    def add_network(self, facts: NetworkFacts) -> MemoryNetwork:
        self.networks[facts.name] = MemoryNetwork(facts)
        return self.networks[facts.name]

    def restart_daemon(self) -> None:
        """The daemon is started anew: guests go on, jobs are gone, and what the files tell is all that is known."""
        for pool in self.pools.values():
            for volume in pool.volumes.values():
                volume.building = False
                volume.probe()

    def cut_power(self) -> None:
        """The host goes down and comes up: no guest runs but those that start with it, nor any network or pool."""
        self.restart_daemon()
        for network in self.networks.values():
            network.power(False)
            network.power(network.autostart)
        for pool in self.pools.values():
            pool.active = pool.autostart
        for vm_id, domain in list(self.domains.items()):
            domain.live, domain.power, domain.guest.frozen = None, Power.OFF, False
            if domain.transient:
                del self.domains[vm_id]
            elif domain.autostart and all(self.volume_at(disk.path) for disk in domain.config.disks if disk.path):
                domain.live, domain.power, domain.saved = domain.saved or domain.config, Power.RUNNING, None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, values: dict[str, Any]) -> None:
        vars(self).update(values, lock=RLock())

    @property
    def boot_state(self) -> set[tuple[str, str]]:
        """What there is of NVRAM and TPM state, by id and kind."""
        return set(self.files)

    def count(self) -> int:
        """One more than last time: what a clock would say of two things that happen."""
        self.moments += 1
        return self.moments

    def volume_at(self, path: str) -> MemoryVolume | None:
        """The volume that lies at a path, in whatever pool."""
        for pool in self.pools.values():
            for name, volume in pool.volumes.items():
                if f"{pool.path}/{name}" == path:
                    return volume
        return None
