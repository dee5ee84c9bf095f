# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other VMs mean for a VM's place: members of its affinity groups, wherever they are, and the room left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..hypervisor.port import Host
from ..model.catalog import Catalog, HostSpec
from ..model.errors import AblestackError, Code
from ..model.vm import Mark, Phase, VmFacts
from ..plan.placement import Candidate, Demand, Picture, affinity_conflict, place, unwanted
from .infrastructure import Infrastructure
from .query import every_vm

_BINDS_EVERYWHERE = "host-affinity"


def count_members(
    infra: Infrastructure, groups: tuple[str, ...], asked: Iterable[HostSpec], without: VmFacts | None
) -> tuple[dict[str, dict[str, int]], dict[str, AblestackError]]:
    """How many VMs of each group are on each host, running or not, and why others could not be asked.

    Strict host-affinity binds from any host of the catalog, also one that could not have the VM: all are asked then,
    else those in `asked`.
    """
    if not groups:
        return {}, {}
    everywhere = any(infra.catalog.affinity_group(name).type == _BINDS_EVERYWHERE for name in groups)
    return infra.on_hosts(lambda host: _members(host, groups, without), infra.catalog.hosts if everywhere else asked)


def _members(host: Host, groups: tuple[str, ...], without: VmFacts | None) -> dict[str, int]:
    count = dict.fromkeys(groups, 0)
    others = tuple(ref for ref in host.domains() if without is None or ref.id != without.id)
    # The record is the same in both definitions, so that one of them will do.
    for vm in every_vm(host, others, host.glances):
        if vm.record and vm.exists:
            for group in groups:
                count[group] += group in vm.record.affinity_groups
    return count


def require_counted(
    candidates: Iterable[Candidate],
    groups: tuple[str, ...],
    unasked: Mapping[str, AblestackError],
    catalog: Catalog,
) -> None:
    """HostUnavailable where a strict host-affinity group may be on a host that could not be asked.

    It is not where another host has members: a group that is kept together is on one host.
    """
    candidates = tuple(candidates)
    for group in groups:
        if catalog.affinity_group(group).type != _BINDS_EVERYWHERE:
            continue
        if any(candidate.members.get(group) for candidate in candidates):
            continue
        for name, error in unasked.items():
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"host '{name}' cannot be asked whether it has VMs of affinity group '{group}': {error.message}",
                "bring the host back, or take it out of the catalog",
                host=name,
            )


def require_place(infra: Infrastructure, before: VmFacts | None, after: VmFacts | None, picture: Picture) -> None:
    """Of a VM that stays on its host: AffinityConflict where it joins a group that forbids that host, and
    InsufficientCapacity where it is to be started there without room (SEMANTICS 2.8, 9.17).
    """
    if before is None or after is None or not after.exists:
        return
    had = before.record.affinity_groups if before.record and before.exists else ()
    groups = after.record.affinity_groups if after.record else ()
    _require_peace(infra, after, tuple(name for name in groups if name not in had), picture)
    # A start that a killed run still owes to a VM that ran is no new load.
    mark = before.record.mark if before.record else Mark()
    owed = mark.phase is Phase.RESTARTING or (mark.phase is Phase.REINSTALLING and mark.runs)
    if after.is_active and not before.is_active and not owed:
        _require_room(infra, after, picture)


def _require_peace(infra: Infrastructure, vm: VmFacts, joined: tuple[str, ...], picture: Picture) -> None:
    catalog = infra.catalog
    # A destroyed VM may be of a group that the catalog has no more, which binds nobody.
    joined = tuple(name for name in joined if name in catalog.affinity_groups)
    if not joined:
        return
    counted, unasked = count_members(infra, joined, (vm.host,), vm)
    if vm.host.name in unasked:
        raise unasked[vm.host.name]
    candidates = {host.name: Candidate(host, members=counted.get(host.name, {})) for host in catalog.hosts}
    candidates = {name: picture.candidate(candidate) for name, candidate in candidates.items()}
    require_counted(candidates.values(), joined, unasked, catalog)
    conflict = affinity_conflict(candidates[vm.host.name], tuple(candidates.values()), joined, catalog)
    if conflict:
        raise AblestackError(
            conflict.code,
            f"VM '{vm.name}' is on a host where it cannot be of that group: {conflict.message}",
            "move it or the others first with ablestack_vm_migrate, or leave the group out",
        )


def _require_room(infra: Infrastructure, vm: VmFacts, picture: Picture) -> None:
    catalog, home = infra.catalog, vm.host
    if catalog.implicit:
        return
    # Where new VMs are not welcome, those that are there may still be started.
    own = Candidate(replace(home, state="enabled"), infra.host(home.name).facts())
    demand = Demand(vm.config.cpu, vm.config.memory)
    try:
        place((picture.candidate(own),), demand, catalog)
    except AblestackError as error:
        roomier = _roomier(infra, vm, picture)
        raise AblestackError(
            error.code,
            f"VM '{vm.name}' cannot be started: {error.message.partition(': ')[2]}",
            f"host '{roomier}' has the room: start it there with host: {roomier}"
            if roomier
            else "stop others there, or raise the overprovisioning or the capacity_threshold of the catalog",
            **{**error.details, "roomier": roomier},
        ) from error


def _roomier(infra: Infrastructure, vm: VmFacts, picture: Picture) -> str:
    """The host of its cluster that would be chosen for it by load, tags and affinity; empty where there is none."""
    catalog, home = infra.catalog, vm.host
    groups = tuple(name for name in (vm.record.affinity_groups if vm.record else ()) if name in catalog.affinity_groups)
    others = [spec for spec in catalog.hosts if spec.name != home.name and spec.state == "enabled"]
    others = [spec for spec in others if not unwanted(spec, zone=home.zone, pod=home.pod, cluster=home.cluster)]
    found, _errors = infra.on_hosts(lambda host: host.facts(), others)
    counted, unasked = count_members(infra, groups, others, vm)
    candidates = tuple(
        picture.candidate(Candidate(spec, found.get(spec.name), None, counted.get(spec.name, {}))) for spec in others
    )
    offering = catalog.compute_offerings.get(vm.record.compute_offering if vm.record else "")
    tags = offering.host_tags if offering else ()
    try:
        require_counted(candidates, groups, unasked, catalog)
        return place(candidates, Demand(vm.config.cpu, vm.config.memory, tags, groups), catalog).host
    except AblestackError:
        return ""
