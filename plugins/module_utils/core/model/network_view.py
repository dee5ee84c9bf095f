# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network as results show it (INTERFACE 5): what it is on its hosts, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from .network import HostNetwork
from .resources import NetworkFacts, NetworkState
from .values import UNKNOWN, seconds_text

_NOT_IN_DIFF = ("id", "vms", "leases", "created", "managed", "differences")


def network_view(rows: Iterable[HostNetwork]) -> dict[str, Any]:
    """One network from what it is on each host; empty where no host has it.

    What the hosts have in common is shown as the first of them has it; `differences` tells where others differ.
    """
    found = [row for row in rows if row.state]
    if not found:
        return {}
    state = found[0].state
    if state is None:
        return {}
    return {
        "name": state.name,
        "id": state.stored.id or UNKNOWN,
        "type": state.type,
        "state": "Active" if all(row.state and row.state.live for row in found) else "Inactive",
        **_properties(state),
        "bridge": state.stored.bridge or UNKNOWN,
        "hosts": [row.host for row in found],
        "vms": sorted({vm for row in found for vm in row.vms}),
        "reservations": [entry for row in found for entry in _reservations(row)],
        "leases": [entry for row in found for entry in _leases(row)],
        "differences": [entry for row in found[1:] for entry in _differences(found[0], row)],
        "pending": sorted({name for row in found if row.state for name in row.state.pending}),
        "created": (state.stored.record.created or UNKNOWN) if state.stored.record else "",
        "managed": state.stored.managed,
    }


def diff_view(view: dict[str, Any], chosen: bool = False) -> dict[str, Any]:
    """The part a diff shows: what is configured. `chosen` says that libvirt chooses the bridge in this run."""
    shown = {key: value for key, value in view.items() if key not in _NOT_IN_DIFF}
    if shown and chosen:
        shown["bridge"] = UNKNOWN
    return shown


def _properties(state: NetworkState) -> dict[str, Any]:
    """What has to be the same on all hosts."""
    facts = state.stored
    return {
        "cidr": facts.cidr,
        "gateway": facts.gateway,
        "dhcp_start": facts.dhcp_start,
        "dhcp_end": facts.dhcp_end,
        "ip6_cidr": facts.cidr6,
        "ip6_gateway": facts.gateway6,
        "dns_servers": list(facts.dns_servers),
        "dns_records": _dns_records(facts),
        "domain": facts.domain,
        "vlan": facts.vlan,
        "mtu": facts.mtu,
        "autostart": state.autostart,
        "labels": dict(facts.record.labels) if facts.record else {},
    }


def _differences(first: HostNetwork, other: HostNetwork) -> list[dict[str, Any]]:
    if first.state is None or other.state is None:
        return []
    expected, own = _compared(first, first.state), _compared(other, other.state)
    return [
        {"host": other.host, "field": name, "value": own[name], "expected": expected[name]}
        for name in expected
        if own[name] != expected[name]
    ]


def _compared(row: HostNetwork, state: NetworkState) -> dict[str, Any]:
    """A bridge of libvirt's own has another name on every host, and VMs' addresses are where the VMs are."""
    on_host = state.stored.bridge if state.stored.forward == "bridge" else ""
    by_hand = sorted([entry.mac, entry.ip, entry.name] for entry in row.by_hand)
    return {
        "type": state.type,
        "state": "Active" if state.live else "Inactive",
        **_properties(state),
        "bridge": on_host,
        "reservations": by_hand,
    }


def _dns_records(facts: NetworkFacts) -> list[dict[str, Any]]:
    return [
        {"ip": row.ip, "names": list(row.names)} for row in sorted(facts.dns_records, key=lambda row: _order(row.ip))
    ]


def _reservations(row: HostNetwork) -> list[dict[str, Any]]:
    """All of them, by address; `vm` is empty for one that was made by hand."""
    if row.state is None:
        return []
    owners = {address.mac: address.vm for address in row.fixed}
    entries = sorted(row.state.stored.reservations, key=lambda entry: _order(entry.ip))
    return [
        {"mac": entry.mac, "ip": entry.ip, "name": entry.name, "vm": owners.get(entry.mac, ""), "host": row.host}
        for entry in entries
    ]


def _leases(row: HostNetwork) -> list[dict[str, Any]]:
    leases = sorted(row.leases, key=lambda lease: _order(lease.ip))
    return [
        {"mac": one.mac, "ip": one.ip, "hostname": one.hostname, "expires": _moment(one.expires), "host": row.host}
        for one in leases
    ]


def _moment(seconds: int) -> str:
    return seconds_text(seconds) if seconds else ""


def _order(ip: str) -> tuple[int, int]:
    """Addresses sort as numbers; one that is none comes last."""
    try:
        address = ip_address(ip)
    except ValueError:
        return 9, 0
    return address.version, int(address)
