# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks through libvirt: what they are, their leases and reservations."""

from __future__ import annotations

from typing import Any

from ..model.errors import AblestackError, Code
from ..model.resources import Lease, NetworkFacts, Reservation
from ..xml.host_mapping import read_network, reservation_text
from .connection import Session
from .translate import code_of, libvirt


class LibvirtNetworks(Session):
    """port.Networks. Whether a network runs is told by the listing that has it, which costs no more than a look-up."""

    def networks(self) -> tuple[str, ...]:
        with self._asks("list its networks"):
            return tuple(sorted(network.name() for network in self._connection.listAllNetworks(0)))

    def network(self, name: str) -> NetworkFacts | None:
        with self._asks(f"read network '{name}'"):
            handle, active = self._network(name)
            return read_network(handle.XMLDesc(0), active) if handle is not None else None

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

    def reserve(self, network: str, reservation: Reservation) -> None:
        add, modify = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY

        def command(facts: NetworkFacts) -> int | None:
            own = [one for one in facts.reservations if one.mac == reservation.mac.lower()]
            return None if own == [reservation] else modify if own else add

        with self._asks(f"reserve {reservation.ip} in network '{network}'"):
            try:
                self._update(network, command, reservation)
            except libvirt.libvirtError as error:
                if code_of(error, "OPERATION_INVALID"):
                    self._refuse_reserved(network, reservation)
                raise

    def release(self, network: str, mac: str) -> None:
        delete = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE

        def command(facts: NetworkFacts) -> int | None:
            return delete if any(one.mac == mac.lower() for one in facts.reservations) else None

        with self._asks(f"release the address of {mac} in network '{network}'"):
            self._update(network, command, Reservation(mac=mac.lower(), ip=""), must_exist=False)

    def _update(self, name: str, command: Any, reservation: Reservation, must_exist: bool = True) -> None:
        """Brings the stored and the running definition there, in one call where both need the same."""
        handle, active = self._network(name)
        if handle is None:
            if must_exist:
                raise AblestackError(Code.NOT_FOUND, f"host '{self.spec.name}' has no network '{name}'")
            return
        stored = command(read_network(handle.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE), active))
        running = command(read_network(handle.XMLDesc(0), active)) if active else None
        wanted: dict[int, int] = {}
        for one, flag in (
            (stored, libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG),
            (running, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE),
        ):
            if one is not None:
                wanted[one] = wanted.get(one, 0) | flag
        section, text = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, reservation_text(reservation)
        for one, flags in wanted.items():
            handle.update(one, section, -1, text, flags)

    def _refuse_reserved(self, name: str, reservation: Reservation) -> None:
        """InUse when another reservation has the address or the name: libvirt keeps both unique in a network."""
        facts = self.network(name)
        for other in facts.reservations if facts else ():
            shared = other.ip == reservation.ip or (other.name and other.name == reservation.name)
            if shared and other.mac != reservation.mac.lower():
                raise AblestackError(
                    Code.IN_USE,
                    f"{reservation.ip} cannot be reserved for {reservation.mac} in network '{name}'",
                    f"{other.mac} has the reservation of {other.ip} ({other.name or 'without a name'})",
                    holder=other.mac,
                )

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
