# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the host of a new VM and says of every host why (SEMANTICS 2.8), seeing what others of the run will take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..model.catalog import Catalog, HostSpec, Settings
from ..model.errors import AblestackError, Code
from ..model.plan_parts import Plan
from ..model.resources import HostFacts
from ..model.values import Maybe
from ..model.vm import VmFacts
from .request import Site, VmRequest
from .steps import CloneVolume, CreateVolume, DeleteVolume


@dataclass(frozen=True)
class Demand:
    """What a VM needs of its host: CPUs, MiB, tags, affinity groups. `named` is the host the user insists on; those of
    `data_on` have its data disks already.
    """

    cpu: int
    memory: int
    host_tags: tuple[str, ...] = ()
    affinity_groups: tuple[str, ...] = ()
    named: str = ""
    data_on: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """A host as surveyed. `lacking` is why it cannot have the VM whatever its load; `members` counts by group.

    `unwanted` is why nobody asked for it: such a host is not surveyed, but members there bind all the same.
    """

    spec: HostSpec
    facts: HostFacts | None = None
    lacking: AblestackError | None = None
    members: Mapping[str, int] = field(default_factory=dict)
    unwanted: str = ""


@dataclass(frozen=True)
class Placement:
    """The chosen host, why, and why not the others: pairs of host and reason."""

    host: str
    reason: str
    rejected: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, object]:
        """As `placement` of a result shows it."""
        return {
            "host": self.host,
            "reason": self.reason,
            "rejected": [{"host": host, "reason": reason} for host, reason in self.rejected],
        }


def place(candidates: tuple[Candidate, ...], demand: Demand, catalog: Catalog, draw: float = 0.0) -> Placement:
    """The host for the demand. `draw` (0 <= draw < 1) decides under the rule `random` and nowhere else.

    Raises the error of the host that came furthest when none suits, with every host's reason in its details.
    """
    rejected: list[tuple[str, str]] = []
    errors: list[AblestackError] = []
    suitable: list[Candidate] = []
    for candidate in candidates:
        if candidate.unwanted:
            rejected.append((candidate.spec.name, candidate.unwanted))
            continue
        error = _unfit(candidate, demand) or affinity_conflict(candidate, candidates, demand.affinity_groups, catalog)
        if error is None and not catalog.implicit:
            error = _capacity(candidate, demand, catalog.settings)
        if error is None:
            suitable.append(candidate)
            continue
        rejected.append((candidate.spec.name, error.message))
        errors.append(error)
    if not suitable:
        raise _nowhere(errors, demand, rejected)
    chosen, reason = _choose(suitable, demand, catalog, draw)
    for candidate in suitable:
        if candidate is not chosen:
            rejected.append((candidate.spec.name, f"suitable, but {reason}"))
    order = {candidate.spec.name: position for position, candidate in enumerate(candidates)}
    rejected.sort(key=lambda row: order[row[0]])
    return Placement(chosen.spec.name, reason, tuple(rejected))


_ROOM = "free some capacity, add hosts, or relax the placement"
_PART = "add hosts, leave the group out, or give it a non-strict type"
# How far a host came before it was rejected; the last one's code is the whole placement's.
_RANK = [
    *(code for code in Code if code not in (Code.NOT_FOUND, Code.AFFINITY_CONFLICT, Code.INSUFFICIENT_CAPACITY)),
    Code.NOT_FOUND,
    Code.AFFINITY_CONFLICT,
    Code.INSUFFICIENT_CAPACITY,
]


def _unfit(candidate: Candidate, demand: Demand) -> AblestackError | None:
    spec = candidate.spec
    if spec.state != "enabled":
        return AblestackError(
            Code.INVALID_STATE,
            f"host '{spec.name}' is {'disabled' if spec.state == 'disabled' else 'in maintenance'}",
            "choose another host, or set its state to enabled in the catalog",
        )
    missing = [tag for tag in demand.host_tags if tag not in spec.tags]
    if missing:
        return AblestackError(
            Code.INSUFFICIENT_CAPACITY,
            f"host '{spec.name}' has no tag {', '.join(missing)}",
            "choose another compute offering, or give a host its host_tags in the catalog",
        )
    return candidate.lacking


def unwanted(spec: HostSpec, named: str = "", **place: Maybe[str] | str) -> str:
    """Why a host is out of the question for who asks for that host, or for that zone, pod and cluster; else empty."""
    if named and spec.name != named:
        return f"host '{spec.name}' is not the host that was asked for"
    for what, wanted in place.items():
        own = getattr(spec, what)
        if wanted and own != wanted:
            return f"host '{spec.name}' is in {what} '{own}', not '{wanted}'"
    return ""


def affinity_conflict(
    candidate: Candidate, candidates: tuple[Candidate, ...], groups: tuple[str, ...], catalog: Catalog
) -> AblestackError | None:
    """Which strict group forbids the host. Members count on every host, also on one that could not have the VM."""
    for name in groups:
        group = catalog.affinity_group(name)
        here = candidate.members.get(name, 0)
        if group.type == "host-anti-affinity" and here:
            return AblestackError(
                Code.AFFINITY_CONFLICT,
                f"host '{candidate.spec.name}' already has {here} of anti-affinity group '{name}'",
                _PART,
            )
        elsewhere = sorted(other.spec.name for other in candidates if other.members.get(name, 0))
        if group.type == "host-affinity" and elsewhere and not here:
            return AblestackError(
                Code.AFFINITY_CONFLICT,
                f"host '{candidate.spec.name}' has none of affinity group '{name}', which is on {', '.join(elsewhere)}",
                _PART,
            )
    return None


def _capacity(candidate: Candidate, demand: Demand, settings: Settings) -> AblestackError | None:
    facts = candidate.facts
    if facts is None:
        return AblestackError(Code.HOST_UNAVAILABLE, f"the size of host '{candidate.spec.name}' is not known", _ROOM)
    for what, share in zip(("CPU", "memory"), _shares(facts, demand, settings)):
        if share > settings.capacity_threshold:
            return AblestackError(
                Code.INSUFFICIENT_CAPACITY,
                f"host '{candidate.spec.name}' would have {share:.0%} of its {what} given out,"
                f" above the threshold of {settings.capacity_threshold:.0%}",
                _ROOM,
            )
    return None


def _shares(facts: HostFacts, demand: Demand, settings: Settings) -> tuple[float, float]:
    """The shares of CPU and memory that would be given out with the VM on the host."""
    cpus = facts.cpus * settings.cpu_overprovisioning
    memory = facts.memory * settings.memory_overprovisioning
    return (facts.used_cpus + demand.cpu) / cpus, (facts.used_memory + demand.memory) / memory


def _choose(suitable: list[Candidate], demand: Demand, catalog: Catalog, draw: float) -> tuple[Candidate, str]:
    if demand.named:
        return suitable[0], f"host '{demand.named}' was asked for"
    having = [candidate for candidate in suitable if candidate.spec.name in demand.data_on]
    if len(having) == 1 < len(suitable):
        return having[0], f"'{having[0].spec.name}' has the data disks already"
    suitable = having or suitable
    liked = [candidate for candidate in suitable if _dislikes(candidate, demand, catalog) == 0]
    if len(suitable) > 1 and not liked:
        fewest = min(_dislikes(candidate, demand, catalog) for candidate in suitable)
        liked = [candidate for candidate in suitable if _dislikes(candidate, demand, catalog) == fewest]
    pool = liked or suitable
    if len(pool) == 1:
        name = pool[0].spec.name
        return pool[0], f"'{name}' is the only suitable host" if len(
            suitable
        ) == 1 else f"'{name}' suits the affinity best"
    rule = catalog.settings.allocation
    if rule == "random":
        chosen = pool[int(draw * len(pool))]
    elif rule == "first-fit":
        chosen = pool[0]
    else:
        sign = 1 if rule == "least-used" else -1
        chosen = min(pool, key=lambda candidate: sign * _load(candidate, demand, catalog.settings))
    return chosen, f"'{chosen.spec.name}' was chosen by the rule {rule}"


def _load(candidate: Candidate, demand: Demand, settings: Settings) -> float:
    return max(_shares(candidate.facts, demand, settings)) if candidate.facts and candidate.facts.cpus else 0.0


def _dislikes(candidate: Candidate, demand: Demand, catalog: Catalog) -> int:
    """How much the non-strict groups speak against a host."""
    count = 0
    for name in demand.affinity_groups:
        here = candidate.members.get(name, 0)
        kind = catalog.affinity_group(name).type
        if kind == "non-strict-host-anti-affinity":
            count += here
        elif kind == "non-strict-host-affinity" and not here:
            count += 1
    return count


def _nowhere(errors: list[AblestackError], demand: Demand, rejected: list[tuple[str, str]]) -> AblestackError:
    """Says what is wrong with the hosts that were asked for; the details have all of them."""
    furthest = max(errors, key=lambda error: _RANK.index(error.code), default=None)
    code = furthest.code if furthest else Code.INSUFFICIENT_CAPACITY
    reasons = "; ".join(dict.fromkeys(error.message for error in errors))
    hint = furthest.hint if furthest and furthest.hint else _ROOM
    what = f"host '{demand.named}' cannot have this VM" if demand.named else "no host can have this VM"
    more = dict(furthest.details) if furthest else {}
    more["rejected"] = [{"host": host, "reason": reason} for host, reason in rejected]
    return AblestackError(code, f"{what}: {reasons}", hint, **more)


@dataclass
class Load:
    """What VMs of this run add to a host: CPUs, MiB, members by affinity group, bytes by pool."""

    cpus: int = 0
    memory: int = 0
    members: dict[str, int] = field(default_factory=dict)
    space: dict[str, int] = field(default_factory=dict)


Claim = tuple[str, ...]
"""A thing that only one VM can have: its kind, the host, and its name there."""


@dataclass
class Picture:
    """The hosts as they will be once everything planned so far is done.

    Only what is taken counts: what other VMs of the run give back may come too late for a VM that starts meanwhile.
    """

    loads: dict[str, Load] = field(default_factory=dict)
    holders: dict[Claim, str] = field(default_factory=dict)

    def candidate(self, candidate: Candidate) -> Candidate:
        """The host as placement has to see it."""
        load = self.loads.get(candidate.spec.name)
        if load is None:
            return candidate
        facts = candidate.facts
        if facts is not None:
            facts = replace(facts, used_cpus=facts.used_cpus + load.cpus, used_memory=facts.used_memory + load.memory)
        return replace(candidate, facts=facts, members=_sum(candidate.members, load.members))

    def site(self, site: Site) -> Site:
        """The site with the room that is left in its pools."""
        load = self.loads.get(site.host.spec.name)
        if load is None or not load.space:
            return site
        pools = {
            name: replace(pool, available=max(0, pool.available - load.space.get(name, 0)))
            for name, pool in site.pools.items()
        }
        return replace(site, pools=pools, pool=pools.get(site.pool.name, site.pool))

    def take(self, request: VmRequest, before: VmFacts | None, plan: Plan[VmFacts]) -> None:
        """Adds what a plan takes; Conflict where a VM planned earlier in this run takes the same."""
        after = plan.predicted
        if after is None or not after.exists or not plan.steps:
            return
        shared = _shared(request)
        held_before = dict(_claims(before, shared)) if before else {}
        claims = {claim: what for claim, what in _claims(after, shared) if claim not in held_before}
        for claim, what in claims.items():
            if claim in self.holders:
                raise AblestackError(
                    Code.CONFLICT,
                    f"{what} is wanted by VM '{self.holders[claim]}' of the same task too",
                    "give each VM its own",
                )
        lenders = _lenders(request)
        for claim, lender in lenders.items():
            if claim in self.holders:
                raise AblestackError(
                    Code.CONFLICT,
                    f"VM '{self.holders[claim]}' of the same task takes a data disk of the destroyed VM '{lender}',"
                    " and only one at a time can",
                    f"run the task again for the others, or expunge VM '{lender}' first, which leaves its data disks",
                )
        self.holders.update(dict.fromkeys((*claims, *lenders), after.name))
        load = self.loads.setdefault(after.host.name, Load())
        held = before.live if before and before.is_active and before.live else None
        if after.is_active:
            load.cpus += max(0, after.config.cpu - (held.cpu if held else 0))
            load.memory += max(0, after.config.memory - (held.memory if held else 0))
        had = before.record.affinity_groups if before and before.record and before.exists else ()
        for group in after.record.affinity_groups if after.record else ():
            if group not in had:
                load.members[group] = load.members.get(group, 0) + 1
        for pool, size in _space(request, plan):
            load.space[pool] = load.space.get(pool, 0) + size

    def arrive(self, vm: VmFacts) -> None:
        """Adds a VM that comes from another host, as it will run."""
        load = self.loads.setdefault(vm.host.name, Load())
        load.cpus += vm.config.cpu
        load.memory += vm.config.memory
        for group in vm.record.affinity_groups if vm.record else ():
            load.members[group] = load.members.get(group, 0) + 1


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    # A group nobody asked about stays out: it would only confuse the reasons.
    return {group: count + other.get(group, 0) for group, count in one.items()}


def _shared(request: VmRequest) -> frozenset[str]:
    """The networks that are one segment on all hosts, as far as this plan had to know."""
    site = request.site or request.home
    return (
        frozenset(name for name, network in site.networks.items() if network.forward == "bridge")
        if site
        else frozenset()
    )


def _lenders(request: VmRequest) -> dict[Claim, str]:
    """The destroyed VMs whose data disks the plan takes, and their names."""
    site = request.site or request.home
    vms = site.lenders.values() if site else ()
    return {("lender", vm.host.name, vm.id): vm.name for vm in vms}


def _claims(vm: VmFacts, shared: frozenset[str]) -> Iterator[tuple[Claim, str]]:
    """What the VM has to itself on its host, or in a network that hosts share, and how a message names it."""
    host = vm.host.name
    for nic in vm.config.nics:
        yield ("mac", "" if nic.network in shared else host, nic.mac), f"MAC address {nic.mac}"
    if vm.record:
        for row in vm.record.nics:
            if row.ip:
                place = "" if row.network in shared else host
                yield ("address", place, row.network, row.ip), f"address {row.ip} on network '{row.network}'"
        for disk in vm.record.data_disks:
            yield ("volume", host, disk.pool, disk.volume), f"data disk '{disk.name}'"


def _space(request: VmRequest, plan: Plan[VmFacts]) -> Iterator[tuple[str, int]]:
    """The bytes a plan takes of pools at once, beyond what the VM gives back before; thin disks take them later."""
    site = request.site or request.home
    taken: dict[str, int] = {}
    for step in plan.steps:
        if isinstance(step, DeleteVolume) and site and f"{step.pool}/{step.volume}" in site.own:
            own = site.own[f"{step.pool}/{step.volume}"]
            taken[step.pool] = taken.get(step.pool, 0) - own.allocation
        elif isinstance(step, (CreateVolume, CloneVolume)):
            copied = site.template.file_size if site and site.template and isinstance(step, CloneVolume) else 0
            size = step.volume.capacity if step.volume.fat else copied
            taken[step.volume.pool] = taken.get(step.volume.pool, 0) + size
    return ((pool, max(0, size)) for pool, size in taken.items())
