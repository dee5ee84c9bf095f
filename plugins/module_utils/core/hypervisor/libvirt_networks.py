# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks through libvirt: what they are, their definitions and power, and what changes in them live."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.resources import BridgeFacts, DnsRecord, Lease, NetworkFacts, NetworkState, Reservation
from ..xml.network_mapping import (
    changed_network,
    dns_record_text,
    new_network,
    range_text,
    read_bridge,
    read_network,
    read_ranges,
    reservation_text,
    with_another_bridge,
)
from .connection import Session
from .translate import code_of, libvirt

_LEFT_OVER = "error creating bridge interface"

# A command of virNetworkUpdate, the section of the definition, and the element.
Update = tuple[int, int, str]


class LibvirtNetworks(Session):
    """port.Networks. Whether a network runs is told by the listing that has it, which costs no more than a look-up."""

    def networks(self) -> tuple[str, ...]:
        with self._asks("list its networks"):
            return tuple(sorted(network.name() for network in self._connection.listAllNetworks(0)))

    def network(self, name: str) -> NetworkFacts | None:
        with self._asks(f"read network '{name}'"):
            handle, active = self._network(name)
            return _as_it_runs(handle, active) if handle is not None else None

    def network_states(self) -> tuple[NetworkState, ...]:
        active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
        with self._asks("read its networks"):
            running = {handle.UUIDString() for handle in self._connection.listAllNetworks(active)}
            handles = self._connection.listAllNetworks(0)
            return tuple(_state(handle, handle.UUIDString() in running) for handle in handles)

    def bridge(self, name: str) -> BridgeFacts | None:
        with self._asks(f"look for bridge '{name}'"):
            try:
                text = self._connection.interfaceLookupByName(name).XMLDesc(0)
            except libvirt.libvirtError as error:
                if code_of(error, "NO_INTERFACE"):
                    return None
                if code_of(
                    error, "NO_SUPPORT", "NO_CONNECT", "SYSTEM_ERROR"
                ):  # a host without that driver or its daemon
                    return BridgeFacts(name, "unknown")
                raise
            return read_bridge(text, name, self._connection.getLibVersion())

    def leases(self, name: str) -> tuple[Lease, ...]:
        with self._asks(f"read the leases of network '{name}'"):
            handle, active = self._network(name)
            rows = handle.DHCPLeases() if active else ()
        return tuple(
            Lease(
                mac=(row.get("mac") or "").lower(),
                ip=row["ipaddr"],
                hostname=row.get("hostname") or "",
                expires=int(row.get("expirytime") or 0),
            )
            for row in rows
        )

    def define_network(self, facts: NetworkFacts) -> None:
        with self._asks(f"define network '{facts.name}'"):
            handle, _active = self._network(facts.name)
            if handle is None:
                try:
                    self._connection.networkDefineXML(new_network(facts).text)
                    return
                except libvirt.libvirtError:
                    # libvirt says of a taken name what it says of much else
                    handle, _active = self._network(facts.name)
                    if handle is None:
                        raise
        raise AblestackError(
            Code.ALREADY_EXISTS,
            f"host '{self.spec.name}' has a network '{facts.name}' already",
            "somebody else made it meanwhile: run the task again",
        )

    def redefine_network(self, before: NetworkFacts, after: NetworkFacts) -> None:
        with self._asks(f"change the definition of network '{after.name}'"):
            handle, active = self._ours(after.name)
            text = _stored(handle)
            self._connection.networkDefineXML(changed_network(text, before, after).text)
            if active:
                self._keep_reservations(handle)

    def _keep_reservations(self, handle: Any) -> None:
        """What somebody reserved between our look and our write is in the running definition: nothing of it is lost."""
        stored = read_network(_stored(handle), True)
        running = read_network(handle.XMLDesc(0), True)
        if (stored.cidr, stored.forward) != (running.cidr, running.forward):
            return
        known = {row.mac for row in stored.reservations}
        add, section = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        for row in running.reservations:
            if row.mac not in known:
                handle.update(add, section, -1, reservation_text(row), libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG)

    def undefine_network(self, name: str) -> None:
        with self._asks(f"remove network '{name}'"):
            handle, _active = self._network(name)
            if handle is not None:
                self._ours(name)
                handle.undefine()

    def set_network_autostart(self, name: str, on: bool) -> None:
        with self._asks(f"set whether network '{name}' starts with the host"):
            self._ours(name)[0].setAutostart(1 if on else 0)

    def start_network(self, name: str) -> None:
        with self._asks(f"start network '{name}'"):
            handle, active = self._ours(name)
            if active:
                return
            try:
                handle.create()
            except libvirt.libvirtError as error:
                # A daemon that died in the midst of a start leaves its bridge behind, and no call removes that.
                again = with_another_bridge(_stored(handle)) if _LEFT_OVER in str(error) else ""
                if not again:
                    raise
                self._connection.networkDefineXML(again).create()

    def stop_network(self, name: str) -> None:
        with self._asks(f"stop network '{name}'"):
            handle, active = self._ours(name)
            if active:
                handle.destroy()

    def reserve(self, network: str, reservation: Reservation) -> None:
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        wanted = Reservation(reservation.mac.lower(), reservation.ip, reservation.name)

        def updates(text: str) -> Iterable[Update]:
            own = [one for one in read_network(text, True).reservations if one.mac == wanted.mac]
            if own != [wanted]:
                add, modify = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY
                yield modify if own else add, section, reservation_text(wanted)

        with self._asks(f"reserve {wanted.ip} in network '{network}'"):
            handle, active = self._ours(network)
            try:
                self._update(handle, active, updates)
            except libvirt.libvirtError as error:
                if code_of(error, "OPERATION_INVALID"):
                    self._refuse_reserved(self.network(network), wanted)
                raise

    def release(self, network: str, mac: str) -> None:
        delete, section = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST

        def updates(text: str) -> Iterable[Update]:
            facts = read_network(text, True)
            if any(one.mac == mac.lower() for one in facts.reservations):
                yield delete, section, reservation_text(Reservation(mac=mac.lower(), ip=""))

        with self._asks(f"release the address of {mac} in network '{network}'"):
            handle, active = self._network(network)
            if handle is not None and read_network(_stored(handle), active).managed:
                self._update(handle, active, updates)

    def set_dhcp_range(self, network: str, start: str, end: str) -> None:
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE

        def updates(text: str) -> Iterable[Update]:
            """The new one first: there is no moment without any."""
            found = read_ranges(text)
            if (start, end) not in found:
                yield libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, range_text(start, end)
            for old in found:
                if old != (start, end):
                    yield libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, range_text(*old)

        with self._asks(f"change the DHCP range of network '{network}'"):
            self._update(*self._ours(network), updates)

    def set_dns_records(self, network: str, records: tuple[DnsRecord, ...]) -> None:
        section = libvirt.VIR_NETWORK_SECTION_DNS_HOST

        def updates(text: str) -> Iterable[Update]:
            """Old ones first: libvirt keeps addresses and names unique among them."""
            found = read_network(text, True).dns_records
            for old in found:
                if old not in records:
                    yield libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, dns_record_text(old)
            for new in records:
                if new not in found:
                    yield libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, dns_record_text(new)

        with self._asks(f"change the DNS records of network '{network}'"):
            self._update(*self._ours(network), updates)

    def _update(self, handle: Any, active: bool, updates: Callable[[str], Iterable[Update]]) -> None:
        """Brings the stored and the running definition there, in one call where both need the same."""
        stored = list(updates(_stored(handle)))
        running = list(updates(handle.XMLDesc(0))) if active else []
        config, live = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
        for flags, wanted in (
            (config | live, [one for one in stored if one in running]),
            (config, [one for one in stored if one not in running]),
            (live, [one for one in running if one not in stored]),
        ):
            for command, section, text in wanted:
                handle.update(command, section, -1, text, flags)

    def _refuse_reserved(self, facts: NetworkFacts | None, reservation: Reservation) -> None:
        """InUse when another reservation has the address or the name: libvirt keeps both unique in a network."""
        for other in facts.reservations if facts else ():
            shared = other.ip == reservation.ip or (other.name and other.name == reservation.name)
            if facts and shared and other.mac != reservation.mac:
                raise AblestackError(
                    Code.IN_USE,
                    f"{reservation.ip} cannot be reserved for {reservation.mac} in network '{facts.name}'",
                    f"{other.mac} has the reservation of {other.ip} ({other.name or 'without a name'})",
                    holder=other.mac,
                )

    def _ours(self, name: str) -> tuple[Any, bool]:
        """The network to be changed: NotFound where there is none, NotManaged where it is somebody else's."""
        handle, active = self._network(name)
        if handle is None:
            raise AblestackError(
                Code.NOT_FOUND, f"host '{self.spec.name}' has no network '{name}'", "make it with ablestack_network"
            )
        if not read_network(_stored(handle), active).managed:
            raise AblestackError(
                Code.NOT_MANAGED,
                f"network '{name}' on host '{self.spec.name}' was not made by this collection",
                "it is left alone: use another network, or change it with the tool that made it",
            )
        return handle, active

    def _network(self, name: str) -> tuple[Any, bool]:
        """The handle, None where there is no such network, and whether it runs."""
        active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
        for handle in self._connection.listAllNetworks(active):
            if handle.name() == name:
                return handle, True
        try:
            return self._connection.networkLookupByName(name), False
        except libvirt.libvirtError as error:
            if code_of(error, "NO_NETWORK"):
                return None, False
            raise


def _stored(handle: Any) -> str:
    """The stored definition; of a driver that knows but one, that one."""
    try:
        return str(handle.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    except libvirt.libvirtError as error:
        if code_of(error, "INVALID_ARG", "NO_SUPPORT"):
            return str(handle.XMLDesc(0))
        raise


def _as_it_runs(handle: Any, active: bool) -> NetworkFacts:
    """Its properties as they are in effect; the record is the stored definition's: there it can change any time."""
    stored = _stored(handle)
    return read_network(handle.XMLDesc(0), active, stored) if active else read_network(stored, active)


def _state(handle: Any, active: bool) -> NetworkState:
    stored = _stored(handle)
    return NetworkState(
        stored=read_network(stored, active),
        live=read_network(handle.XMLDesc(0), active, stored) if active else None,
        autostart=bool(handle.autostart()),
    )
