# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network's definition and NetworkFacts: a new one from scratch, one read, one edited in place."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from ..model.errors import AblestackError, Code
from ..model.resources import BridgeFacts, DnsRecord, NetworkFacts, Reservation
from .document import Document, DocumentError, Flag, Number, Switch, Text
from .metadata_mapping import put_network_record, read_network_record


class HostElement(Document):
    """A reservation in a network's DHCP."""

    tag = "host"
    mac = Text("@mac")
    ip = Text("@ip")
    name = Text("@name")


class RangeElement(Document):
    """Addresses that a network's DHCP hands out."""

    tag = "range"
    start = Text("@start")
    end = Text("@end")


class AddressElement(Document):
    tag = "ip"
    family = Text("@family", "ipv4")
    address = Text("@address")
    netmask = Text("@netmask")
    prefix = Text("@prefix")
    dhcp_start = Text("dhcp/range@start")
    dhcp_end = Text("dhcp/range@end")


class ForwarderElement(Document):
    """A DNS server that is asked what the network's own DNS does not know."""

    tag = "forwarder"
    address = Text("@addr")
    domain = Text("@domain")


class HostnameElement(Document):
    tag = "hostname"
    name = Text("")


class DnsHostElement(Document):
    """Names of an address in a network's DNS."""

    tag = "host"
    ip = Text("@ip")


class NetworkElement(Document):
    tag = "network"
    name = Text("name")
    uuid = Text("uuid")
    forwards = Flag("forward")
    mode = Text("forward@mode")
    nat_ipv6 = Switch("forward/nat@ipv6")
    bridge = Text("bridge@name")
    bridge_stp = Text("bridge@stp")
    bridge_delay = Text("bridge@delay")
    mtu = Number("mtu@size")
    domain = Text("domain@name")
    domain_local = Switch("domain@localOnly")
    virtual_port = Text("virtualport@type")
    vlan = Number("vlan/tag@id")


class InterfaceElement(Document):
    """A network interface of the host's."""

    tag = "interface"
    type = Text("@type")


def _parse(text: str) -> NetworkElement:
    try:
        return NetworkElement.parse(text)
    except DocumentError as error:
        raise AblestackError(Code.INTERNAL, f"libvirt gave a network document we cannot read: {error}") from None


def read_network(text: str, active: bool, stored: str = "") -> NetworkFacts:
    """A network's document, running or stored; of several addresses of a family the first.

    `stored` is the document to read our record from where `text` is the running one: libvirt before 9.7 cannot
    change metadata in that.
    """
    network = _parse(text)
    address, second = _addresses(network)
    record = read_network_record(_parse(stored) if stored else network, f"network '{network.name}'")
    gateway, cidr = _own(address)
    gateway6, cidr6 = _own(second)
    servers = tuple(one.address for one in network.children(ForwarderElement, "dns") if one.address and not one.domain)
    facts = NetworkFacts(
        name=network.name,
        id=network.uuid,
        active=active,
        forward=(network.mode or "nat") if network.forwards else "",
        bridge=network.bridge,
        cidr=cidr,
        gateway=gateway,
        dhcp_start=address.dhcp_start,
        dhcp_end=address.dhcp_end,
        reservations=tuple(
            Reservation(host.mac.lower(), host.ip, host.name)
            for host in address.children(HostElement, "dhcp")
            if host.mac  # others go by what a DHCP client says of itself
        ),
        record=record,
        cidr6=cidr6,
        gateway6=gateway6,
        dns_servers=servers,
        dns_records=tuple(
            DnsRecord(host.ip, tuple(one.name for one in host.children(HostnameElement)))
            for host in network.children(DnsHostElement, "dns")
        ),
        domain=network.domain,
        mtu=network.mtu,
        vlan=network.vlan,
        openvswitch=network.virtual_port == "openvswitch",
    )
    if record is None or facts.serves or facts.forward not in ("bridge", ""):
        return facts
    return replace(facts, cidr=record.cidr, gateway=record.gateway, dns_servers=record.dns_servers)


def read_ranges(text: str) -> tuple[tuple[str, str], ...]:
    """All ranges of the network's DHCP, first and last address of each."""
    address, _second = _addresses(_parse(text))
    return tuple((one.start, one.end) for one in address.children(RangeElement, "dhcp"))


def _addresses(network: NetworkElement) -> tuple[AddressElement, AddressElement]:
    """The address that counts, of IPv4 where there is one, and the IPv6 one beside it."""
    found = network.children(AddressElement)
    of4 = [one for one in found if one.family == "ipv4"]
    of6 = [one for one in found if one.family == "ipv6"]
    both = [*of4[:1], *of6[:1], AddressElement(), AddressElement()]
    return both[0], both[1]


def _own(address: AddressElement) -> tuple[str, str]:
    """The host's own address on the network, and the network itself as CIDR; empty where there is none."""
    alone = 128 if address.family == "ipv6" else 32
    try:
        own = ip_interface(f"{address.address}/{address.prefix or address.netmask or alone}")
    except ValueError:
        return "", ""
    return str(own.ip), str(own.network)


def reservation_text(reservation: Reservation) -> str:
    """The element virNetworkUpdate takes to add, change or remove a reservation."""
    return HostElement(mac=reservation.mac, ip=reservation.ip, name=reservation.name).text


def range_text(start: str, end: str) -> str:
    """The element virNetworkUpdate takes to add or remove a range of the DHCP."""
    return RangeElement(start=start, end=end).text


def dns_record_text(record: DnsRecord) -> str:
    """The element virNetworkUpdate takes to add or remove a record of the DNS."""
    return _dns_host(record).text


def _dns_host(record: DnsRecord) -> DnsHostElement:
    host = DnsHostElement(ip=record.ip)
    for name in record.names:
        host.add(HostnameElement(name=name))
    return host


def new_network(facts: NetworkFacts) -> NetworkElement:
    """A definition from scratch; an empty bridge name of a network of libvirt's own lets libvirt choose."""
    network = NetworkElement(name=facts.name, uuid=facts.id)
    _apply(network, NetworkFacts(facts.name, facts.id, facts.active), facts)
    return network


def changed_network(text: str, before: NetworkFacts, after: NetworkFacts) -> NetworkElement:
    """The stored definition with what differs between the two written into it; all else in it survives."""
    network = _parse(text)
    _apply(network, before, after)
    return network


def with_another_bridge(text: str) -> str:
    """The definition without the name that libvirt chose for its bridge, so that it chooses anew; else empty."""
    network = _parse(text)
    if not re.fullmatch(r"virbr\d+", network.bridge):
        return ""
    network.bridge = ""
    return network.text


def _apply(network: NetworkElement, before: NetworkFacts, after: NetworkFacts) -> None:
    if after.record != before.record:
        put_network_record(network, after.record)
    if (after.forward, _has_ipv6(after)) != (before.forward, _has_ipv6(before)):
        _set_forward(network, after)
    if after.bridge != before.bridge or after.forward != before.forward:
        _set_bridge(network, before, after)
    network.vlan = after.vlan
    network.virtual_port = "openvswitch" if after.openvswitch else ""
    if after.mtu != before.mtu:
        network.mtu = after.mtu
    if after.domain != before.domain:
        network.domain = after.domain
        network.domain_local = bool(after.domain)
    if after.forward == "bridge" or not after.serves:
        _drop(network, "ip", "dns")
        return
    if (after.dns_servers, after.dns_records) != (before.dns_servers, before.dns_records) or before.forward == "bridge":
        _set_dns(network, after)
    addresses = ("cidr", "gateway", "cidr6", "gateway6", "dhcp_start", "dhcp_end", "reservations")
    if before.forward == "bridge" or any(getattr(after, name) != getattr(before, name) for name in addresses):
        _set_addresses(network, after)


def _has_ipv6(facts: NetworkFacts) -> bool:
    return facts.serves and (bool(facts.cidr6) or ":" in facts.cidr)


def _set_forward(network: NetworkElement, after: NetworkFacts) -> None:
    _drop(network, "forward")
    network.mode = after.forward
    # Without it libvirt would route IPv6 and translate IPv4 only.
    network.nat_ipv6 = after.forward == "nat" and _has_ipv6(after)


def _set_bridge(network: NetworkElement, before: NetworkFacts, after: NetworkFacts) -> None:
    """A bridge that libvirt makes has a MAC address of its own; one that is there already must not be given one."""
    if (after.forward == "bridge") != (before.forward == "bridge"):
        _drop(network, "bridge", "mac", "mtu")
    network.bridge = after.bridge
    own = after.forward != "bridge"
    network.bridge_stp = "on" if own else ""
    network.bridge_delay = "0" if own else ""


def _set_dns(network: NetworkElement, after: NetworkFacts) -> None:
    """Forwarders for one domain only, and records of other kinds, are somebody else's: they stay."""
    for one in network.children(ForwarderElement, "dns"):
        if not one.domain:
            network.remove(one, "dns")
    for record in network.children(DnsHostElement, "dns"):
        network.remove(record, "dns")
    for server in after.dns_servers:
        network.add(ForwarderElement(address=server), "dns")
    for entry in after.dns_records:
        network.add(_dns_host(entry), "dns")
    if not network.element.findall("dns/*"):
        _drop(network, "dns")


def _set_addresses(network: NetworkElement, after: NetworkFacts) -> None:
    first, second = _addresses(network)
    address = _set_address(network, first, after.cidr, after.gateway)
    _set_range(address, after)
    _set_reservations(address, after)
    _set_address(network, second, after.cidr6, after.gateway6)


def _set_address(network: NetworkElement, old: AddressElement, cidr: str, gateway: str) -> AddressElement:
    """The element of that address: the old one, where there is one and it is of the same family."""
    family = "ipv6" if ":" in cidr else "ipv4"
    present = any(found is old.element for found in network.element.findall("ip"))
    if present and (not cidr or old.family != family):
        network.remove(old)
        present = False
    address = old if present else AddressElement(family=family)
    if cidr:
        address.address = gateway
        address.netmask = ""
        address.prefix = str(ip_network(cidr).prefixlen)
        if not present:
            network.add(address)
    return address


def _set_range(address: AddressElement, after: NetworkFacts) -> None:
    ranges = address.children(RangeElement, "dhcp")
    for spare in ranges[1 if after.dhcp_start else 0 :]:
        address.remove(spare, "dhcp")
    if after.dhcp_start:
        address.dhcp_start = after.dhcp_start
        address.dhcp_end = after.dhcp_end


def _set_reservations(address: AddressElement, after: NetworkFacts) -> None:
    wanted = {row.mac: row for row in after.reservations}
    for host in address.children(HostElement, "dhcp"):
        row = wanted.pop(host.mac.lower(), None)
        if row:
            host.ip, host.name = row.ip, row.name
        elif host.mac:
            address.remove(host, "dhcp")
    for row in wanted.values():
        address.add(HostElement(mac=row.mac, ip=row.ip, name=row.name), "dhcp")


def _drop(network: NetworkElement, *tags: str) -> None:
    for tag in tags:
        for element in network.element.findall(tag):
            network.element.remove(element)


def read_bridge(text: str, name: str, libvirt_version: int) -> BridgeFacts:
    """A host's interface as a bridge for VMs; `libvirt_version` in libvirt's counting.

    Open vSwitch's bridges look like plain interfaces. VLAN tags on Linux bridges came with libvirt 11.0.
    """
    try:
        kind = InterfaceElement.parse(text).type
    except DocumentError as error:
        raise AblestackError(Code.INTERNAL, f"libvirt gave an interface document we cannot read: {error}") from None
    linux = kind == "bridge"
    return BridgeFacts(name, "linux" if linux else "other", tags_vlans=linux and libvirt_version >= 11_000_000)
