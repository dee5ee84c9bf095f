# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network on one host, with who uses it."""

from __future__ import annotations

from dataclasses import dataclass

from .resources import Lease, NetworkState, Reservation


@dataclass(frozen=True)
class FixedAddress:
    """The address that a VM, destroyed ones among them, was given by its user."""

    vm: str
    mac: str
    ip: str


@dataclass(frozen=True)
class HostNetwork:
    """A network on one host; `state` is None where there is none of that name.

    `vms` are all that have a NIC in it, destroyed ones among them, and `running` those of them that run.
    """

    host: str
    state: NetworkState | None
    vms: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    fixed: tuple[FixedAddress, ...] = ()
    leases: tuple[Lease, ...] = ()

    @property
    def by_hand(self) -> tuple[Reservation, ...]:
        """The reservations that are no VM's, as either definition has them."""
        state = self.state
        rows = {} if state is None else {row.mac: row for row in state.stored.reservations}
        if state and state.live:
            rows.update({row.mac: row for row in state.live.reservations})
        for address in self.fixed:
            rows.pop(address.mac, None)
        return tuple(rows.values())
