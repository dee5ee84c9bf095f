# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NICs of a new VM: which network, which MAC, and how a wanted address comes true (SEMANTICS 2.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import TypeVar

from ..model.errors import AblestackError, Code, invalid
from ..model.resources import NetworkFacts, Reservation
from ..model.seed_content import SeedNic
from ..model.values import check_mac, seconds_text
from ..model.vm import NicConfig, NicRecord
from ..model.vm_spec import AUTO, NicSpec

_OWN_MACS = "52:54:"
"""What the MACs of VMs begin with that nobody gave one: ours, and QEMU's."""
_Nic = TypeVar("_Nic", NicConfig, NicRecord)


@dataclass(frozen=True)
class NicPlan:
    """One NIC in all its places; `reservation` is None where DHCP of ours does not serve it."""

    config: NicConfig
    record: NicRecord
    seed: SeedNic
    reservation: Reservation | None = None


def plan_nic(spec: NicSpec, network: NetworkFacts, mac: str, vm_name: str, taken: Mapping[str, str]) -> NicPlan:
    """The NIC for one entry of `networks`; `mac` is the drawn one, `taken` maps addresses (see
    address_key) and MACs to who has them.
    """
    mac = check_mac(spec.mac) if spec.mac else mac
    address = _address_in(spec.ip, network) if spec.ip else None
    if address and network.reserves and address.version == 4:
        mac = _leasable(spec, str(address.ip), network, mac, taken)
    _free(mac, "", network, taken)
    config = NicConfig(mac=mac, network=network.name, model=spec.model or "virtio")
    if address is None:
        return NicPlan(config, NicRecord(mac, network.name), SeedNic(mac))
    ip = str(address.ip)
    _free(mac, ip, network, taken)
    record = NicRecord(mac, network.name, ip)
    if network.reserves and address.version == 4:
        return NicPlan(config, record, SeedNic(mac), Reservation(mac, ip, vm_name.lower()))
    # A network that is not ours is never changed, and one without DHCP cannot lease: the guest sets the address itself.
    gateway = network.gateway6 if network.cidr6 and address.version == 6 else network.gateway
    servers = (network.dns_servers if network.forward == "bridge" else ()) or ((gateway,) if gateway else ())
    return NicPlan(config, record, SeedNic(mac, str(address), gateway, servers))


def address_key(network: str, ip: str) -> str:
    """How an address is known among those taken: another network may have the same one. A MAC is known by itself."""
    return f"{ip} in {network}"


def one_name(plans: Iterable[NicPlan]) -> list[Reservation | None]:
    """The NICs' reservations: a network's DNS has each name once, so the first NIC there has the VM's."""
    named: set[str] = set()
    reservations = []
    for plan in plans:
        row = plan.reservation
        if row and plan.config.network in named:
            row = replace(row, name="")
        if row:
            named.add(plan.config.network)
        reservations.append(row)
    return reservations


def choose_addresses(
    nics: tuple[NicSpec, ...], networks: Mapping[str, NetworkFacts], taken: Iterable[str]
) -> tuple[NicSpec, ...]:
    """The same with the lowest free address wherever any is wanted; `taken` are the keys of those that others have."""
    used = {*taken, *(address_key(nic.network, nic.ip.partition("/")[0]) for nic in nics)}
    chosen = []
    for nic in nics:
        ip = _lowest(networks[nic.network], used) if nic.ip == AUTO else nic.ip
        used.add(address_key(nic.network, ip))
        chosen.append(replace(nic, ip=ip))
    return tuple(chosen)


def keep_addresses(nics: tuple[NicSpec, ...], own: tuple[NicRecord, ...]) -> tuple[NicSpec, ...]:
    """The same with the address that a NIC has already wherever any is wanted: that of the NIC at its place, or of one
    that no other entry means.
    """
    if all(nic.ip != AUTO for nic in nics):
        return nics
    present = [one for one in own if one.mac not in {nic.mac for nic in nics if nic.mac}]
    by_mac = {one.mac: one for one in own}
    named = {(nic.network, nic.ip.partition("/")[0]) for nic in nics}
    places = {at: one for at, one in in_place(nics, list(own)).items() if one in present and nics[at].ip in ("", AUTO)}
    spare = [one for one in present if one not in places.values()]

    def has(at: int, nic: NicSpec) -> str:
        """The address of the NIC that the entry means, empty where it has none that it may keep."""
        if nic.mac:
            mine = [by_mac[nic.mac]] if nic.mac in by_mac else []
        else:
            mine = [places[at]] if at in places and places[at].ip else spare
        free = [one for one in mine if one.ip and one.network == nic.network and (one.network, one.ip) not in named]
        named.update((one.network, one.ip) for one in free[:1])
        return free[0].ip if free else nic.ip

    return tuple(replace(nic, ip=has(at, nic)) if nic.ip == AUTO else nic for at, nic in enumerate(nics))


def in_place(wanted: tuple[NicSpec, ...], nics: list[_Nic]) -> dict[int, _Nic]:
    """By the position of an entry the NIC that has its place in the network: the second entry's is the second NIC."""
    found: dict[int, _Nic] = {}
    for network in {spec.network for spec in wanted}:
        positions = [position for position, spec in enumerate(wanted) if spec.network == network]
        found.update(zip(positions, [nic for nic in nics if nic.network == network]))
    return found


def _lowest(network: NetworkFacts, used: set[str]) -> str:
    if not network.reserves:
        raise invalid(
            f"network '{network.name}' is none whose addresses we hand out, so there is no free one to be found",
            "write the address, or use an isolated or routed network made by ablestack_network",
        )
    known = {network.gateway, *(row.ip for row in network.reservations), *(lease.ip for lease in network.leases)}
    for address in ip_network(network.cidr).hosts():
        if str(address) not in known and address_key(network.name, str(address)) not in used:
            return str(address)
    raise AblestackError(
        Code.INSUFFICIENT_CAPACITY,
        f"network '{network.name}' has no free address left in {network.cidr}",
        "expunge VMs that are not needed any more, or use another network",
    )


def _leasable(spec: NicSpec, ip: str, network: NetworkFacts, mac: str, taken: Mapping[str, str]) -> str:
    """The MAC that DHCP will give this address to. While it is leased to another one, that is this other one.

    A lease outlives the VM that had it: libvirt cannot end it, and its dnsmasq gives a leased address to no other MAC,
    whatever is reserved. So a new NIC takes it over with its MAC; one that has a MAC for life cannot.
    """
    lease = next((lease for lease in network.leases if lease.ip == ip and lease.mac != mac), None)
    if lease is None:
        return mac
    holder = taken.get(lease.mac) or next(
        (row.name or row.mac for row in network.reservations if row.mac == lease.mac), ""
    )
    if holder or spec.mac or not lease.mac.startswith(_OWN_MACS):
        who = f"'{holder or lease.hostname or lease.mac}'"
        until = f" until {seconds_text(lease.expires)}" if lease.expires else ""
        theirs = bool(holder) or not lease.mac.startswith(_OWN_MACS)
        raise AblestackError(
            Code.CONFLICT,
            f"address {ip} on network '{network.name}' is leased to {who} ({lease.mac}){until}",
            "choose another one, or wait until the lease has ended"
            if theirs
            else "give it to a new NIC without a mac, which takes the lease over, or wait until it has ended",
            mac=lease.mac,
        )
    return lease.mac


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
    cidr = network.cidr6 if network.cidr6 and given.version == 6 else network.cidr
    subnet = ip_network(cidr, strict=False)
    if given.ip not in subnet or given.ip in (subnet.network_address, subnet.broadcast_address):
        raise invalid(
            f"address {given.ip} is not usable in network '{network.name}'", f"choose a host address of {subnet}"
        )
    if str(given.ip) in (network.gateway, network.gateway6):
        raise AblestackError(
            Code.CONFLICT, f"address {given.ip} is the gateway of network '{network.name}'", "choose another address"
        )
    return ip_interface(f"{given.ip}/{subnet.prefixlen}")


def _free(mac: str, ip: str, network: NetworkFacts, taken: Mapping[str, str]) -> None:
    """The MAC, or the address where one is given, is nobody else's; an address reserved by hand for this MAC is."""
    holder = taken.get(address_key(network.name, ip) if ip else mac)
    for reservation in network.reservations:
        if ip and reservation.ip == ip and reservation.mac != mac:
            holder = reservation.name or reservation.mac
    if holder:
        what = "address" if ip else "MAC address"
        raise AblestackError(
            Code.CONFLICT, f"{what} {ip or mac} on network '{network.name}' is taken by '{holder}'", "choose a free one"
        )
