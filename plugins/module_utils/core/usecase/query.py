# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists VMs for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..hypervisor.port import Host
from ..model.errors import AblestackError
from ..model.naming import vm_name_of
from ..model.outcome import Outcome
from ..model.vm import DomainRef, VmFacts
from ..model.vm_view import vm_view
from .infrastructure import Infrastructure

_READERS = 4  # calls a connection has under way at once: libvirt serves five of a client at a time


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
        return not self.names or vm_name_of(ref.domain_name) in {name.lower() for name in self.names}

    def matches(self, vm: VmFacts) -> bool:
        """The rest, once it is read."""
        record = vm.record
        if record is None:
            return self.unmanaged and not (self.group or self.labels or self.template)
        if self.names and vm.name.lower() not in {name.lower() for name in self.names}:
            return False
        if self.states and vm.state not in self.states:
            return False
        if (self.group and record.group != self.group) or (self.template and record.template != self.template):
            return False
        return all(dict(record.labels).get(key) == value for key, value in self.labels)


def list_vms(infra: Infrastructure, wanted: VmFilter, addresses: bool = True) -> Outcome:
    """Result: `vms`, sorted by name, and `unreachable`, a sentence for every host that could not be asked."""
    specs = infra.selected(wanted.zone, wanted.pod, wanted.cluster, wanted.hosts)
    found, errors = infra.on_hosts(lambda host: _on_host(host, wanted, addresses), specs)
    vms = [vm_view(vm) for on_host, _warnings in found.values() for vm in on_host]
    vms.sort(key=lambda vm: (vm["name"].lower(), vm["created"], vm["id"]))
    unreachable = {name: error.sentence for name, error in errors.items()}
    warnings = tuple(warning for _vms, on_host in found.values() for warning in on_host)
    warnings += tuple(f"host '{name}' was left out: {text}" for name, text in unreachable.items())
    return Outcome(result={"vms": vms, "unreachable": unreachable}, warnings=warnings)


def read_vms(host: Host, refs: tuple[DomainRef, ...]) -> tuple[list[VmFacts], list[str]]:
    """Many domains in full, a few calls at a time; a domain that cannot be read is a warning."""

    def one(ref: DomainRef) -> VmFacts | str:
        try:
            return host.vm(ref)
        except AblestackError as error:
            return f"domain '{ref.domain_name}' on host '{host.spec.name}' was left out: {error.sentence}"

    if len(refs) < 2:
        answers = [one(ref) for ref in refs]
    else:
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            answers = list(pool.map(one, refs))
    vms = [answer for answer in answers if not isinstance(answer, str)]
    return vms, [answer for answer in answers if isinstance(answer, str)]


def _on_host(host: Host, wanted: VmFilter, addresses: bool) -> tuple[list[VmFacts], list[str]]:
    refs = tuple(ref for ref in host.domains() if wanted.may_match(ref))
    vms, warnings = read_vms(host, refs)
    vms = [vm for vm in vms if wanted.matches(vm)]
    if addresses:
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            vms = list(pool.map(lambda vm: _with_addresses(host, vm), vms))
    return vms, warnings


def _with_addresses(host: Host, vm: VmFacts) -> VmFacts:
    if not vm.is_active:
        return vm
    found: Mapping[str, tuple[str, ...]]
    try:
        found = host.addresses(vm)
    except AblestackError:
        found = {}
    return replace(vm, addresses=found)
