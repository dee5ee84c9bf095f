# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KVM host in memory behind the port, with a log of its calls and faults on demand, for tests of the use cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.port import SOURCES
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import (
    AblestackError,
    Code,
    answer_of,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    HostFacts,
    PoolFacts,
    VolumeFacts,
    VolumeSpec,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DomainRef,
    Hold,
    Power,
    Read,
    VmConfig,
    VmFacts,
    VmRecord,
)

from .memory_calls import Process, reads, writes, writes_unlocked
from .memory_devices import MemoryDevices
from .memory_guests import MemoryConsole, MemoryShell
from .memory_moves import MemoryMoves, forget_state, start_state
from .memory_networks import MemoryNetworks
from .memory_pools import MemoryPools
from .memory_snapshots import MemorySnapshots
from .memory_state import QCOW2_HEADER, MemoryDomain, MemoryPool, MemoryState, MemoryVolume, qcow2_bytes


class MemoryHost(MemoryDevices, MemorySnapshots, MemoryNetworks, MemoryMoves, MemoryPools):
    """The whole port over a MemoryState; its log and its faults are those of Calls."""

    def __init__(
        self, spec: HostSpec, state: MemoryState, read_only: bool = False, process: Process | None = None
    ) -> None:
        super().__init__(state, read_only, process)
        self.spec = spec
        self.closed = False
        self._facts: HostFacts | None = None

    # Domains

    def _domain(self, vm_id: str) -> MemoryDomain:
        if vm_id not in self.state.domains:
            raise AblestackError(Code.NOT_FOUND, f"there is no domain {vm_id} on '{self.spec.name}'")
        return self.state.domains[vm_id]

    def _active(self, vm_id: str) -> MemoryDomain:
        domain = self._domain(vm_id)
        if not domain.active:
            raise AblestackError(Code.INVALID_STATE, f"domain '{domain.config.domain_name}' is not running")
        return domain

    def _free_name(self, name: str) -> None:
        if any(domain.config.domain_name == name for domain in self.state.domains.values()):
            raise AblestackError(Code.ALREADY_EXISTS, f"a domain named '{name}' exists on '{self.spec.name}'")

    @reads
    def domains(self, fresh: bool = False) -> tuple[DomainRef, ...]:
        rows = self.state.domains.items()
        return tuple(DomainRef(vm_id, domain.config.domain_name, domain.power) for vm_id, domain in rows)

    @reads
    def domain(self, vm_id: str) -> DomainRef | None:
        found = self.state.domains.get(vm_id)
        return DomainRef(vm_id, found.config.domain_name, found.power) if found else None

    @reads
    def domain_named(self, domain_name: str) -> DomainRef | None:
        rows = self.state.domains.items()
        named = (vm_id for vm_id, domain in rows if domain.config.domain_name == domain_name)
        return next((DomainRef(vm_id, domain_name, self.state.domains[vm_id].power) for vm_id in named), None)

    @reads
    def vm(self, ref: DomainRef) -> VmFacts:
        domain = self._domain(ref.id)
        live = self._running(domain)
        saved = domain.saved is not None and domain.power is Power.OFF
        return VmFacts(self.spec, domain.power, domain.config, live, holds=tuple(domain.holds.values()), saved=saved)

    @reads
    def glance(self, ref: DomainRef) -> VmFacts:
        domain = self._domain(ref.id)
        shown = self._running(domain) or domain.config
        return VmFacts(self.spec, domain.power, shown, shown if domain.active else None)

    def vms(self, refs: Sequence[DomainRef]) -> list[Read]:
        return [answer_of(self.vm, ref) for ref in refs]

    def glances(self, refs: Sequence[DomainRef]) -> list[Read]:
        return [answer_of(self.glance, ref) for ref in refs]

    @staticmethod
    def _running(domain: MemoryDomain) -> VmConfig | None:
        """The running definition, which tells whether the agent is connected: one that hangs is."""
        return replace(domain.live, agent=domain.guest.agent != "absent") if domain.active and domain.live else None

    @reads
    def addresses(self, vm: VmFacts, sources: tuple[str, ...] = SOURCES) -> Mapping[str, tuple[str, ...]]:
        domain = self._domain(vm.id)
        found: dict[str, tuple[str, ...]] = {}
        for nic in (domain.live or domain.config).nics if domain.active else ():
            network = self.state.networks.get(nic.network)
            leased = tuple(lease.ip for lease in network.leases if lease.mac == nic.mac) if network else ()
            told = domain.guest.addresses.get(nic.mac, ()) if domain.guest.agent == "present" else ()
            record = (domain.live or domain.config).record
            asked = tuple(row.ip for row in (record.nics if record else ()) if row.mac == nic.mac and row.ip)
            known = {"lease": leased, "agent": told, "reservation": asked if nic.leased else (), "last": asked}
            order = (*sources, "last") if "reservation" in sources else sources
            best = next((known[source] for source in order if known.get(source)), ())
            if best:
                found[nic.mac] = best
        return found

    @reads
    def snapshots(self, vm_id: str) -> tuple[str, ...]:
        domain = self._domain(vm_id)
        return domain.snapshots + tuple(kept.facts.name for kept in domain.kept)

    @writes
    def define(self, config: VmConfig) -> None:
        self._free_name(config.domain_name)
        if config.id in self.state.domains:
            raise AblestackError(Code.ALREADY_EXISTS, f"a domain with the id {config.id} exists")
        self.state.domains[config.id] = MemoryDomain(config)

    @writes
    def redefine(self, before: VmConfig, after: VmConfig) -> None:
        domain = self._domain(before.id)
        names = [entry.name for entry in fields(VmConfig) if getattr(before, entry.name) != getattr(after, entry.name)]
        domain.config = replace(domain.config, **{name: getattr(after, name) for name in names})

    @writes
    def set_record(self, vm_id: str, record: VmRecord) -> None:
        domain = self._domain(vm_id)
        domain.config = replace(domain.config, record=record)
        domain.live = replace(domain.live, record=record) if domain.live else None

    @writes
    def hold(self, vm_id: str, ours: Hold) -> tuple[Hold, ...]:
        holds = self._domain(vm_id).holds
        holds[ours.owner.token] = ours
        return tuple(other for other in holds.values() if other != ours)

    @writes
    def let_go(self, vm_id: str, token: str) -> None:
        self._domain(vm_id).holds.pop(token, None)

    @writes
    def rename(self, vm_id: str, domain_name: str) -> None:
        domain = self._domain(vm_id)
        if domain.power is not Power.OFF:
            raise AblestackError(Code.INVALID_STATE, "an active domain cannot be renamed")
        if domain.saved:
            raise AblestackError(Code.INVALID_STATE, "a domain with a managed save image cannot be renamed")
        self._free_name(domain_name)
        domain.config = replace(domain.config, domain_name=domain_name)

    @writes
    def undefine(self, vm_id: str, boot_left: tuple[str, ...] = (), keep_state: bool = False) -> None:
        domain = self.state.domains.get(vm_id)
        if domain and domain.active:
            domain.transient = True
        elif domain:
            del self.state.domains[vm_id]
            if not keep_state:
                forget_state(self.state, domain.config, (*domain.config.boot_state, *boot_left))

    @writes
    def set_autostart(self, vm_id: str, on: bool) -> None:
        self._domain(vm_id).autostart = on

    @writes
    def start(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        if domain.active:
            return
        if domain.power is Power.CRASHED:
            raise AblestackError(Code.INVALID_STATE, "domain is already running")
        others = [other for other in self.state.domains.values() if other is not domain and other.active]
        for disk in domain.config.disks:
            if disk.path and self.state.volume_at(disk.path) is None:
                raise AblestackError(Code.INTERNAL, f"cannot access storage file '{disk.path}'")
            if disk.path and disk.kind == "disk" and any(other.uses(disk.path) for other in others):
                self.state.clashes.append(f"{domain.config.domain_name}: {disk.path}")
                raise AblestackError(Code.IN_USE, f"'{disk.path}' is locked by another domain")
        for nic in domain.config.nics:
            if not self._network(nic.network).facts.active:
                raise AblestackError(Code.INVALID_STATE, f"network '{nic.network}' is not active")
        domain.live, domain.power = domain.saved or domain.config, Power.PAUSED
        self.interruption()  # QEMU is there, and was not told to go on
        domain.power = Power.RUNNING
        domain.guest.boots += domain.saved is None
        domain.saved = None
        start_state(self.state, domain.config)
        for nic in domain.config.nics:
            self._network(nic.network).lease(nic.mac, domain.config.domain_name)

    @writes
    def drop_saved(self, vm_id: str) -> None:
        self._domain(vm_id).saved = None

    @writes
    def resume(self, vm_id: str) -> None:
        self._active(vm_id).power = Power.RUNNING

    @writes
    def shutdown(self, vm_id: str, timeout: float) -> bool:
        domain = self._domain(vm_id)
        if domain.active and not (domain.guest.shuts_down and domain.power is not Power.PAUSED):
            return False
        self._off(vm_id, domain)
        return True

    @writes
    def power_off(self, vm_id: str) -> None:
        self._off(vm_id, self._domain(vm_id))

    def _off(self, vm_id: str, domain: MemoryDomain) -> None:
        domain.live, domain.power = None, Power.OFF
        if domain.transient:
            del self.state.domains[vm_id]

    @writes
    def reboot(self, vm_id: str, timeout: float) -> bool:
        domain = self._active(vm_id)
        hears = domain.guest.reboots and domain.power is not Power.PAUSED
        domain.guest.boots += hears
        return hears

    @writes
    def reset(self, vm_id: str) -> None:
        self._active(vm_id).guest.boots += 1

    # Guests

    @reads
    def agent_ping(self, vm_id: str, timeout: float) -> bool:
        domain = self._domain(vm_id)
        return domain.active and domain.guest.agent == "present"

    @reads
    def agent_run(self, vm_id: str, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        guest = self._active(vm_id).guest
        if guest.agent != "present":
            raise AblestackError(Code.AGENT_UNAVAILABLE, f"the guest agent of {vm_id} does not answer")
        return guest.answers.get(command, (0, ""))

    @reads
    def guest_shell(self, vm_id: str, timeout: float) -> MemoryShell:
        return MemoryShell(self._active(vm_id).guest)

    @reads
    def console_tail(self, vm_id: str) -> MemoryConsole:
        return MemoryConsole(self._active(vm_id))

    # Storage

    def _pool(self, name: str) -> MemoryPool:
        if name not in self.state.pools:
            raise AblestackError(Code.NOT_FOUND, f"there is no pool '{name}' on '{self.spec.name}'")
        if not self.state.pools[name].active:
            raise AblestackError(Code.INVALID_STATE, f"pool '{name}' on '{self.spec.name}' is not active")
        return self.state.pools[name]

    def _volume(self, pool: str, name: str) -> MemoryVolume:
        volumes = self._pool(pool).volumes
        if name not in volumes:
            text = f"there is no volume '{name}' in pool '{pool}'"
            raise AblestackError(Code.NOT_FOUND, text, pool=pool, volume=name)
        return volumes[name]

    def _built(self, pool: str, name: str) -> MemoryVolume:
        volume = self._volume(pool, name)
        if volume.building:
            raise AblestackError(Code.INVALID_STATE, f"volume '{name}' is still being allocated")
        return volume

    @reads
    def pool(self, name: str, anew: bool = False) -> PoolFacts:
        return self._pool(name).facts(anew)

    @reads
    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        found = self._pool(pool)
        return found.volume_facts(name) if name in found.volumes else None

    @reads
    def volume_names(self, pool: str) -> tuple[str, ...]:
        return tuple(sorted(self._pool(pool).volumes))

    @writes
    def create_volume(self, volume: VolumeSpec) -> None:
        content = qcow2_bytes(volume.capacity, backing=volume.backing) if volume.format == "qcow2" else b""
        made = MemoryVolume(content, volume.format, volume.capacity, volume.backing, volume.mode)
        made.reserved = volume.capacity if volume.fat else 0
        self._pool(volume.pool).take(volume, made)

    @writes
    def clone_volume(self, volume: VolumeSpec, source: str) -> None:
        origin = self._volume(*source.split("/", 1))
        capacity = max(volume.capacity, origin.capacity)
        payload = origin.content[QCOW2_HEADER:] if origin.format == "qcow2" else origin.content
        content = qcow2_bytes(capacity, payload) if volume.format == "qcow2" else payload
        made = MemoryVolume(content, volume.format, capacity, mode=volume.mode)
        made.reserved = capacity if volume.fat else 0
        self._pool(volume.pool).take(volume, made)
        made.content = content[: len(content) // 2]
        self.interruption()
        made.content = content

    @writes
    def resize_volume(self, pool: str, name: str, size: int) -> None:
        volume = self._volume(pool, name)
        path = f"{self._pool(pool).path}/{name}"
        if any(domain.active and domain.uses(path) for domain in self.state.domains.values()):
            raise AblestackError(Code.INVALID_STATE, f"volume '{name}' is in use by a running domain")
        if size < volume.capacity:
            raise AblestackError(Code.INVALID_INPUT, f"volume '{name}' cannot shrink")
        volume.resize(size)

    @writes
    def delete_volume(self, pool: str, name: str) -> bool:
        if name not in self._pool(pool).volumes:
            return False
        self._built(pool, name)
        del self._pool(pool).volumes[name]
        return True

    # Not under the lock: the chunks may come from another host, and a slow source must not stop everyone.
    @writes_unlocked
    def upload(self, pool: str, name: str, chunks: Iterable[bytes]) -> None:
        interruption, volume = self.interruption, self._built(pool, name)
        at = 0
        for chunk in chunks:
            self._pool(pool).ensure(at + len(chunk) - len(volume.content))
            for half in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]):
                volume.content = volume.content[:at] + half + volume.content[at + len(half) :]
                at += len(half)
                interruption()
        volume.probe()

    @reads
    def download(self, pool: str, name: str) -> Iterator[bytes]:
        content = self._built(pool, name).content
        return iter([content[at : at + 65536] for at in range(0, len(content), 65536)])

    # The host itself

    @reads
    def abilities(self) -> HostFacts:
        return HostFacts(self.spec, **{**self.state.facts, "cpus": 0, "memory": 0})

    @reads
    def facts(self, fresh: bool = False) -> HostFacts:
        return self._counted(fresh)

    def _counted(self, fresh: bool = False) -> HostFacts:
        if self._facts is None or fresh:
            running = [domain.live for domain in self.state.domains.values() if domain.active and domain.live]
            self._facts = HostFacts(
                spec=self.spec,
                used_cpus=sum(config.cpu for config in running),
                used_memory=sum(config.memory for config in running),
                running=len(running),
                **{**self.state.facts, "libvirt_version": "", "hypervisor_version": ""},
            )
        return self._facts

    @reads
    def details(self) -> HostFacts:
        return replace(
            self._counted(),
            libvirt_version=self.state.facts["libvirt_version"],
            hypervisor_version=self.state.facts["hypervisor_version"],
            pools={name: pool.facts() for name, pool in self.state.pools.items() if pool.active},
            networks=tuple(self.state.networks),
        )

    def close(self) -> None:
        self.closed = True
