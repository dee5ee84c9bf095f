# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans a migration: what goes before, the move itself, and what is left to do on both hosts (SEMANTICS 3).

While it lasts two hosts may have the definition, and the mark in both tells that. It is the first thing written and the
last one cleared, so whatever a killed run leaves is ended from it: a VM that has arrived is settled there, one that has
not is taken back to where it was and sent anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..model.catalog import Catalog, HostSpec
from ..model.errors import AblestackError, Code
from ..model.migration import MigrateSpec, Transfer
from ..model.plan_parts import LIVE, RESTART, Change, Plan, Step
from ..model.resources import NetworkFacts, Reservation, VolumeSpec
from ..model.vm import DiskRecord, Mark, Phase, Power, VmConfig, VmFacts, VmRecord
from ..model.vm_spec import VmSpec
from .edits import snapshots_exist
from .lifecycle import names_of, not_managed, record_of
from .power import memory_saved, off, on, stop_steps
from .request import Fresh, VmRequest
from .steps import CreateVolume, PowerOff, Release, Reserve, Resume, SetAutostart, SetRecord, Start


@dataclass(frozen=True)
class At(Step):
    """A step at the named host."""

    host: str
    step: Step


@dataclass(frozen=True)
class SetOut(Step):
    """Marks the VM, which was seen so, as on its way; Conflict where another process works on it."""

    seen: VmFacts
    mark: Mark


@dataclass(frozen=True)
class HandOver(Step):
    """Sends the VM to the other host; afterwards it is not defined here any more."""

    vm_id: str
    transfer: Transfer


@dataclass(frozen=True)
class CopyVolume(Step):
    """Makes here what host `source` has under the same name, and compares the contents."""

    source: str
    pool: str
    volume: str


@dataclass(frozen=True)
class CopyState(Step):
    """Brings the state of firmware and TPM (VmConfig.boot_state) here from host `source`."""

    source: str
    config: VmConfig
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class DropCopy(Step):
    """Deletes a volume here of which host `other` has the one that counts, after a look that it is another file."""

    other: str
    pool: str
    volume: str


@dataclass(frozen=True)
class DropState(Step):
    """Deletes the files of firmware and TPM here of which host `other` has its own."""

    other: str
    config: VmConfig
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Forget(Step):
    """Removes a definition here, and nothing else: the VM is on the other host."""

    vm_id: str


@dataclass(frozen=True)
class Copy:
    """A disk that only the source can reach. `empty` is the image to make for QEMU to fill, None where we copy it."""

    disk: DiskRecord
    empty: VolumeSpec | None = None


@dataclass(frozen=True)
class MoveSite:
    """The host it goes to, what has to be copied, and the networks of its NICs there, by name."""

    host: HostSpec
    copies: tuple[Copy, ...] = ()
    networks: Mapping[str, NetworkFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class MoveRequest:
    """What a migration is planned from. `twin` is the other host's row of it; `site` is None where it stays."""

    spec: MigrateSpec
    vm: VmFacts
    catalog: Catalog
    fresh: Fresh
    twin: VmFacts | None = None
    site: MoveSite | None = None


def refuse_move(vm: VmFacts, snapshots: tuple[str, ...]) -> None:
    """Raises what forbids to move the VM at all; `snapshots` are libvirt's."""
    record = vm.record
    if record is None:
        raise not_managed(vm)
    if record.snapshots or snapshots:
        raise snapshots_exist(vm, "it is not moved to another host", snapshots)
    if vm.phase not in (Phase.SETTLED, Phase.MIGRATING, Phase.STARTING):
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' is {vm.phase.value}, which was not finished",
            "run the task again that was interrupted, then migrate it",
        )
    if vm.saved:
        raise memory_saved(vm, "it is not moved to another host")
    if vm.power in (Power.PAUSED, Power.SHUTDOWN) and vm.phase is not Phase.MIGRATING:
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' is {'paused' if vm.power is Power.PAUSED else 'going down'}, so it is not moved",
            "bring it to state: started or stopped first",
        )


def has_arrived(vm: VmFacts) -> bool:
    """Whether a VM on its way is where it was to go."""
    return vm.phase is Phase.MIGRATING and record_of(vm).mark.target == vm.host.name


def plan_move(request: MoveRequest) -> Plan[VmFacts]:
    """Ends what a killed run left, then moves the VM to the site. Without both it is an empty plan."""
    vm, site = request.vm, request.site
    if has_arrived(vm):
        return _settled(request)
    record = record_of(vm)
    steps = list(_taken_back(request)) if vm.phase is Phase.MIGRATING else []
    if site is None:
        return _stays(request, steps)
    source, target = vm.host.name, site.host.name
    live = vm.is_active and request.spec.live
    runs = not live and _owes_start(request)
    mark = Mark(
        phase=Phase.MIGRATING,
        since=request.fresh.now,
        owner=request.fresh.owner,
        runs=runs,
        source=source,
        target=target,
        copies=tuple(copy.disk.target for copy in site.copies),
    )
    steps.append(At(source, SetOut(vm, mark)))
    if vm.is_active and not live:
        steps += [At(source, step) for step in _stop(request, vm)]
    if record.autostart:
        steps.append(At(source, SetAutostart(vm.id, False)))
    steps += [At(target, Reserve(network, row)) for network, row in _reservations(vm, site)]
    steps += [At(target, step) for step in _copies(source, site, live)]
    state = record.boot_left if live else _state(vm)  # what is in use goes along by itself
    if state:
        steps.append(At(target, CopyState(source, vm.config, state)))
    mirrored = tuple(copy.disk.target for copy in site.copies if live and copy.empty)
    steps.append(At(source, HandOver(vm.id, Transfer(site.host.peer_uri, live, mirrored))))
    there = _with_mark(replace(vm if live else off(vm), host=site.host), mark)
    rest = _settled(replace(request, vm=there, twin=None))
    changes: tuple[Change, ...] = (Change("host", source, target, RESTART if vm.is_active and not live else LIVE),)
    if rest.predicted and rest.predicted.state != vm.state and vm.phase is Phase.SETTLED:
        changes += (Change("state", vm.state, rest.predicted.state),)
    return Plan(changes, (*steps, *rest.steps), predicted=rest.predicted)


def _settled(request: MoveRequest) -> Plan[VmFacts]:
    """What is left to do for a VM that is where it was to go: first what could start it elsewhere is removed."""
    vm, record = request.vm, record_of(request.vm)
    mark, here = record.mark, vm.host.name
    steps: list[Step] = []
    known = mark.source in {host.name for host in request.catalog.hosts}
    if request.twin and known:
        steps += [At(mark.source, step) for step in _without(request.twin)]
    if record.autostart:
        steps.append(At(here, SetAutostart(vm.id, True)))
    if known:
        steps += [At(mark.source, step) for step in _released(vm)]
        steps += [At(mark.source, DropCopy(here, disk.pool, disk.volume)) for disk in _copied(record)]
        if _state(vm):
            steps.append(At(mark.source, DropState(here, vm.config, _state(vm))))
    runs = mark.runs and not vm.is_active
    if runs:
        starting = Mark(Phase.STARTING, request.fresh.now, owner=request.fresh.owner)
        steps += [At(here, SetRecord(vm.id, replace(record, mark=starting))), At(here, Start(vm.id))]
    steps.append(At(here, SetRecord(vm.id, replace(record, mark=Mark()))))
    after = _with_mark(on(vm) if runs else vm, Mark())
    return Plan((Change("state", vm.state, after.state),), tuple(steps), predicted=after)


def _stays(request: MoveRequest, steps: list[Step]) -> Plan[VmFacts]:
    """A VM that is not to go anywhere: what it owes is done, and its mark cleared."""
    vm, record = request.vm, record_of(request.vm)
    going_down = vm.phase is Phase.STARTING and vm.power is Power.SHUTDOWN  # it has to be started once it is down
    if going_down or vm.phase not in (Phase.SETTLED, Phase.MIGRATING, Phase.STARTING):
        return Plan(predicted=vm)  # its mark tells what another task still has to complete
    starts = not vm.is_active and (request.spec.start or record.mark.runs or vm.phase is Phase.STARTING)
    if vm.phase is Phase.STARTING and vm.power is Power.PAUSED:  # its host's daemon died in the midst of the start
        steps.append(At(vm.host.name, Resume(vm.id)))
    if not steps and not starts and vm.phase is Phase.SETTLED:
        return Plan(predicted=vm)
    here = vm.host.name
    if vm.phase is Phase.MIGRATING and record.autostart:
        steps.append(At(here, SetAutostart(vm.id, True)))
    if starts:
        steps.append(At(here, Start(vm.id)))
    if vm.phase is not Phase.SETTLED:
        steps.append(At(here, SetRecord(vm.id, replace(record, mark=Mark()))))
    running = replace(vm, power=Power.RUNNING) if vm.is_active else vm
    after = _with_mark(on(vm) if starts else running, Mark())
    return Plan((Change("state", vm.state, after.state),), tuple(steps), predicted=after)


def _taken_back(request: MoveRequest) -> Iterator[Step]:
    """Removes what a move that did not happen has made on the host it was to go to."""
    vm, record = request.vm, record_of(request.vm)
    mark, here = record.mark, vm.host.name
    if mark.target in {host.name for host in request.catalog.hosts}:
        if request.twin:
            yield from (At(mark.target, step) for step in _without(request.twin))
        yield from (At(mark.target, DropCopy(here, disk.pool, disk.volume)) for disk in _copied(record))
        if _state(vm):
            yield At(mark.target, DropState(here, vm.config, _state(vm)))
        yield from (At(mark.target, step) for step in _released(vm))
    if vm.power is Power.PAUSED:
        yield At(here, Resume(vm.id))


def _without(twin: VmFacts) -> tuple[Step, ...]:
    """What makes a host forget a VM that is on another one."""
    return (*((PowerOff(twin.id),) if twin.is_active else ()), Forget(twin.id))


def _owes_start(request: MoveRequest) -> bool:
    """Whether a VM that is moved while it is off has to run then."""
    vm = request.vm
    return vm.is_active or request.spec.start or record_of(vm).mark.runs or vm.phase is Phase.STARTING


def _stop(request: MoveRequest, vm: VmFacts) -> tuple[Step, ...]:
    spec = request.spec
    wanted = VmSpec(forced=spec.forced, timeout=spec.timeout, force_after_timeout=spec.force_after_timeout)
    return stop_steps(VmRequest(wanted, request.catalog, request.fresh), vm)


def _reservations(vm: VmFacts, site: MoveSite) -> Iterator[tuple[str, Reservation]]:
    """The fixed addresses in networks of ours; each network's DNS has the VM's name once."""
    named: set[str] = set()
    for nic in record_of(vm).nics:
        # a killed change leaves in the record what the definition has no more
        network = site.networks.get(nic.network)
        if nic.ip and ":" not in nic.ip and network and network.reserves:
            yield nic.network, Reservation(nic.mac, nic.ip, "" if nic.network in named else names_of(vm).domain)
            named.add(nic.network)


def _released(vm: VmFacts) -> list[Step]:
    return [Release(nic.network, nic.mac) for nic in record_of(vm).nics if nic.ip]


def _copies(source: str, site: MoveSite, live: bool) -> Iterator[Step]:
    for copy in site.copies:
        if live and copy.empty:
            yield CreateVolume(copy.empty)
        else:
            yield CopyVolume(source, copy.disk.pool, copy.disk.volume)


def _copied(record: VmRecord) -> list[DiskRecord]:
    return [disk for disk in record.disks if disk.target in record.mark.copies]


def _state(vm: VmFacts) -> tuple[str, ...]:
    """What its firmware and TPM keep beside the disks, now and of a time when they were others."""
    return (*vm.config.boot_state, *record_of(vm).boot_left)


def _with_mark(vm: VmFacts, mark: Mark) -> VmFacts:
    record = replace(record_of(vm), mark=mark)
    live = replace(vm.live, record=record) if vm.live else None
    return replace(vm, config=replace(vm.config, record=record), live=live, addresses={})
