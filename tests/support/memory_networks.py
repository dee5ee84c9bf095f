# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a host in memory: the port's Networks over a MemoryState."""

from __future__ import annotations

from dataclasses import fields, replace

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    BridgeFacts,
    DnsRecord,
    Lease,
    NetworkFacts,
    NetworkState,
    Reservation,
)

from .memory_calls import Calls, reads, writes
from .memory_state import MemoryNetwork


class MemoryNetworks(Calls):
    """port.Networks; what libvirt refuses is refused here too."""

    spec: HostSpec

    def _network(self, name: str) -> MemoryNetwork:
        if name not in self.state.networks:
            raise AblestackError(Code.NOT_FOUND, f"there is no network '{name}' on '{self.spec.name}'")
        return self.state.networks[name]

    @reads
    def networks(self) -> tuple[str, ...]:
        return tuple(self.state.networks)

    @reads
    def network(self, name: str) -> NetworkFacts | None:
        return self.state.networks[name].facts if name in self.state.networks else None

    @reads
    def leases(self, name: str) -> tuple[Lease, ...]:
        return self._network(name).leases

    @reads
    def network_states(self) -> tuple[NetworkState, ...]:
        return tuple(
            NetworkState(found.stored, found.facts if found.facts.active else None, found.autostart)
            for found in self.state.networks.values()
        )

    @reads
    def bridge(self, name: str) -> BridgeFacts | None:
        return self.state.bridges.get(name)

    def _ours(self, name: str) -> MemoryNetwork:
        found = self._network(name)
        if not found.stored.managed:
            raise AblestackError(Code.NOT_MANAGED, f"network '{name}' was not made by this collection")
        return found

    @writes
    def reserve(self, network: str, reservation: Reservation) -> None:
        found = self._ours(network)
        others = tuple(entry for entry in found.facts.reservations if entry.mac != reservation.mac)
        for entry in others:
            if entry.ip == reservation.ip or (entry.name and entry.name == reservation.name):
                raise AblestackError(Code.IN_USE, f"{entry.mac} has {entry.ip} ({entry.name}) on '{network}'")
        found.edit(reservations=(*others, reservation))

    @writes
    def release(self, network: str, mac: str) -> None:
        found = self.state.networks.get(network)
        if found and found.stored.managed:
            found.edit(reservations=tuple(entry for entry in found.facts.reservations if entry.mac != mac))

    @writes
    def set_dhcp_range(self, network: str, start: str, end: str) -> None:
        self._ours(network).edit(dhcp_start=start, dhcp_end=end)

    @writes
    def set_dns_records(self, network: str, records: tuple[DnsRecord, ...]) -> None:
        self._ours(network).edit(dns_records=records)

    @writes
    def define_network(self, facts: NetworkFacts) -> None:
        if facts.name in self.state.networks:
            raise AblestackError(Code.ALREADY_EXISTS, f"a network named '{facts.name}' exists on '{self.spec.name}'")
        bridge = facts.bridge or f"virbr{len(self.state.networks)}"
        self.state.add_network(replace(facts, active=False, bridge=bridge)).autostart = False

    @writes
    def redefine_network(self, before: NetworkFacts, after: NetworkFacts) -> None:
        names = [
            entry.name for entry in fields(NetworkFacts) if getattr(before, entry.name) != getattr(after, entry.name)
        ]
        self._ours(after.name).redefine(**{name: getattr(after, name) for name in names})

    @writes
    def undefine_network(self, name: str) -> None:
        if name in self.state.networks and not self._ours(name).facts.active:
            del self.state.networks[name]

    @writes
    def set_network_autostart(self, name: str, on: bool) -> None:
        self._ours(name).autostart = on

    @writes
    def start_network(self, name: str) -> None:
        self._ours(name).power(True)

    @writes
    def stop_network(self, name: str) -> None:
        self._ours(name).power(False)
