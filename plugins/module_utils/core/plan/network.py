# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for a network to be as wanted on one host (SEMANTICS 7): nobody who uses it is cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..model.errors import AblestackError, Code
from ..model.network import HostNetwork
from ..model.network_spec import NetworkSpec
from ..model.plan_parts import LIVE, RESTART, Change, Plan, Step
from ..model.resources import BridgeFacts, DnsRecord, NetworkFacts, NetworkState, Reservation
from .network_design import check_reservations, design, refuse_taken_bridge
from .steps import Release, Reserve

DHCP = ("dhcp_start", "dhcp_end")


@dataclass(frozen=True)
class NetworkRequest:
    """One host's plan input. `like` is the network as another host has it, for a host that lacks it.

    `others` are the ranges of the host's other networks, pairs of name and range; `id` and `now` are drawn for a
    network to be made; `bridge` is the bridge of the host's that is wanted, None where that is missing. `bridges` are
    those of the host's other networks, with their names.
    """

    spec: NetworkSpec
    on: HostNetwork
    id: str
    now: str
    others: tuple[tuple[str, str], ...] = ()
    bridge: BridgeFacts | None = None
    like: NetworkFacts | None = None
    bridges: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DefineNetwork(Step):
    """Writes the definition of a new network."""

    facts: NetworkFacts


@dataclass(frozen=True)
class RedefineNetwork(Step):
    """Edits the stored definition."""

    before: NetworkFacts
    after: NetworkFacts


@dataclass(frozen=True)
class SetNetworkAutostart(Step):
    """Whether the host starts it at boot."""

    name: str
    on: bool


@dataclass(frozen=True)
class StartNetwork(Step):
    """Starts it as it is stored."""

    name: str


@dataclass(frozen=True)
class StopNetwork(Step):
    """Stops it, once it is certain that no running VM uses it."""

    name: str


@dataclass(frozen=True)
class UndefineNetwork(Step):
    """Removes the definition, once it is certain that no VM uses it."""

    name: str


@dataclass(frozen=True)
class SetDhcpRange(Step):
    """Changes the range that DHCP hands out, live and stored."""

    name: str
    start: str
    end: str


@dataclass(frozen=True)
class SetDnsRecords(Step):
    """Replaces the DNS records, live and stored."""

    name: str
    records: tuple[DnsRecord, ...]


def plan_network(request: NetworkRequest) -> Plan[NetworkState]:
    """The plan for one host. Raises what is wrong with the input; what users of the network forbid is a refusal."""
    state = request.on.state
    if state is not None and not state.stored.managed:
        raise not_managed(request.on)
    if request.spec.state == "absent":
        return _absent(request.on)
    if state is None:
        return _made(request)
    return _changed(request, state)


def not_managed(on: HostNetwork) -> AblestackError:
    """Said before anything is done to a network that is not ours."""
    return AblestackError(
        Code.NOT_MANAGED,
        f"network '{on.state.name if on.state else ''}' on host '{on.host}' was not made by this collection",
        "VMs can use it as it is; to change it use the tool that made it, or make a network of another name",
    )


def in_use(on: HostNetwork, name: str, vms: tuple[str, ...], what: str) -> AblestackError:
    """Said before anybody is cut off."""
    return AblestackError(
        Code.IN_USE,
        f"network '{name}' on host '{on.host}' is not {what} while it is used by {', '.join(vms)}",
        "stop these VMs, or move them to another network, first"
        if what == "restarted"
        else "expunge these VMs, or move them to another network, first",
        vms=list(vms),
        host=on.host,
    )


def _absent(on: HostNetwork) -> Plan[NetworkState]:
    state = on.state
    if state is None:
        return Plan()
    if on.vms:
        return Plan(refusals=(in_use(on, state.name, on.vms, "deleted"),), predicted=state)
    steps: tuple[Step, ...] = (StopNetwork(state.name),) if state.live else ()
    return Plan((Change("state", _power(state), None),), (*steps, UndefineNetwork(state.name)))


def _made(request: NetworkRequest) -> Plan[NetworkState]:
    """Defined first, which is what a killed run leaves behind; started last."""
    facts = design(request.spec, None, request.like, request.bridge, request.on, request.others)
    refuse_taken_bridge(request.spec, facts, request.on.host, request.bridges)
    record = facts.record
    facts = replace(facts, id=request.id, record=replace(record, created=request.now) if record else None)
    autostart = bool(record and record.autostart)
    steps: list[Step] = [DefineNetwork(facts)]
    steps += [SetNetworkAutostart(facts.name, True)] if autostart else []
    steps.append(StartNetwork(facts.name))
    facts = replace(facts, active=True)
    return Plan((Change("network", None, facts.name),), tuple(steps), predicted=NetworkState(facts, facts, autostart))


def _changed(request: NetworkRequest, state: NetworkState) -> Plan[NetworkState]:
    wanted = design(request.spec, state.stored, request.like, request.bridge, request.on, request.others)
    refuse_taken_bridge(request.spec, wanted, request.on.host, request.bridges)
    check_reservations(wanted, state.stored, request.on)
    steps = _edits(request, state, wanted)
    live = _as_live(state, wanted)
    autostart = bool(wanted.record and wanted.record.autostart)
    if autostart != state.autostart:
        steps.append(SetNetworkAutostart(state.name, autostart))
    after = NetworkState(wanted, live, autostart)
    changes = [*_differences(state, after)]
    refusals: tuple[AblestackError, ...] = ()
    if live is None:
        steps.append(StartNetwork(state.name))
        changes.append(Change("state", _power(state), "Active"))
        after = NetworkState(replace(wanted, active=True), replace(wanted, active=True), autostart)
    elif after.pending and request.spec.state == "restarted":
        if request.on.running:
            refusals = (in_use(request.on, state.name, request.on.running, "restarted"),)
        steps += [StopNetwork(state.name), StartNetwork(state.name)]
        changes = changes or [Change("pending", list(after.pending), [], RESTART)]
        after = NetworkState(wanted, wanted, autostart)
    return Plan(tuple(changes), tuple(steps), refusals, after, _waiting(request, after))


def _waiting(request: NetworkRequest, after: NetworkState) -> tuple[str, ...]:
    if not after.pending:
        return ()
    users = f", which is used by {', '.join(request.on.running)}" if request.on.running else ""
    return (
        f"{', '.join(after.pending)} of network '{after.name}' on host '{request.on.host}'{users}:"
        " stored, and in effect after 'state: restarted'",
    )


def _edits(request: NetworkRequest, state: NetworkState, wanted: NetworkFacts) -> list[Step]:
    """What libvirt changes live is changed in both definitions; the rest in the stored one."""
    stored, live = state.stored, state.live
    if not _live_dhcp(state, wanted):
        return [] if _unordered(wanted) == _unordered(stored) else [RedefineNetwork(stored, wanted)]
    kept = {name: getattr(stored, name) for name in (*DHCP, "reservations", "dns_records")}
    definition = replace(wanted, **kept)
    steps: list[Step] = [] if definition == stored else [RedefineNetwork(stored, definition)]
    present = [one for one in (stored, live) if one]
    if any((one.dhcp_start, one.dhcp_end) != (wanted.dhcp_start, wanted.dhcp_end) for one in present):
        steps.append(SetDhcpRange(wanted.name, wanted.dhcp_start, wanted.dhcp_end))
    steps += _reservation_steps(request, present, wanted)
    if any(set(one.dns_records) != set(wanted.dns_records) for one in present):
        steps.append(SetDnsRecords(wanted.name, wanted.dns_records))
    return steps


def _unordered(facts: NetworkFacts) -> NetworkFacts:
    """Reservations and records have no order that matters."""
    rows = sorted(facts.reservations, key=lambda row: row.mac)
    return replace(
        facts, reservations=tuple(rows), dns_records=tuple(sorted(facts.dns_records, key=lambda row: row.ip))
    )


def _reservation_steps(request: NetworkRequest, present: list[NetworkFacts], wanted: NetworkFacts) -> list[Step]:
    """First what goes or stands in the way of another, then what comes."""
    if not isinstance(request.spec.reservations, tuple):
        return []
    fixed = {address.mac for address in request.on.fixed}
    to_be = {row.mac: row for row in wanted.reservations if row.mac not in fixed}
    current = request.on.by_hand
    moved = [row for row in current if row.mac in to_be and to_be[row.mac] != row]
    blocking = {row.mac for row in moved if any(_clash(row, new) for new in to_be.values() if new.mac != row.mac)}
    released = [row.mac for row in current if row.mac not in to_be or row.mac in blocking]
    steps: list[Step] = [Release(wanted.name, mac) for mac in released]
    for row in to_be.values():
        if row.mac in released or any(row not in one.reservations for one in present):
            steps.append(Reserve(wanted.name, row))
    return steps


def _clash(one: Reservation, other: Reservation) -> bool:
    return one.ip == other.ip or bool(one.name and one.name == other.name)


def _live_dhcp(state: NetworkState, wanted: NetworkFacts) -> bool:
    """Whether both definitions have the wanted address already, so that its DHCP and DNS can be changed in both."""
    own = (wanted.forward, wanted.cidr, wanted.gateway)
    present = [one for one in (state.stored, state.live) if one]
    return wanted.serves and all((one.forward, one.cidr, one.gateway) == own for one in present)


def _as_live(state: NetworkState, wanted: NetworkFacts) -> NetworkFacts | None:
    """What runs after the live changes."""
    live = state.live
    if live is None:
        return None
    names: tuple[str, ...] = (*DHCP, "reservations", "dns_records") if _live_dhcp(state, wanted) else ()
    if not live.serves and not wanted.serves:
        names = ("cidr", "gateway", "dns_servers")  # kept in the record
    return replace(live, record=wanted.record, **{name: getattr(wanted, name) for name in names})


def _power(state: NetworkState) -> str:
    return "Active" if state.live else "Inactive"


def _differences(before: NetworkState, after: NetworkState) -> list[Change]:
    """One change an option. What is stored already and still has to come true live counts too."""
    changes = []
    old, new = _options(before.stored, before), _options(after.stored, after)
    running = _options(before.live, before) if before.live else old
    now = _options(after.live, after) if after.live else new
    for path, value in new.items():
        later = path in after.pending or now[path] != value
        if old[path] != value:
            changes.append(Change(path, old[path], value, RESTART if later else LIVE))
        elif running[path] != now[path]:
            changes.append(Change(path, running[path], value, LIVE))
    return changes


def _options(facts: NetworkFacts, state: NetworkState) -> dict[str, object]:
    """A definition as the options that describe it."""
    record = facts.record
    return {
        "type": NetworkState(facts).type,
        "cidr": facts.cidr,
        "gateway": facts.gateway,
        "dhcp_start": facts.dhcp_start,
        "dhcp_end": facts.dhcp_end,
        "ip6_cidr": facts.cidr6,
        "ip6_gateway": facts.gateway6,
        "dns_servers": list(facts.dns_servers),
        "domain": facts.domain,
        "bridge": facts.bridge,
        "vlan": facts.vlan,
        "mtu": facts.mtu,
        "reservations": sorted([row.mac, row.ip, row.name] for row in facts.reservations),
        "dns_records": sorted([row.ip, list(row.names)] for row in facts.dns_records),
        "autostart": state.autostart,
        "labels": dict(record.labels) if record else {},
    }
