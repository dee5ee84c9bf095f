# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs of a new VM: which network, which MAC, and how a wanted address comes true (SEMANTICS 2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

from ..model.errors import AblestackError, Code, invalid
from ..model.resources import NetworkFacts, Reservation
from ..model.seed_content import SeedNic
from ..model.values import check_mac
from ..model.vm import NicConfig, NicRecord
from ..model.vm_spec import NicSpec


@dataclass(frozen=True)
class NicPlan:
    """One NIC in all its places; `reservation` is None where DHCP of ours does not serve it."""

    config: NicConfig
    record: NicRecord
    seed: SeedNic
    reservation: Reservation | None = None


def plan_nic(spec: NicSpec, network: NetworkFacts, mac: str, vm_name: str, taken: Mapping[str, str]) -> NicPlan:
    """The NIC for one entry of `networks`; `mac` is the drawn one, `taken` maps addresses and MACs to who has them."""
    mac = check_mac(spec.mac) if spec.mac else mac
    _free(mac, "MAC address", network, taken)
    config = NicConfig(mac=mac, network=network.name, model=spec.model or "virtio")
    if not spec.ip:
        return NicPlan(config, NicRecord(mac, network.name), SeedNic(mac))
    address = _address_in(spec.ip, network)
    ip = str(address.ip)
    _free(ip, "address", network, taken)
    record = NicRecord(mac, network.name, ip)
    if network.managed and network.forward in ("nat", "route", "open"):
        return NicPlan(config, record, SeedNic(mac), Reservation(mac, ip, vm_name.lower()))
    # A network that is not ours is never changed, and one without DHCP cannot lease: the guest sets the address itself.
    return NicPlan(
        config, record, SeedNic(mac, str(address), network.gateway, (network.gateway,) if network.gateway else ())
    )


def _address_in(text: str, network: NetworkFacts) -> IPv4Interface | IPv6Interface:
    try:
        given = ip_interface(text)
    except ValueError:
        raise invalid(f"'{text}' is not an IP address", "write for example 192.168.122.50") from None
    if not network.cidr:
        if "/" not in text:
            raise invalid(
                f"network '{network.name}' has no address range, so '{text}' lacks its prefix length",
                "write it with the address, such as 10.0.0.5/24",
            )
        return given
    subnet = ip_network(network.cidr, strict=False)
    if given.ip not in subnet or given.ip in (subnet.network_address, subnet.broadcast_address):
        raise invalid(
            f"address {given.ip} is not usable in network '{network.name}'", f"choose a host address of {subnet}"
        )
    if str(given.ip) == network.gateway:
        raise AblestackError(
            Code.CONFLICT, f"address {given.ip} is the gateway of network '{network.name}'", "choose another address"
        )
    return ip_interface(f"{given.ip}/{subnet.prefixlen}")


def _free(value: str, what: str, network: NetworkFacts, taken: Mapping[str, str]) -> None:
    holder = taken.get(value)
    for reservation in network.reservations:
        if value in (reservation.ip, reservation.mac):
            holder = reservation.name or reservation.mac
    if holder:
        raise AblestackError(
            Code.CONFLICT, f"{what} {value} on network '{network.name}' is taken by '{holder}'", "choose a free one"
        )
