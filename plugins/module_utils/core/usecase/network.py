# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks brought to what the task says, on every host that is to have them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Callable

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code
from ..model.network import HostNetwork
from ..model.network_spec import NetworkSpec
from ..model.network_view import diff_view, network_view
from ..model.outcome import Outcome
from ..model.plan_parts import Plan, Step
from ..model.resources import BridgeFacts, NetworkFacts, NetworkState
from ..model.values import now_text
from ..plan import network as plans
from ..plan.network import NetworkRequest, in_use, plan_network
from ..plan.network_design import host_bridge
from ..plan.steps import Release, Reserve
from .infrastructure import Errors, Infrastructure, raise_first, those_down, tolerated
from .network_lookup import network_on


@dataclass(frozen=True)
class _Found:
    """What was read of one host: the network, the others' ranges and bridges with their names, the wanted bridge."""

    on: HostNetwork
    others: tuple[tuple[str, str], ...]
    bridges: Mapping[str, str]
    bridge: BridgeFacts | None = None


def apply_network(infra: Infrastructure, spec: NetworkSpec) -> Outcome:
    """Brings the network into the state that `spec` wants; `network` in the result is as INTERFACE 5 has it."""
    hosts = infra.selected(zone=spec.zone, hosts=spec.hosts)
    found, lost = _look(infra, spec, hosts)
    if spec.state == "absent":
        _require(spec, lost)
    planned = _plan(infra, spec, found)
    for plan in planned.values():
        for refusal in plan.refusals:
            raise refusal
    before = network_view(here.on for here in found.values())
    rows = [replace(here.on, state=planned[name].predicted) for name, here in found.items()]
    changed = any(plan.steps for plan in planned.values())
    if changed and not infra.check:
        _carry_out(infra, planned)
        rows = [here.on for here in _look(infra, spec, [infra.catalog.host(name) for name in found])[0].values()]
    after = network_view(rows)
    warnings = [text for plan in planned.values() for text in plan.warnings]
    warnings += tolerated(infra.catalog, lost, f"network '{spec.name}'", changed, "was left out")
    warnings += [_different(spec.name, entry) for entry in after.get("differences", ())]
    result = {"network": after, "changes": _changes(planned), "restart_required": bool(after.get("pending"))}
    # of a bridge that libvirt names, nobody knows the name beforehand
    chosen = any(plan.predicted and not plan.predicted.stored.bridge for plan in planned.values())
    return Outcome(changed, diff_view(before), diff_view(after, chosen), result, tuple(warnings))


def _plan(infra: Infrastructure, spec: NetworkSpec, found: dict[str, _Found]) -> dict[str, Plan[NetworkState]]:
    """One plan a host, all made before anything is done anywhere."""
    like = _like(found.values())
    network_id = like.id if like else _id_elsewhere(infra, spec, found) or str(uuid.uuid4())
    now = now_text()
    found = _with_bridges(infra, spec, found, like)
    return {
        name: plan_network(NetworkRequest(spec, here.on, network_id, now, here.others, here.bridge, like, here.bridges))
        for name, here in found.items()
    }


def _id_elsewhere(infra: Infrastructure, spec: NetworkSpec, found: Mapping[str, _Found]) -> str:
    """The id of the network on a host that this task does not name: it is the same on all of them."""
    others = [host for host in infra.catalog.hosts if host.name not in found and host.state == "enabled"]
    if spec.state == "absent" or not others:
        return ""
    there, _lost = infra.on_hosts(lambda host: host.network(spec.name), others)
    return next((network.id for network in there.values() if network and network.managed), "")


def _like(found: Iterable[_Found]) -> NetworkFacts | None:
    """The network of the first host that has it, without what only VMs of that host have in it."""
    for here in found:
        if here.on.state and here.on.state.stored.managed:
            return replace(here.on.state.stored, reservations=here.on.by_hand)
    return None


def _with_bridges(
    infra: Infrastructure, spec: NetworkSpec, found: dict[str, _Found], like: NetworkFacts | None
) -> dict[str, _Found]:
    """The same with the hosts' bridges, where a network is to be on one that it is not on yet."""
    wanted: dict[str, str] = {}
    for name, here in found.items():
        stored = here.on.state.stored if here.on.state else None
        bridge = "" if spec.state == "absent" else host_bridge(spec, stored or like)
        vlan = spec.vlan if isinstance(spec.vlan, int) else stored.vlan if stored else 0
        same = stored and stored.forward == "bridge" and (stored.bridge, stored.vlan) == (bridge, vlan)
        if bridge and not same:
            wanted[name] = bridge
    if not wanted:
        return found
    specs = [infra.catalog.host(name) for name in wanted]
    bridges, errors = infra.on_hosts(lambda host: host.bridge(wanted[host.spec.name]), specs)
    raise_first(errors)
    return {name: replace(here, bridge=bridges.get(name)) for name, here in found.items()}


def _look(infra: Infrastructure, spec: NetworkSpec, hosts: Iterable[HostSpec]) -> tuple[dict[str, _Found], Errors]:
    """The network on every host that can be reached; the others with their errors, unless there are only such."""
    found, errors = infra.on_hosts(lambda host: _on_host(host, spec), hosts)
    return found, those_down(found, errors)


def _on_host(host: Host, spec: NetworkSpec) -> _Found:
    states = host.network_states()
    ranges = {
        (state.name, cidr): None
        for state in states
        for facts in (state.stored, state.live)
        if state.name != spec.name and facts and facts.serves
        for cidr in (facts.cidr, facts.cidr6)
        if cidr
    }
    bridges = {
        facts.bridge: state.name
        for state in states
        for facts in (state.stored, state.live)
        if state.name != spec.name and facts and facts.bridge
    }
    return _Found(network_on(host, spec.name, states), tuple(ranges), bridges)


def _carry_out(infra: Infrastructure, planned: Mapping[str, Plan[NetworkState]]) -> None:
    """Each host's steps, on all hosts at once; fails when they all are through."""
    specs = [infra.catalog.host(name) for name, plan in planned.items() if plan.steps]
    raise_first(infra.on_hosts(lambda host: _execute(host, planned[host.spec.name].steps), specs)[1])


def _different(name: str, entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['field']} of network '{name}' is {entry['value']!r} on host '{entry['host']}' and"
        f" {entry['expected']!r} elsewhere: give it with the task to make it the same"
    )


def _execute(host: Host, steps: Iterable[Step]) -> None:
    made = stopped = ""
    for done, step in enumerate(steps):
        try:
            _DO[type(step)](host, step)
            made = step.facts.name if isinstance(step, plans.DefineNetwork) else made
            stopped = step.name if isinstance(step, plans.StopNetwork) else stopped
        except AblestackError as error:
            if made and isinstance(step, plans.StartNetwork):
                _take_back(host, made)
            if stopped and isinstance(step, plans.UndefineNetwork):
                with suppress(AblestackError):  # it stays, and so do those who use it
                    host.start_network(stopped)
            error.details = {**error.details, "step": type(step).__name__, "steps_done": done, "host": host.spec.name}
            raise


def _take_back(host: Host, name: str) -> None:
    """A network that was just made and does not start is no use to anybody; the error that follows says why."""
    with suppress(AblestackError):
        now = network_on(host, name, host.network_states())
        if now.state and now.state.live is None and not now.vms:
            host.undefine_network(name)


def _define(host: Host, step: plans.DefineNetwork) -> None:
    try:
        host.define_network(step.facts)
    except AblestackError as error:
        if error.code is not Code.ALREADY_EXISTS:
            raise
        raise AblestackError(
            Code.CONFLICT,
            f"somebody else made a network '{step.facts.name}' on host '{host.spec.name}' at the same time",
            "run the task again: it will find that one",
        ) from error


def _stop(host: Host, step: plans.StopNetwork) -> None:
    """Looks again first: a VM may have been started since the plan was made."""
    now = network_on(host, step.name, host.network_states())
    if now.running:
        raise in_use(now, step.name, now.running, "restarted")
    host.stop_network(step.name)


def _undefine(host: Host, step: plans.UndefineNetwork) -> None:
    now = network_on(host, step.name, host.network_states())
    if now.vms:
        raise in_use(now, step.name, now.vms, "deleted")
    if now.state and now.state.live:  # somebody who could not delete it has started it again
        host.stop_network(step.name)
    host.undefine_network(step.name)


_DO: dict[type, Callable[[Host, Any], None]] = {
    plans.DefineNetwork: _define,
    plans.RedefineNetwork: lambda host, step: host.redefine_network(step.before, step.after),
    plans.SetNetworkAutostart: lambda host, step: host.set_network_autostart(step.name, step.on),
    plans.StartNetwork: lambda host, step: host.start_network(step.name),
    plans.StopNetwork: _stop,
    plans.UndefineNetwork: _undefine,
    plans.SetDhcpRange: lambda host, step: host.set_dhcp_range(step.name, step.start, step.end),
    plans.SetDnsRecords: lambda host, step: host.set_dns_records(step.name, step.records),
    Reserve: lambda host, step: host.reserve(step.network, step.reservation),
    Release: lambda host, step: host.release(step.network, step.mac),
}


def _changes(planned: Mapping[str, Plan[NetworkState]]) -> list[dict[str, Any]]:
    return [{"host": name, **change.as_dict()} for name, plan in planned.items() for change in plan.changes]


def _require(spec: NetworkSpec, lost: Errors) -> None:
    """HostUnavailable for a host that cannot be asked whether its VMs use the network."""
    for name, error in lost.items():
        raise AblestackError(
            Code.HOST_UNAVAILABLE,
            f"host '{name}' cannot be asked whether it uses network '{spec.name}': {error.message}",
            "bring it back, leave it out of hosts, or take it out of the catalog",
            host=name,
        )
