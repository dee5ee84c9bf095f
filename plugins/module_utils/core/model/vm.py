# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM is: its stored and running definition, our record in its metadata, its power and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Union

from .catalog import HostSpec
from .errors import AblestackError

CDROM_DEVICE = 3
"""Mold's device ids: 0 is the root disk, 3 the CD drive, data disks take the others from 1."""

MEMORY_BLOCK = 2
"""MiB by which the memory of a running guest grows (QEMU: the block size of virtio-mem on x86)."""
ROOM_BLOCK = 128
"""MiB in which room for that is set aside: Linux uses of it only whole blocks of its own size."""


class Power(str, Enum):
    """What libvirt says the domain is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"  # the guest is going down
    OFF = "off"
    CRASHED = "crashed"


_ACTIVE = (Power.RUNNING, Power.PAUSED, Power.SHUTDOWN)


class Phase(str, Enum):
    """The lifecycle mark in the record; SETTLED is the absence of one."""

    SETTLED = ""
    DEPLOYING = "deploying"  # defined, its volumes may be missing or half made
    STARTING = "starting"  # complete on disk, the first start was wanted and may not have happened
    RESTARTING = "restarting"  # it ran, was stopped for a change, and has to run again
    REINSTALLING = "reinstalling"  # its root disk is being made anew
    MIGRATING = "migrating"  # on its way from one host to another: two may know it
    DESTROYED = "destroyed"
    RECOVERING = "recovering"  # claimed to be recovered; the name says whether it got its own back
    EXPUNGING = "expunging"


_GONE = (Phase.DESTROYED, Phase.EXPUNGING)


@dataclass(frozen=True)
class Owner:
    """The process that works on a VM, told apart well enough to see whether it is still alive."""

    machine: str  # boot id and PID namespace: only there does the PID mean anything
    pid: int
    started: int  # the process's start time in clock ticks, for PIDs come round again
    token: str

    def same_process(self, other: Owner) -> bool:
        """Whether both stand for one process."""
        return (self.machine, self.pid, self.started) == (other.machine, other.pid, other.started)


@dataclass(frozen=True)
class Mark:
    """The lifecycle mark: the phase, since when, and who works on it. `delete_data_disks` are disk names.

    `runs` tells that it has to run when that is done. Of a migration: the names of both hosts, and the targets of the
    disks whose content goes along.
    """

    phase: Phase = Phase.SETTLED
    since: str = ""
    expunge_at: str = ""
    delete_data_disks: tuple[str, ...] = ()
    owner: Owner | None = None
    runs: bool = False
    source: str = ""
    target: str = ""
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """A process that has noted in a VM's definition that it works on it, and since when.

    `volumes` are the data volumes (pool/name) that it is about to give to the VM.
    """

    owner: Owner
    since: str
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DiskRecord:
    """What we keep of a disk beside its definition. `size` in bytes; `role` is root, data, seed or iso."""

    name: str
    role: str
    device: int
    target: str
    pool: str
    volume: str
    size: int = 0
    offering: str = ""
    min_iops: int = 0
    own_limits: bool = False  # IOPS given beside the offering


@dataclass(frozen=True)
class NicRecord:
    """What we keep of a NIC: `ip` is the address the user asked for, empty where DHCP chooses."""

    mac: str
    network: str
    ip: str = ""


@dataclass(frozen=True)
class VmRecord:
    """Our element in the domain's metadata (DESIGN 4): everything libvirt has no place for."""

    name: str
    mark: Mark = Mark()
    display_name: str = ""
    group: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    template: str = ""
    template_checksum: str = ""
    iso: str = ""
    clone: str = "linked"
    compute_offering: str = ""
    dynamic_scaling: bool = False
    scaling_chosen: bool = False  # dynamic_scaling was given against the offering, which another task may only name
    affinity_groups: tuple[str, ...] = ()
    ssh_key_pairs: tuple[str, ...] = ()
    keys_digest: str = ""  # of key pairs and public keys together, as once written; nothing writes it any more
    key_pairs_digest: str = ""
    public_keys_digest: str = ""
    user_data_digest: str = ""
    protected: bool = False
    autostart: bool = False
    created: str = ""
    disks: tuple[DiskRecord, ...] = ()
    nics: tuple[NicRecord, ...] = ()
    snapshots: tuple[str, ...] = ()  # in order of their creation; libvirt's own list is the truth
    quiesced: tuple[str, ...] = ()  # those of them for which the guest's file systems were frozen
    boot_left: tuple[str, ...] = ()  # boot_state of before, which the host still keeps

    def disk(self, role: str) -> DiskRecord | None:
        """The first disk of that role."""
        return next((disk for disk in self.disks if disk.role == role), None)

    @property
    def data_disks(self) -> tuple[DiskRecord, ...]:
        """The data disks, in order of their device ids."""
        return tuple(sorted((disk for disk in self.disks if disk.role == "data"), key=lambda disk: disk.device))

    def marked(self, phase: Phase, **values: object) -> VmRecord:
        """The same record with another mark."""
        return replace(self, mark=Mark(phase=phase, **values))  # type: ignore[arg-type]


@dataclass(frozen=True)
class DiskConfig:
    """A disk as the domain's definition has it. `kind` is disk or cdrom; `path` is empty in an empty drive.

    Where the definition names a volume instead of a path, as other tools' may, that is `source` (pool/name).
    """

    target: str
    path: str
    kind: str = "disk"
    bus: str = "virtio"
    format: str = "qcow2"
    max_iops: int = 0
    source: str = ""

    def is_volume(self, pool: str, path: str) -> bool:
        """Whether it is the volume at that path of the pool; in a pool of files it has the name of its file."""
        return bool(path) and (self.path == path or self.source == f"{pool}/{path.rpartition('/')[2]}")


@dataclass(frozen=True)
class NicConfig:
    """A NIC as the domain's definition has it. `leased` tells that libvirt's own DHCP can serve it."""

    mac: str
    network: str
    model: str = "virtio"
    leased: bool = True


@dataclass(frozen=True)
class VmConfig:
    """A domain's definition in our words. Memory in MiB; `record` is None for a domain that is not ours.

    `seeds` counts how often the VM got another seed while it ran: where its two definitions differ in that, the guest
    has not seen the last one yet.
    """

    id: str
    domain_name: str
    record: VmRecord | None
    cpu: int
    memory: int
    max_cpu: int
    max_memory: int
    boot_type: str = "bios"
    boot_mode: str = "legacy"
    tpm: bool = False
    virt_type: str = "kvm"
    cpu_mode: str = ""
    disks: tuple[DiskConfig, ...] = ()
    nics: tuple[NicConfig, ...] = ()
    seeds: int = 0
    agent: bool = field(default=False, compare=False)
    """Of a running one: whether its guest agent is connected, so that it may answer."""

    @property
    def boot_state(self) -> tuple[str, ...]:
        """What the host keeps for its boot beside disks: NVRAM, named by its boot mode, and the state of its TPM."""
        nvram = (self.boot_mode,) if self.boot_type == "uefi" else ()
        return (*nvram, "tpm") if self.tpm else nvram

    def disk(self, target: str) -> DiskConfig | None:
        """The disk at that target."""
        return next((disk for disk in self.disks if disk.target == target), None)


@dataclass(frozen=True)
class DomainRef:
    """One row of a host's bulk listing."""

    id: str
    domain_name: str
    power: Power


@dataclass(frozen=True)
class VmFacts:
    """A VM as found on a host: the stored definition, the running one (None when off), addresses by MAC.

    `holds` tell who is at work on it, living or dead. `saved` tells of one that is off that its host keeps its memory,
    with which it goes on at the next start (libvirt: managed save).
    """

    host: HostSpec
    power: Power
    config: VmConfig
    live: VmConfig | None = None
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    saved: bool = False

    @property
    def record(self) -> VmRecord | None:
        """Our record, None where the VM is unmanaged."""
        return self.config.record

    @property
    def id(self) -> str:
        """The VM's id, which is the domain's UUID."""
        return self.config.id

    @property
    def name(self) -> str:
        """The VM's name: the record's, for a destroyed VM's domain has another."""
        return self.record.name if self.record else self.config.domain_name

    @property
    def phase(self) -> Phase:
        """The lifecycle mark's phase."""
        record = self.config.record
        return record.mark.phase if record else Phase.SETTLED

    @property
    def is_active(self) -> bool:
        """Whether a QEMU process runs for it."""
        return self.power in _ACTIVE

    @property
    def exists(self) -> bool:
        """Whether it holds its name: a destroyed or expunging VM does not (SEMANTICS 2.10)."""
        phase = self.phase
        if phase is Phase.RECOVERING:
            return self.config.domain_name == self.name.lower()
        return phase not in _GONE

    def requested_addresses(self, sure: bool) -> dict[str, tuple[str, ...]]:
        """What the user asked for when the VM was made, by MAC of the NICs it has now.

        `sure`: only where libvirt's own DHCP sees to it. Of other networks nobody knows whether the guest took it.
        """
        asked = {nic.mac: (nic.ip,) for nic in (self.record.nics if self.record else ()) if nic.ip}
        nics = (self.live or self.config).nics
        return {nic.mac: asked[nic.mac] for nic in nics if nic.mac in asked and (nic.leased or not sure)}

    @property
    def state(self) -> str:
        """The state as Mold names it (INTERFACE 2)."""
        if self.phase is Phase.EXPUNGING:
            return "Expunging"
        if not self.exists:
            return "Destroyed"
        if self.phase is Phase.MIGRATING:
            return "Migrating"
        if self.phase in (Phase.DEPLOYING, Phase.STARTING, Phase.RESTARTING) and not self.is_active:
            return "Starting"
        return {
            Power.RUNNING: "Running",
            Power.PAUSED: "Paused",
            Power.SHUTDOWN: "Stopping",
            Power.OFF: "Stopped",
            Power.CRASHED: "Error",
        }[self.power]


Read = Union[VmFacts, AblestackError]
"""One of many domains that are read together, or why it cannot be."""
