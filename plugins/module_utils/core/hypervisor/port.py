# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port: what the use cases ask of one KVM host, in our own words (the libvirt behind it is in libvirt_host.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ..model.catalog import HostSpec
from ..model.migration import GuestNeeds, StateFile, Transfer
from ..model.resources import (
    BridgeFacts,
    DnsRecord,
    HostFacts,
    Lease,
    NetworkFacts,
    NetworkState,
    PoolFacts,
    PoolState,
    Reservation,
    VolumeFacts,
    VolumeSpec,
)
from ..model.snapshot import Agent, Merge, SnapshotFacts
from ..model.vm import DiskConfig, DomainRef, Hold, NicConfig, Read, VmConfig, VmFacts, VmRecord

SOURCES = ("reservation", "lease", "agent")


class Domains(Protocol):
    """Domains and their power. Every call names the VM by its id; each raises AblestackError."""

    def domains(self, fresh: bool = False) -> tuple[DomainRef, ...]:
        """All domains of the host, running or not, in one round trip; `fresh`: not out of any memory."""

    def domain(self, vm_id: str) -> DomainRef | None:
        """That row of the listing, None where there is none: it does not wait for other domains that are starting."""

    def domain_named(self, domain_name: str) -> DomainRef | None:
        """The same by the domain's name."""

    def vm(self, ref: DomainRef) -> VmFacts:
        """The domain in full: stored definition, and the running one where it runs (one round trip each)."""

    def glance(self, ref: DomainRef) -> VmFacts:
        """The domain as it is now, in one round trip: where it runs, the running definition stands for both."""

    def vms(self, refs: Sequence[DomainRef]) -> list[Read]:
        """Each of these in full as `vm` has it, in their order; in place of one that cannot be read its error."""

    def glances(self, refs: Sequence[DomainRef]) -> list[Read]:
        """The same as `glance` has it."""

    def addresses(self, vm: VmFacts, sources: tuple[str, ...] = SOURCES) -> Mapping[str, tuple[str, ...]]:
        """Addresses by MAC, from the first source that knows; the agent's time is bounded, loopback is left out.

        Sources: reservation (what the user asked for, no round trip), lease, agent, arp. A reservation counts last on a
        network where no DHCP of libvirt's sees to it.
        """

    def snapshots(self, vm_id: str) -> tuple[str, ...]:
        """The names of libvirt's snapshots of it, oldest first."""

    def define(self, config: VmConfig) -> None:
        """A new definition. AlreadyExists when the domain's name is taken: this is the lock on names."""

    def redefine(self, before: VmConfig, after: VmConfig) -> None:
        """Edits the stored definition in place; what we do not know in it survives."""

    def set_record(self, vm_id: str, record: VmRecord) -> None:
        """Replaces our metadata element, in the stored definition and in the running one."""

    def hold(self, vm_id: str, ours: Hold) -> tuple[Hold, ...]:
        """Notes in the stored definition who works on it, and tells of all others who noted that: of two who call it at
        once at least one is told of the other.
        """

    def let_go(self, vm_id: str, token: str) -> None:
        """Removes the note of the owner with that token; gone already is fine."""

    def rename(self, vm_id: str, domain_name: str) -> None:
        """Atomic; AlreadyExists when that name is taken, NotFound when the domain is gone."""

    def undefine(self, vm_id: str, boot_left: tuple[str, ...] = (), keep_state: bool = False) -> None:
        """Removes the definition with snapshot metadata, and unless `keep_state` with NVRAM and TPM state; volumes
        stay. Gone already is fine. `boot_left` names the NVRAM and TPM state of before that go too (see VmRecord).
        """

    def set_autostart(self, vm_id: str, on: bool) -> None:
        """Whether the host starts it at boot."""

    def start(self, vm_id: str) -> None:
        """Boots it, or goes on from saved memory; running already is fine. Bounds the agent's answers first thing."""

    def drop_saved(self, vm_id: str) -> None:
        """Gives up the memory with which a domain that is off would go on; none is fine."""

    def resume(self, vm_id: str) -> None:
        """Lets a paused domain go on; running already is fine."""

    def shutdown(self, vm_id: str, timeout: float) -> bool:
        """Asks the guest to go down (ACPI, and its agent) and waits; False when the time is up and it still runs."""

    def power_off(self, vm_id: str) -> None:
        """Cuts the power; off already is fine."""

    def reboot(self, vm_id: str, timeout: float) -> bool:
        """Asks the guest to reboot and waits until it did; False when the time is up and it did not."""

    def reset(self, vm_id: str) -> None:
        """Presses the reset button."""


class Devices(Protocol):
    """What changes in a running domain, and only there; the stored definition is edited by `redefine`."""

    def attach_disk(self, vm_id: str, disk: DiskConfig) -> None:
        """Plugs it in; plugged in already is fine."""

    def detach_disk(self, vm_id: str, disk: DiskConfig, timeout: float) -> bool:
        """Unplugs it and waits until the guest let it go; False when the time is up. Gone already is fine."""

    def resize_disk(self, vm_id: str, target: str, size: int) -> None:
        """Grows it to that many bytes, and tells the guest; InvalidInput where it has more."""

    def tune_disk(self, vm_id: str, disk: DiskConfig) -> None:
        """Sets its IOPS limit; 0 takes it away."""

    def change_media(self, vm_id: str, drive: DiskConfig, force: bool) -> None:
        """Puts the drive's path into the drive, nothing where it is empty. InvalidState where the guest has locked it,
        unless `force`.
        """

    def attach_nic(self, vm_id: str, nic: NicConfig) -> None:
        """Plugs it in; plugged in already is fine."""

    def detach_nic(self, vm_id: str, nic: NicConfig, timeout: float) -> bool:
        """Unplugs it and waits until the guest let it go; False when the time is up. Gone already is fine."""

    def update_nic(self, vm_id: str, nic: NicConfig) -> None:
        """Connects it to the network it names."""

    def set_cpus(self, vm_id: str, cpus: int) -> None:
        """More processors than it has, at most its maximum; brought online in the guest where its agent answers."""

    def set_memory(self, vm_id: str, memory: int) -> None:
        """More memory (MiB) than it has, at most its maximum; returns once the guest has taken it."""


class Guests(Protocol):
    """What is asked of a running guest through its agent; AgentUnavailable where none answers in time."""

    def agent_ping(self, vm_id: str, timeout: float) -> bool:
        """Whether the guest's agent answers within the time (seconds)."""

    def agent_run(self, vm_id: str, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Runs a command in the guest; its exit code and the beginning of its output."""

    def guest_shell(self, vm_id: str, timeout: float) -> GuestShell:
        """Commands and files in the guest, for as long as the connection lasts; each may take `timeout` seconds."""

    def console_tail(self, vm_id: str) -> ConsoleTail:
        """Begins to listen to the serial console, to tell later what the guest last said."""


class GuestShell(Protocol):
    """Commands and files in a guest through its agent; AgentUnavailable where that is silent, Timeout without end."""

    def run(self, command: tuple[str, ...], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Runs it to its end: exit code, output, errors."""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Writes a file; one that is new only its owner may read."""

    def read(self, path: str) -> Iterator[bytes]:
        """A file's content in pieces."""


class ConsoleTail(Protocol):
    """What the guest wrote to its serial console while we listened."""

    def lines(self) -> tuple[str, ...]:
        """The last lines, control characters removed."""

    def close(self) -> None:
        """Stops listening."""


class Storage(Protocol):
    """Pools and volumes. Only pools of files (dir, fs, netfs) can hold VM disks."""

    def pool(self, name: str, anew: bool = False) -> PoolFacts:
        """The pool, `anew` with the room of now; NotFound where there is none, InvalidState where it is not active."""

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        """The volume, None where there is none (also after a refresh of the pool)."""

    def volume_names(self, pool: str) -> tuple[str, ...]:
        """The names of all volumes the pool knows, in one round trip."""

    def create_volume(self, volume: VolumeSpec) -> None:
        """Makes it; AlreadyExists when the name is taken, InsufficientCapacity when the pool is full."""

    def clone_volume(self, volume: VolumeSpec, source: str) -> None:
        """Makes a full, independent copy of a volume (by name) of any pool of the host's, given as pool/name."""

    def resize_volume(self, pool: str, name: str, size: int) -> None:
        """Grows a volume that no running VM uses to that many bytes; InvalidInput where it has more."""

    def delete_volume(self, pool: str, name: str) -> bool:
        """Deletes it; False when it was gone already."""

    def upload(self, pool: str, name: str, chunks: Iterable[bytes]) -> None:
        """Writes the volume's content from its beginning."""

    def download(self, pool: str, name: str) -> Iterator[bytes]:
        """The volume's content in pieces."""


class Pools(Protocol):
    """Storage pools themselves; a pool is never removed, nor anything in it touched."""

    def pool_state(self, name: str) -> PoolState | None:
        """The pool whether it runs or not, in a few round trips; None where there is none of that name."""

    def define_pool(self, name: str, path: str) -> None:
        """Defines a folder of the host, made where missing, not started. AlreadyExists if the name is taken."""

    def start_pool(self, name: str) -> None:
        """Starts it; running already is fine. NotFound where its folder is missing: its disk may not be mounted."""

    def set_pool_autostart(self, name: str, on: bool) -> None:
        """Whether the host starts it at boot."""


class Snapshots(Protocol):
    """Snapshots, and the images they leave in a disk's chain. A disk's images are named by their paths."""

    def snapshot_facts(self, vm_id: str) -> tuple[SnapshotFacts, ...]:
        """All of a domain's snapshots, oldest first, whoever made them: a round trip each."""

    def agent(self, vm_id: str, patient: bool = False) -> Agent | None:
        """What the guest's agent says of itself; None where none answers in time, or the connection is read-only.

        `patient` gives it as long as the freeze would have: a guest under load is slow to answer, not without agent.
        """

    def thaw(self, vm_id: str) -> None:
        """Thaws the guest's file systems; thawed already is fine."""

    def take_snapshot(
        self,
        vm_id: str,
        name: str,
        description: str,
        overlays: Mapping[str, str],
        others: tuple[str, ...],
        quiesce: bool,
    ) -> None:
        """A disk snapshot, running or not: the VM goes on in the overlays (by target), which are there and empty.

        `others` are targets without a part in it. With `quiesce` the guest is frozen meanwhile, and thawed on every
        path, AgentUnavailable where it cannot be.
        """

    def take_checkpoint(self, vm_id: str, name: str, description: str) -> None:
        """A snapshot with memory, inside the images; the running guest pauses for it."""

    def restore_checkpoint(self, vm_id: str, name: str, record: VmRecord) -> None:
        """Brings back disks, memory and definition of a checkpoint, but with this record; it runs afterwards."""

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        """Deletes a snapshot with memory; gone already is fine."""

    def forget_snapshot(self, vm_id: str, name: str) -> None:
        """Removes what libvirt keeps of a snapshot, its images stay; gone already is fine."""

    def describe_snapshot(self, vm_id: str, name: str, description: str) -> None:
        """Replaces its description."""

    def continue_from(self, vm_id: str, name: str, overlays: Mapping[str, str]) -> None:
        """Notes that the VM goes on from that snapshot, in these overlays (by target)."""

    def relocate_snapshots(self, vm_id: str, moved: Mapping[str, str]) -> None:
        """Notes that images have moved: old path to new."""

    def merge_layers(self, vm_id: str, merges: tuple[Merge, ...], live: bool) -> None:
        """Merges images of different disks, `live` under the running guest whose chain they are in. Done is fine."""

    def is_untouched(self, pool: str, name: str) -> bool:
        """Whether nothing was ever written into that overlay."""

    def refresh_pools(self, pools: Iterable[str]) -> None:
        """Looks at the pools' files anew: merges change what stands on what."""


class Networks(Protocol):
    """Networks and the addresses in them."""

    def networks(self) -> tuple[str, ...]:
        """The names of all networks, in one round trip."""

    def network(self, name: str) -> NetworkFacts | None:
        """The network as it runs (as it is stored where it does not), None where there is none."""

    def network_states(self) -> tuple[NetworkState, ...]:
        """All networks, stored and running; two or three round trips each, so not for every deploy."""

    def bridge(self, name: str) -> BridgeFacts | None:
        """A bridge of the host's that libvirt did not make, None where there is none of that name."""

    def leases(self, name: str) -> tuple[Lease, ...]:
        """What its DHCP has handed out."""

    def reserve(self, network: str, reservation: Reservation) -> None:
        """Adds or changes the reservation of that MAC, live and stored, without disturbing anybody.

        InUse where another reservation has the address or the name, NotManaged in a network that is not ours.
        """

    def release(self, network: str, mac: str) -> None:
        """Removes the reservation of that MAC; gone already is fine, and a network that is not ours stays as it is."""

    def set_dhcp_range(self, network: str, start: str, end: str) -> None:
        """The range becomes the only one, live and stored; leases stay valid."""

    def set_dns_records(self, network: str, records: tuple[DnsRecord, ...]) -> None:
        """These become the records of the DNS, live and stored; those that reservations bring are no part of them."""

    def define_network(self, facts: NetworkFacts) -> None:
        """A new definition, not started. AlreadyExists when the name is taken."""

    def redefine_network(self, before: NetworkFacts, after: NetworkFacts) -> None:
        """Edits the stored definition in place; what runs stays as it is, and what we do not know survives."""

    def undefine_network(self, name: str) -> None:
        """Removes the definition of a network that does not run; gone already is fine."""

    def set_network_autostart(self, name: str, on: bool) -> None:
        """Whether the host starts it at boot."""

    def start_network(self, name: str) -> None:
        """Starts it as it is stored; running already is fine."""

    def stop_network(self, name: str) -> None:
        """Stops it, whoever uses it; stopped already is fine."""


class Moves(Protocol):
    """What moves a VM to another host, and tells whether it could live there."""

    def guest_needs(self, vm_id: str) -> GuestNeeds:
        """What the VM needs of a host, of the processor only while it runs."""

    def refuses_guest(self, needs: GuestNeeds) -> str:
        """Why a guest with these needs cannot run here, in libvirt's words; empty where it can."""

    def is_moving(self, vm_id: str) -> bool:
        """Whether this host is sending it to another one right now, for whomever."""

    def move(self, vm_id: str, transfer: Transfer) -> None:
        """Hands it over to another host, definition and, where it runs, the running guest.

        The host's own daemon does it, to its end also without us; the definition here goes when the other host has it.
        """

    def fresh_volume(self, pool: str, name: str) -> VolumeFacts | None:
        """The volume as the pool's folder shows it now, also where another host made it; None where there is none."""

    def firmware_state(self, config: VmConfig, kinds: tuple[str, ...]) -> tuple[StateFile, ...]:
        """The files of its firmware variables and its TPM, of these kinds (VmConfig.boot_state); none where it never
        ran.
        """

    def put_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        """Makes these files what its firmware and TPM will find."""

    def drop_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        """Deletes these; gone already is fine."""


class Host(Domains, Devices, Guests, Storage, Pools, Snapshots, Networks, Moves, Protocol):
    """One connected KVM host. A read-only one refuses every write by itself."""

    spec: HostSpec
    read_only: bool

    def abilities(self) -> HostFacts:
        """The cheap part of `facts` (one round trip): virt_types, firmware, tpm, machine; sizes are left at zero."""

    def facts(self, fresh: bool = False) -> HostFacts:
        """Size and what is given out, in two round trips; asked once a connection and kept, unless `fresh`."""

    def details(self) -> HostFacts:
        """`facts`, `abilities`, versions, pools and networks: for people, not for placement."""

    def close(self) -> None:
        """Ends the connection."""
