# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists VMs for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable

from ..hypervisor.port import SOURCES, Host
from ..model.errors import AblestackError, Code
from ..model.migration import homes
from ..model.naming import vm_name_of
from ..model.outcome import Outcome
from ..model.vm import DomainRef, Power, Read, VmFacts
from ..model.vm_view import vm_view
from .addresses import with_addresses
from .infrastructure import Infrastructure

_READERS = 4  # calls a connection has under way at once: libvirt serves five of a client at a time

_AT_ONCE = 25
"""Domains a reader asks for before it reads any: more would not be faster, and all their texts are kept so long."""
Reader = Callable[[Sequence[DomainRef]], list[Read]]
"""`vms` or `glances` of a host."""

# The powers a VM can have in each state; in those not named here, any.
_POWERS = {
    "Running": (Power.RUNNING,),
    "Paused": (Power.PAUSED,),
    "Stopping": (Power.SHUTDOWN,),
    "Stopped": (Power.OFF,),
    "Starting": (Power.OFF, Power.CRASHED),
    "Error": (Power.CRASHED,),
}


@dataclass(frozen=True)
class VmFilter:
    """Which VMs are wanted; an empty field does not filter."""

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    group: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    template: str = ""
    zone: str = ""
    pod: str = ""
    cluster: str = ""
    hosts: tuple[str, ...] = ()
    unmanaged: bool = False

    def may_match(self, ref: DomainRef) -> bool:
        """What the bulk listing can already rule out, before a domain is read."""
        if self.ids and ref.id not in self.ids:
            return False
        if self.states and not any(ref.power in _POWERS.get(state, Power) for state in self.states):
            return False
        names = {name.lower() for name in self.names}
        return not names or bool(names & {ref.domain_name.lower(), vm_name_of(ref.domain_name)})

    def matches(self, vm: VmFacts) -> bool:
        """The rest, once it is read."""
        record = vm.record
        if self.names and vm.name.lower() not in {name.lower() for name in self.names}:
            return False
        if self.states and vm.state not in self.states:
            return False
        if record is None:
            return self.unmanaged and not (self.group or self.labels or self.template)
        if (self.group and record.group != self.group) or (self.template and record.template != self.template):
            return False
        return all(dict(record.labels).get(key) == value for key, value in self.labels)


@dataclass(frozen=True)
class Listing:
    """What was found: the VMs as vm_view has them, sorted by name, and what is lacking of them.

    `unreachable` has a sentence for every host that could not be asked, `unreadable` for every VM, `slow` for every
    host where agents were left unasked.
    """

    vms: list[dict[str, Any]]
    unreachable: dict[str, str]
    unreadable: tuple[str, ...]
    slow: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of it means that VMs are missing."""
        hosts = (f"host '{name}' was left out: {text}" for name, text in self.unreachable.items())
        return (*self.unreadable, *hosts)


Accept = Callable[[VmFacts], bool]


def list_vms(
    infra: Infrastructure, wanted: VmFilter, sources: tuple[str, ...] = SOURCES, accept: Accept = lambda _vm: True
) -> Outcome:
    """Result: `vms` and `unreachable` of find_vms, whose arguments these are."""
    found = find_vms(infra, wanted, sources, accept)
    result = {"vms": found.vms, "unreachable": found.unreachable}
    return Outcome(result=result, warnings=(*found.slow, *found.left_out))


def find_vms(infra: Infrastructure, wanted: VmFilter, sources: tuple[str, ...], accept: Accept) -> Listing:
    """`sources` of addresses are asked in that order; `accept` has the last word, before any address is looked for."""
    specs = infra.selected(wanted.zone, wanted.pod, wanted.cluster, wanted.hosts)
    found, errors = infra.on_hosts(lambda host: _on_host(infra, host, wanted, sources, accept), specs)
    vms = [vm_view(vm) for vm in homes(vm for on_host, _unreadable, _slow in found.values() for vm in on_host)]
    vms.sort(key=lambda vm: (vm["name"].lower(), vm["created"], vm["id"]))
    return Listing(
        vms,
        {name: error.sentence for name, error in errors.items()},
        tuple(text for _vms, unreadable, _slow in found.values() for text in unreadable),
        tuple(text for _vms, _unreadable, slow in found.values() for text in slow),
    )


def read_each(host: Host, refs: Sequence[DomainRef], read: Reader | None = None) -> list[Read]:
    """Many domains, a few calls at a time: in full, or by another reader of the host. In their order, and in place of
    one that cannot be read its error; a host that no longer answers is an error for all.
    """
    read = read or host.vms
    size = min(_AT_ONCE, -(-len(refs) // _READERS)) or 1
    parts = [refs[start : start + size] for start in range(0, len(refs), size)]
    if len(parts) < 2:
        return _of_a_host_that_answers(read(refs))
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        # the first part that fails ends the others: those that have not begun never do
        return [one for part in pool.map(read, parts) for one in _of_a_host_that_answers(part)]


def _of_a_host_that_answers(found: list[Read]) -> list[Read]:
    for one in found:
        if isinstance(one, AblestackError) and one.code is Code.HOST_UNAVAILABLE:
            raise one
    return found


def read_vms(host: Host, refs: Sequence[DomainRef], read: Reader | None = None) -> tuple[list[VmFacts], list[str]]:
    """The same: those that can be read, and a warning for each that cannot, unless it is gone meanwhile."""
    vms, unreadable = [], []
    for ref, one in zip(refs, read_each(host, refs, read)):
        if not isinstance(one, AblestackError):
            vms.append(one)
        elif one.code is not Code.NOT_FOUND:
            unreadable.append(f"domain '{ref.domain_name}' on host '{host.spec.name}' was left out: {one.sentence}")
    return vms, unreadable


def every_vm(host: Host, refs: Sequence[DomainRef] | None = None, read: Reader | None = None) -> list[VmFacts]:
    """All domains of the host, or those: InvalidState where one cannot be read, since it may have anything."""
    vms, unreadable = read_vms(host, host.domains() if refs is None else refs, read)
    for sentence in unreadable:
        raise AblestackError(
            Code.INVALID_STATE,
            sentence,
            "nobody knows which disks, networks and addresses it has",
            host=host.spec.name,
        )
    return vms


def _on_host(
    infra: Infrastructure, host: Host, wanted: VmFilter, sources: tuple[str, ...], accept: Accept
) -> tuple[list[VmFacts], list[str], list[str]]:
    refs = tuple(ref for ref in host.domains() if wanted.may_match(ref))
    vms, unreadable = read_vms(host, refs, host.glances)
    vms = [vm for vm in vms if wanted.matches(vm) and accept(vm)]
    vms, slow = with_addresses(host, vms, sources, lambda: infra.another(host.spec.name))
    return vms, unreadable, slow
