# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Designs a network's definition: what each type is made of, and which options it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..model.errors import AblestackError, Code, invalid
from ..model.network import HostNetwork
from ..model.network_spec import NetworkSpec
from ..model.resources import BridgeFacts, DnsRecord, NetworkFacts, NetworkRecord, NetworkState, Reservation
from .network_addresses import addresses_of, check_host_address, check_overlap, described, order

OWN_TYPES = ("isolated", "routed")
"""The types that have DHCP and DNS of libvirt's."""
_FORWARD = {"isolated": "nat", "routed": "route", "shared": "bridge"}
_OWN_ONLY = ("dhcp_start", "dhcp_end", "ip6_cidr", "ip6_gateway", "domain", "reservations", "dns_records")
_NOT_FOR = {
    "isolated": ("vlan",),
    "routed": ("vlan",),
    "shared": (*_OWN_ONLY, "mtu"),
    "l2": (*_OWN_ONLY, "gateway", "dns_servers"),
}


def type_wanted(spec: NetworkSpec, base: NetworkFacts | None) -> str:
    """The type: what is asked for, else what it is, else isolated."""
    return spec.type or (NetworkState(base).type if base else "isolated")


def host_bridge(spec: NetworkSpec, base: NetworkFacts | None) -> str:
    """The bridge of the host's that the network is to be on, empty where libvirt makes one."""
    kind = type_wanted(spec, base)
    if kind in OWN_TYPES:
        return ""
    if isinstance(spec.bridge, str):
        return spec.bridge
    return base.bridge if base and base.forward == "bridge" else ""


def design(
    spec: NetworkSpec,
    stored: NetworkFacts | None,
    like: NetworkFacts | None,
    bridge: BridgeFacts | None,
    on: HostNetwork,
    others: Iterable[tuple[str, str]],
) -> NetworkFacts:
    """The definition to be. What is left out stays as `stored` has it, or `like` where there is none yet.

    Raises InvalidInput where options do not fit together, Conflict where ranges overlap, NotFound and Unsupported
    where the host's bridge is missing or cannot do what is asked.
    """
    base = stored or like
    kind = type_wanted(spec, base)
    _refuse_foreign_options(spec, kind, bool(host_bridge(spec, base)))
    blank = NetworkFacts(spec.name, base.id if base else "", bool(stored and stored.active), record=NetworkRecord())
    record = replace(base.record if base and base.record else NetworkRecord(), type=kind, **_record_values(spec))
    if kind in OWN_TYPES:
        facts = replace(_served(spec, blank, base, on), forward=_FORWARD[kind], mtu=_given(spec.mtu, base, "mtu", 0))
        record = replace(record, cidr="", gateway="", dns_servers=())
        facts = replace(facts, bridge=_own_bridge(spec, stored))
    else:
        facts = _on_bridge(spec, replace(blank, record=record), base, bridge, on)
        record = facts.record or record
    if stored is None or (facts.cidr, facts.cidr6) != (stored.cidr, stored.cidr6):
        # Two networks on bridges of the host's may describe one range: they may be one segment.
        ranges = [facts.cidr, facts.cidr6] if facts.serves else []
        check_overlap(spec.name, on.host, ranges, others)
    return replace(facts, record=record)


def check_reservations(wanted: NetworkFacts, stored: NetworkFacts, on: HostNetwork) -> None:
    """InUse where a VM's fixed address is not in the range any more that the network gets."""
    if wanted.cidr == stored.cidr and wanted.gateway == stored.gateway:
        return
    if not wanted.cidr and not stored.serves:
        return
    lost = []
    for address in on.fixed:
        if (":" in address.ip) != (":" in wanted.cidr) and wanted.cidr:
            continue
        try:
            check_host_address(address.ip, wanted.cidr, wanted.gateway, "address")
        except AblestackError:
            lost.append(address)
    if lost:
        vms = ", ".join(sorted({address.vm for address in lost}))
        raise AblestackError(
            Code.IN_USE,
            f"network '{wanted.name}' on host '{on.host}' would lose the fixed addresses of {vms}",
            "give these VMs other addresses, or expunge them, before the network gets another range",
            addresses=sorted(address.ip for address in lost),
            host=on.host,
        )


def refuse_taken_bridge(spec: NetworkSpec, wanted: NetworkFacts, host: str, bridges: Mapping[str, str]) -> None:
    """Conflict where a bridge that libvirt is to make is another network's; `bridges` have the names of networks."""
    other = bridges.get(spec.bridge) if isinstance(spec.bridge, str) and wanted.forward != "bridge" else None
    if other:
        raise AblestackError(
            Code.CONFLICT,
            f"bridge '{spec.bridge}' on host '{host}' is that of network '{other}'",
            "name another bridge, or leave it out: libvirt finds a name",
            network=other,
            host=host,
        )


def _refuse_foreign_options(spec: NetworkSpec, kind: str, on_bridge: bool) -> None:
    refused = list(_NOT_FOR[kind])
    if kind == "l2":
        refused += ["mtu"] if on_bridge else ["vlan", "cidr"]
    for name in refused:
        if getattr(spec, name):
            why = {"vlan": "VLANs are for networks on a bridge of the host's", "mtu": "the bridge's MTU counts"}.get(
                name, "its addresses are not handed out by this network"
            )
            raise invalid(f"{name} is not for network '{spec.name}' of type {kind}", why)


def _record_values(spec: NetworkSpec) -> dict[str, Any]:
    given = {"labels": spec.labels, "autostart": spec.autostart}
    return {name: value for name, value in given.items() if isinstance(value, (tuple, bool))}


def _given(value: Any, base: NetworkFacts | None, name: str, default: Any) -> Any:
    """What was asked for, else what it is."""
    if isinstance(value, (str, int, tuple)):
        return value
    return getattr(base, name) if base else default


def _own_bridge(spec: NetworkSpec, stored: NetworkFacts | None) -> str:
    """The name of a bridge that libvirt makes; it chooses itself where nobody does."""
    kept = stored.bridge if stored and stored.forward != "bridge" else ""
    return spec.bridge or kept


def _served(spec: NetworkSpec, blank: NetworkFacts, base: NetworkFacts | None, on: HostNetwork) -> NetworkFacts:
    """The parts of a network with DHCP and DNS of libvirt's."""
    own = base if base and base.serves else None
    addresses = addresses_of(spec, own)
    facts = replace(
        blank,
        **vars(addresses),
        domain=_given(spec.domain, own, "domain", ""),
        dns_servers=_given(spec.dns_servers, own, "dns_servers", ()),
        dns_records=_dns_records(spec, own),
    )
    return replace(facts, reservations=_reservations(spec, facts, own, on))


def _dns_records(spec: NetworkSpec, own: NetworkFacts | None) -> tuple[DnsRecord, ...]:
    if isinstance(spec.dns_records, tuple):
        return tuple(sorted(spec.dns_records, key=lambda row: order(row.ip)))
    return own.dns_records if own else ()


def _reservations(
    spec: NetworkSpec, facts: NetworkFacts, own: NetworkFacts | None, on: HostNetwork
) -> tuple[Reservation, ...]:
    """Those of VMs stay; those made by hand are what the task says, where it says any."""
    present = own.reservations if own else ()
    fixed = {address.mac: address for address in on.fixed}
    kept = tuple(row for row in present if row.mac in fixed)
    if not isinstance(spec.reservations, tuple):
        rows = tuple(row for row in present if row.mac not in fixed)
        if own and own.cidr != facts.cidr:
            _check_rows(rows, facts)
        return present
    rows = tuple(row for row in spec.reservations if (row.mac, row.ip) not in {(a.mac, a.ip) for a in on.fixed})
    _check_rows(rows, facts)
    for row in rows:
        for address in on.fixed:
            if row.mac == address.mac or row.ip == address.ip:
                raise AblestackError(
                    Code.CONFLICT,
                    f"{row.ip} cannot be reserved for {row.mac}: VM '{address.vm}' on host '{on.host}' has the fixed "
                    f"address {address.ip} with {address.mac}",
                    "take the reservation out of the list, or change the VM",
                    vm=address.vm,
                    host=on.host,
                )
        for other in kept:
            if row.name and row.name == other.name:
                raise AblestackError(
                    Code.CONFLICT,
                    f"the name '{row.name}' belongs to VM '{fixed[other.mac].vm}' in the DNS of network '{facts.name}'",
                    "choose another name for the reservation",
                    host=on.host,
                )
    return (*kept, *rows)


def _check_rows(rows: Iterable[Reservation], facts: NetworkFacts) -> None:
    if ":" in facts.cidr and tuple(rows):
        raise AblestackError(
            Code.UNSUPPORTED,
            f"network '{facts.name}' is of IPv6, whose DHCP does not go by MAC addresses",
            "leave reservations out; a VM's ip is set in the guest by cloud-init there",
        )
    for row in rows:
        check_host_address(row.ip, facts.cidr, facts.gateway, "reserved address")


def _on_bridge(
    spec: NetworkSpec, blank: NetworkFacts, base: NetworkFacts | None, bridge: BridgeFacts | None, on: HostNetwork
) -> NetworkFacts:
    """A network without addresses of libvirt's: on a bridge of the host's, or on one that only its VMs are on."""
    kind, name = type_wanted(spec, base), host_bridge(spec, base)
    if kind == "shared" and not name:
        raise invalid(f"network '{spec.name}' of type shared has no bridge", "name a bridge of the host's with bridge")
    if not name:
        own = on.state.stored if on.state and on.state.stored.forward != "bridge" else None
        return replace(blank, bridge=own.bridge if own else "", mtu=_given(spec.mtu, own or base, "mtu", 0))
    before = base if base and base.forward == "bridge" else None
    vlan = _given(spec.vlan, before, "vlan", 0)
    facts = replace(
        blank, forward="bridge", bridge=name, vlan=vlan, openvswitch=_switch(name, vlan, before, bridge, on)
    )
    if kind == "l2":
        cidr = described(replace(spec, gateway=""), base)[0]
        record = replace(facts.record or NetworkRecord(), cidr=cidr, gateway="", dns_servers=())
        return replace(facts, record=record, cidr=cidr)
    cidr, gateway = described(spec, base)
    known = base.record.dns_servers if base and base.record else ()
    servers = spec.dns_servers if isinstance(spec.dns_servers, tuple) else known
    record = replace(facts.record or NetworkRecord(), cidr=cidr, gateway=gateway, dns_servers=servers)
    return replace(facts, record=record, cidr=cidr, gateway=gateway, dns_servers=servers)


def _switch(name: str, vlan: int, before: NetworkFacts | None, bridge: BridgeFacts | None, on: HostNetwork) -> bool:
    """Whether VMs are plugged into the bridge as Open vSwitch's ports."""
    if before and on.state and (before.bridge, before.vlan) == (name, vlan):
        return before.openvswitch
    if bridge is None:
        raise AblestackError(
            Code.NOT_FOUND,
            f"host '{on.host}' has no bridge '{name}'",
            "make the bridge with the host's own network configuration; this collection only connects VMs to it",
            host=on.host,
        )
    if vlan and bridge.kind == "linux" and not bridge.tags_vlans:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"bridge '{name}' of host '{on.host}' is a Linux bridge: its libvirt cannot put VMs into VLAN {vlan} there",
            "use an Open vSwitch bridge, libvirt 11.0 or newer with a VLAN-aware bridge, or a bridge of the host's for "
            "each VLAN",
            host=on.host,
        )
    return bridge.kind == "other" or (bridge.kind == "unknown" and bool(vlan))
