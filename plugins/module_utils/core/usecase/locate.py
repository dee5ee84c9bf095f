# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds VMs by name or id on all hosts at once, and waits until nobody else works on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Union

from ..hypervisor.port import Host
from ..model.catalog import Settings
from ..model.errors import AblestackError, Code, invalid
from ..model.migration import homes
from ..model.naming import claim_generation, vm_name_of
from ..model.vm import DomainRef, Phase, VmFacts
from ..model.vm_spec import VmSpec
from .infrastructure import Infrastructure
from .owner import is_busy
from .query import read_each

_PATIENCE = 30.0  # seconds to wait for another process that works on the same VM
_PAUSE = 1.0  # seconds between two looks at such a VM
_TWIN_PAUSE = 0.2  # seconds between two looks for another VM of the same name that is just being made


@dataclass(frozen=True)
class Located:
    """What was found of one VM name or id. `destroyed` is newest first; `unreachable` are the hosts not asked.

    An id means that VM and no other: `namesake` is one that has its name instead, or the name given beside the id.
    `listed` has by host the listing it was found in, `twin` is what another host has of a VM on its way.
    """

    existing: VmFacts | None = None
    destroyed: tuple[VmFacts, ...] = ()
    namesake: VmFacts | None = None
    unreachable: Mapping[str, AblestackError] = field(default_factory=dict)
    listed: Mapping[str, tuple[DomainRef, ...]] = field(default_factory=dict)
    twin: VmFacts | None = None

    @property
    def vms(self) -> tuple[VmFacts, ...]:
        """All that was found."""
        return (*((self.existing,) if self.existing else ()), *self.destroyed)

    def require_all_hosts(self, what: str, hint: str = "bring the host back, or take it out of the catalog") -> None:
        """Raises HostUnavailable unless every host was asked: a host that is down may have the VM."""
        for name, error in self.unreachable.items():
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"host '{name}' cannot be asked whether it has VM '{what}': {error.message}",
                hint,
                host=name,
            )

    def require_free_name(self, name: str, settings: Settings) -> tuple[str, ...]:
        """The same for a VM to be made, unless the catalog allows that: then warnings of the twin there may be."""
        if not settings.allow_unreachable:
            self.require_all_hosts(
                name,
                "bring the host back, or take it out of the catalog, or let new VMs be made without it:"
                " settings.allow_unreachable of the catalog",
            )
        return tuple(
            f"host '{host}' could not be asked, and may have a VM '{name}' too: {error.message}"
            for host, error in self.unreachable.items()
        )


Found = Union[Located, AblestackError]


@dataclass(frozen=True)
class _Rows:
    """What one host has of the wanted VMs, and what could not be read of it."""

    vms: list[VmFacts]
    unreadable: dict[str, AblestackError]


@dataclass(frozen=True)
class _Seen:
    """What all hosts said: their listings, the wanted VMs by name (in lower case) and by id, and what they refused."""

    listed: Mapping[str, tuple[DomainRef, ...]]
    rows: Mapping[str, list[VmFacts]]
    by_id: Mapping[str, VmFacts]
    unreadable: Mapping[str, AblestackError]
    unreachable: Mapping[str, AblestackError]


def locate_all(infra: Infrastructure, wanted: Sequence[VmSpec]) -> list[Found]:
    """For each spec the VM of that name or id, and the destroyed ones of that name: one listing a host for all.

    In their place the errors: Conflict where several hosts have a VM of that name, InvalidInput where name and id do
    not fit together. One that no host has is looked for twice: it may have moved from one that was not yet asked to one
    that was. A deploy looks again by itself, once it has defined its VM.
    """
    found = _look(infra, wanted)
    several = len(infra.catalog.hosts) > 1
    missing = [at for at, one in enumerate(found) if several and not wanted[at].deploys and _is_nothing(one)]
    if missing:
        for at, one in zip(missing, _look(infra, [wanted[at] for at in missing])):
            found[at] = one
    return found


def _is_nothing(found: Found) -> bool:
    return isinstance(found, Located) and not found.vms


def _look(infra: Infrastructure, wanted: Sequence[VmSpec]) -> list[Found]:
    listed, unreachable = infra.on_hosts(lambda host: host.domains())
    names = {ref.id: vm_name_of(ref.domain_name) for refs in listed.values() for ref in refs}
    ids = {spec.id for spec in wanted if spec.id}
    keys = {(spec.name or names.get(spec.id, "")).lower() for spec in wanted}

    def read(host: Host) -> _Rows:
        refs = listed[host.spec.name]
        return _read(host, tuple(ref for ref in refs if ref.id in ids or vm_name_of(ref.domain_name) in keys))

    found, lost = infra.on_hosts(read, [spec for spec in infra.catalog.hosts if spec.name in listed])
    unreachable.update(lost)
    rows: dict[str, list[VmFacts]] = {}
    for on_host in found.values():
        for vm in on_host.vms:
            rows.setdefault(vm.name.lower(), []).append(vm)
    unreadable = {key: error for on_host in found.values() for key, error in on_host.unreadable.items()}
    by_id = {vm.id: vm for vm in homes(vm for on_host in found.values() for vm in on_host.vms) if vm.id in ids}
    seen = _Seen(listed, rows, by_id, unreadable, unreachable)
    return [_found(spec, seen) for spec in wanted]


def _read(host: Host, refs: tuple[DomainRef, ...]) -> _Rows:
    """The domains in full; the errors of those that cannot be read, by id and by name."""
    rows = _Rows([], {})
    for ref, found in zip(refs, read_each(host, refs)):
        if not isinstance(found, AblestackError):
            rows.vms.append(found)
        elif found.code is not Code.NOT_FOUND:
            rows.unreadable[ref.id] = rows.unreadable[vm_name_of(ref.domain_name)] = found
    return rows


def _found(spec: VmSpec, seen: _Seen) -> Found:
    chosen = seen.by_id.get(spec.id)
    key = (spec.name or (chosen.name if chosen else "")).lower()
    error = seen.unreadable.get(spec.id) or seen.unreadable.get(key)
    if error:
        return error
    if chosen and chosen.name.lower() != key:
        return invalid(f"the VM with id {spec.id} is named '{chosen.name}', not '{spec.name}'", "give one of the two")
    every = seen.rows.get(key, [])
    vms = homes(every)
    holders = [vm for vm in vms if vm.exists]
    if spec.id:
        namesake = next((vm for vm in holders if vm.id != spec.id), None)
        return replace(_sorted([chosen] if chosen else [], every, seen), namesake=namesake)
    if len(holders) > 1:
        places = ", ".join(sorted(f"{vm.host.name} ({vm.id})" for vm in holders))
        return AblestackError(
            Code.CONFLICT,
            f"there is more than one VM '{holders[0].name}': on {places}",
            "say which one by its id, and destroy or rename the other",
        )
    return _sorted(vms, every, seen)


def _sorted(vms: Sequence[VmFacts], every: Sequence[VmFacts], seen: _Seen) -> Located:
    """Those VMs, of which one at most exists; `every` row may have another of that one."""
    found = next((vm for vm in vms if vm.exists), None)
    gone = [vm for vm in vms if not vm.exists]
    gone.sort(key=lambda vm: (vm.record.mark.since if vm.record else "", vm.id), reverse=True)
    twin = next((vm for vm in every if found and vm.id == found.id and vm is not found), None)
    return Located(found, tuple(gone), unreachable=seen.unreachable, listed=seen.listed, twin=twin)


def locate(infra: Infrastructure, name: str, vm_id: str = "") -> Located:
    """The same for one VM; raises the errors."""
    (found,) = locate_all(infra, (VmSpec(name=name, id=vm_id),))
    if isinstance(found, AblestackError):
        raise found
    return found


def locate_settled(infra: Infrastructure, wanted: Sequence[VmSpec]) -> list[Found]:
    """Like locate_all, once no other living process works on any of them; Conflict for one where that takes long."""
    deadline = time.monotonic() + _PATIENCE
    found = locate_all(infra, wanted)
    looked_again: set[int] = set()
    while True:
        unsettled = []
        for at, one in enumerate(found):
            if isinstance(one, AblestackError):
                continue
            busy = [vm for vm in one.vms if is_busy(vm)]
            if busy and (infra.check or time.monotonic() > deadline):
                found[at] = _conflict(busy[0])
            elif busy:
                looked_again.discard(at)
                unsettled.append(at)
            elif any(_claimed(vm) for vm in one.vms) and at not in looked_again:
                looked_again.add(at)
                unsettled.append(at)
        if not unsettled:
            return found
        time.sleep(_PAUSE)
        for at, one in zip(unsettled, locate_all(infra, [wanted[at] for at in unsettled])):
            found[at] = one


def _claimed(vm: VmFacts) -> bool:
    """A claim without an owner is a claim just made, or one whose maker died at once."""
    return bool(claim_generation(vm.config.domain_name) and not (vm.record and vm.record.mark.owner))


def _conflict(vm: VmFacts) -> AblestackError:
    return AblestackError(
        Code.CONFLICT,
        f"another controller is working on VM '{vm.name}' (it is {vm.phase.value})",
        "run the task again when it is done; a mark left by a dead controller counts for 15 minutes",
        id=vm.id,
    )


def require_alone(infra: Infrastructure, ours: VmFacts) -> None:
    """Returns once no other host has a VM of the name of ours, which was just defined; Conflict where ours has to go.

    Two controllers both define before they look, so at least one sees the other. Which one is chance, so that age alone
    cannot decide: a VM whose deploy is past its definition has looked, has not seen ours, and stays. Of two that are
    just defined the older stays, as soon as the other has gone.
    """
    others = [spec for spec in infra.catalog.hosts if spec.name != ours.host.name]
    deadline = time.monotonic() + _PATIENCE
    while True:
        found, _errors = infra.on_hosts(lambda host: _same_name(host, ours), others)
        rivals = [vm for vm in found.values() if vm and vm.record]
        for vm in rivals:
            if vm.phase is not Phase.DEPLOYING or _age(vm) < _age(ours) or time.monotonic() > deadline:
                raise name_taken(ours.name, vm.host.name)
        if not rivals:
            return
        time.sleep(_TWIN_PAUSE)


def name_taken(name: str, host: str) -> AblestackError:
    """What the run is told whose VM goes back."""
    return AblestackError(
        Code.CONFLICT,
        f"somebody else made a VM '{name}' on host '{host}' at the same time",
        "run the task again: it will find that one",
    )


def _age(vm: VmFacts) -> tuple[str, str]:
    return (vm.record.created if vm.record else "", vm.id)


def _same_name(host: Host, ours: VmFacts) -> VmFacts | None:
    ref = host.domain_named(ours.name.lower())
    vm = host.vm(ref) if ref else None
    return vm if vm and vm.exists else None
