# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a network: one field an option of `ablestack_network`, UNSET where the user left it out."""

from __future__ import annotations

from dataclasses import dataclass

from .resources import DnsRecord, Reservation
from .values import UNSET, Maybe

STATES = ("present", "absent", "restarted")
TYPES = ("isolated", "routed", "shared", "l2")


@dataclass(frozen=True)
class NetworkSpec:
    """The options of one network; an empty text, list or 0 takes away what was set before."""

    name: str
    state: str = "present"
    type: Maybe[str] = UNSET
    cidr: Maybe[str] = UNSET
    gateway: Maybe[str] = UNSET
    dhcp_start: Maybe[str] = UNSET
    dhcp_end: Maybe[str] = UNSET
    ip6_cidr: Maybe[str] = UNSET
    ip6_gateway: Maybe[str] = UNSET
    dns_servers: Maybe[tuple[str, ...]] = UNSET
    domain: Maybe[str] = UNSET
    vlan: Maybe[int] = UNSET
    bridge: Maybe[str] = UNSET
    mtu: Maybe[int] = UNSET
    reservations: Maybe[tuple[Reservation, ...]] = UNSET
    dns_records: Maybe[tuple[DnsRecord, ...]] = UNSET
    autostart: Maybe[bool] = UNSET
    labels: Maybe[tuple[tuple[str, str], ...]] = UNSET
    zone: Maybe[str] = UNSET
    hosts: tuple[str, ...] = ()
