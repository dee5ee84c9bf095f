# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destroy, recover, expunge (SEMANTICS 6), and the healing of what a killed run left between two states."""

from __future__ import annotations

from dataclasses import replace

from ..model.errors import AblestackError, Code, invalid
from ..model.naming import VmNames, claim_generation
from ..model.plan_parts import Change, Plan, Step
from ..model.resources import Reservation
from ..model.values import later
from ..model.vm import DiskRecord, Mark, Phase, Power, VmFacts, VmRecord
from .power import off, stop_steps, stop_timeout
from .request import VmRequest
from .snapshot_steps import ReleaseDisks
from .steps import (
    Claim,
    DeleteOwnVolumes,
    DeleteVolume,
    DropSaved,
    NameReservation,
    PowerOff,
    Release,
    Rename,
    SetAutostart,
    SetRecord,
    Shutdown,
    UndefineVm,
)


def names_of(vm: VmFacts) -> VmNames:
    """The names derived from a VM's own."""
    return VmNames(vm.name, vm.id)


def record_of(vm: VmFacts) -> VmRecord:
    """The record of a VM of ours."""
    if vm.record is None:
        raise not_managed(vm)
    return vm.record


def not_managed(vm: VmFacts) -> AblestackError:
    """Said before anything is done to a domain that is not ours."""
    return AblestackError(
        Code.NOT_MANAGED,
        f"domain '{vm.config.domain_name}' on host '{vm.host.name}' was not made by this collection",
        "it is left alone: choose another name, or manage it with the tool that made it",
    )


def half_deployed(vm: VmFacts) -> AblestackError:
    """Said where a VM has to be complete and its deploy was cut off."""
    return AblestackError(
        Code.INVALID_STATE,
        f"VM '{vm.name}' is only half deployed",
        "run the task that deploys it again, or destroy it",
    )


def half_destroyed(vm: VmFacts) -> bool:
    """Whether it is marked as destroyed and still has the name."""
    return vm.phase is Phase.DESTROYED and vm.config.domain_name == names_of(vm).domain


def heal(request: VmRequest, vms: tuple[VmFacts, ...]) -> tuple[Step, ...]:
    """Finishes destroys that were killed between the mark and the rename, so that the name is free.

    Such a VM may even run: one that starts with its host does until the destroy has come to that.
    """
    steps: list[Step] = []
    for vm in vms:
        if half_destroyed(vm):
            record = record_of(vm)
            if vm.is_active:
                steps.append(Shutdown(vm.id, stop_timeout(request), force_after=True))
            elif vm.saved:
                steps.append(DropSaved(vm.id))
            if record.autostart:
                steps.append(SetAutostart(vm.id, False))
            steps += [*name_addresses(record, ""), Rename(vm.id, names_of(vm).destroyed_domain)]
    return tuple(steps)


def name_addresses(record: VmRecord, name: str) -> list[Step]:
    """The VM's name in the DNS of its networks, where it has fixed addresses; an empty one leaves it to others.

    A destroyed VM keeps its addresses, but its name may be deployed anew, and libvirt has each name once in a network.
    """
    steps: list[Step] = []
    named: set[str] = set()
    for nic in record.nics:
        if nic.ip and ":" not in nic.ip:
            own = "" if nic.network in named else name
            named.add(nic.network)
            steps.append(NameReservation(nic.network, Reservation(nic.mac, nic.ip, own)))
    return steps


def plan_destroy(request: VmRequest) -> Plan[VmFacts]:
    """Stops it, marks it, and frees its name; every disk stays until it is expunged."""
    vm = request.existing
    if vm is None:
        return Plan(
            steps=heal(request, request.destroyed[:1]), predicted=request.destroyed[0] if request.destroyed else None
        )
    if vm.phase is Phase.DEPLOYING:
        return plan_undo(request, vm)
    record = record_of(vm)
    refuse_protected(vm, "destroyed")
    delay = request.spec.expunge_delay
    seconds = delay if isinstance(delay, int) else request.catalog.settings.expunge_delay
    now = request.fresh.now
    chosen = disks_to_delete(request, record)
    marked = replace(record, mark=Mark(Phase.DESTROYED, now, later(now, seconds), chosen))
    steps: list[Step] = list(stop_steps(request, vm))
    steps.append(SetRecord(vm.id, marked))
    if record.autostart:
        steps.append(SetAutostart(vm.id, False))
    steps += name_addresses(record, "")
    steps.append(Rename(vm.id, names_of(vm).destroyed_domain))
    config = replace(vm.config, record=marked, domain_name=names_of(vm).destroyed_domain)
    after = replace(off(vm), config=config)
    return Plan((Change("state", vm.state, after.state),), tuple(steps), predicted=after)


def disks_to_delete(request: VmRequest, record: VmRecord) -> tuple[str, ...]:
    """The names of the data disks that go with the VM; a name it does not have is InvalidInput."""
    have = tuple(disk.name for disk in record.data_disks)
    wanted = request.spec.delete_data_disks
    if wanted == "none":
        return ()
    if wanted == "all":
        return have
    for name in wanted:
        if name not in have:
            raise invalid(
                f"VM '{record.name}' has no data disk '{name}'",
                f"delete_data_disks may name: {', '.join(have) or 'none'}",
            )
    return tuple(name for name in have if name in wanted)


def refuse_protected(vm: VmFacts, what: str) -> None:
    """Protected VMs are neither destroyed, expunged nor reinstalled."""
    if record_of(vm).protected:
        raise AblestackError(
            Code.PROTECTED,
            f"VM '{vm.name}' is protected and is not {what}",
            "set protected: false first, if you mean it",
        )


def plan_recover(request: VmRequest) -> Plan[VmFacts]:
    """From Destroyed to Stopped under the old name; the newest of several, unless the id says which."""
    vm = request.existing
    if vm is not None and vm.phase is Phase.DEPLOYING:
        raise half_deployed(vm)
    if vm is not None:
        return _recovered(vm) if vm.phase is Phase.RECOVERING else Plan(predicted=vm)
    chosen = next((found for found in request.destroyed if found.phase in (Phase.DESTROYED, Phase.RECOVERING)), None)
    if chosen is None:
        if request.destroyed:
            raise AblestackError(
                Code.INVALID_STATE,
                f"VM '{request.destroyed[0].name}' is being expunged",
                "it cannot be recovered any more",
            )
        raise AblestackError(
            Code.NOT_FOUND,
            f"there is no destroyed VM '{request.spec.name or request.spec.id}' to recover",
            "ablestack_vm_info with states: [Destroyed] lists those there are",
        )
    holder = request.namesake
    if holder is not None:
        raise AblestackError(
            Code.ALREADY_EXISTS,
            f"the name '{holder.name}' is taken by the VM with id {holder.id} on host '{holder.host.name}'",
            "destroy or expunge that one first",
        )
    record, names = record_of(chosen), names_of(chosen)
    recovering = replace(record, mark=replace(record.mark, phase=Phase.RECOVERING, owner=request.fresh.owner))
    steps: tuple[Step, ...] = (
        *stop_steps(request, chosen),
        _claim(request, chosen),
        SetRecord(chosen.id, recovering),
        Rename(chosen.id, names.domain),
    )
    renamed = replace(off(chosen), config=replace(chosen.config, domain_name=names.domain))
    rest = _recovered(renamed)
    changes = (Change("state", chosen.state, rest.predicted.state if rest.predicted else ""),)
    return Plan(changes, steps + rest.steps, predicted=rest.predicted)


def _recovered(vm: VmFacts) -> Plan[VmFacts]:
    """What is left to do for a VM that has its name back."""
    record = record_of(vm)
    settled = replace(record, mark=Mark())
    after = replace(vm, config=replace(vm.config, record=settled))
    return Plan(
        (Change("state", vm.state, after.state),), (*restore(record, vm), SetRecord(vm.id, settled)), predicted=after
    )


def restore(record: VmRecord, vm: VmFacts) -> list[Step]:
    """What destroying it has taken away beside its name: starting with its host, and its name in the DNS."""
    steps: list[Step] = [SetAutostart(vm.id, True)] if record.autostart else []
    return steps + name_addresses(record, names_of(vm).domain)


def plan_expunge(request: VmRequest) -> Plan[VmFacts]:
    """Removes one VM for good, with exactly the data disks that were named; the use case asks for each of a name."""
    vm = request.existing or (request.destroyed[0] if request.destroyed else None)
    if vm is None:
        return Plan()
    refuse_protected(vm, "expunged")
    return Plan((Change("state", vm.state, None),), expunge_steps(request, vm), predicted=None)


def expunge_steps(request: VmRequest, vm: VmFacts) -> tuple[Step, ...]:
    """Claims it, marks it, deletes what is its own and the named data disks, and the definition last."""
    if vm.phase is Phase.DEPLOYING:
        return plan_undo(request, vm).steps
    record = record_of(vm)
    named = set(record.mark.delete_data_disks)
    if request.spec.delete_data_disks == "all" or vm is request.existing:
        named.update(disks_to_delete(request, record))
    elif isinstance(request.spec.delete_data_disks, tuple):
        named.update(name for name in request.spec.delete_data_disks if name in {d.name for d in record.data_disks})
    delete = tuple(disk.name for disk in record.data_disks if disk.name in named)
    marked = replace(
        record,
        protected=False,
        mark=Mark(Phase.EXPUNGING, record.mark.since or request.fresh.now, record.mark.expunge_at, delete),
    )
    steps = list(stop_steps(request, vm))
    if record.autostart and vm.exists:
        steps.append(SetAutostart(vm.id, False))
    steps.append(_claim(request, vm))
    steps.append(SetRecord(vm.id, replace(marked, mark=replace(marked.mark, owner=request.fresh.owner))))
    kept = tuple(disk for disk in record.data_disks if disk.name not in named)
    if any(standing_on_snapshots(vm, disk) for disk in kept):
        steps.append(ReleaseDisks(vm.id, tuple(disk.target for disk in kept)))
    steps += _removal(vm, record)
    steps += [DeleteVolume(disk.pool, disk.volume) for disk in record.data_disks if disk.name in named]
    steps.append(UndefineVm(vm.id, record.boot_left))
    return tuple(steps)


def standing_on_snapshots(vm: VmFacts, disk: DiskRecord) -> bool:
    """Whether a disk's content is not, or not only, in its own volume: then that may not be kept or used by itself."""
    config = vm.config.disk(disk.target)
    elsewhere = config is not None and config.path.rpartition("/")[2] != disk.volume
    return elsewhere or bool(vm.record and vm.record.snapshots)


def plan_undo(request: VmRequest, vm: VmFacts) -> Plan[VmFacts]:
    """Takes back a deploy that never finished. Its data disks stay: they may be older than it."""
    # It may run: its host, which starts it when it boots itself, has booted since.
    power: list[Step] = [PowerOff(vm.id)] if vm.power is not Power.OFF else [DropSaved(vm.id)] if vm.saved else []
    steps = (*power, _claim(request, vm), *_removal(vm, record_of(vm)), UndefineVm(vm.id))
    return Plan((Change("state", vm.state, None),), steps, predicted=None)


def _removal(vm: VmFacts, record: VmRecord) -> list[Step]:
    """The steps that delete what lives and dies with the VM: its own volumes and its addresses."""
    # in the pools of data disks lie the overlays of those that go, too
    pools = dict.fromkeys(disk.pool for disk in record.disks if disk.role in ("root", "seed", "data") and disk.pool)
    steps: list[Step] = [Release(nic.network, nic.mac) for nic in record.nics if nic.ip]
    steps += [DeleteOwnVolumes(pool, names_of(vm)) for pool in pools]
    return steps


def _claim(request: VmRequest, vm: VmFacts) -> Claim:
    """The next claim on this VM: of all who try it, libvirt lets exactly one through."""
    generation = claim_generation(vm.config.domain_name) + 1
    owned = replace(record_of(vm), mark=replace(record_of(vm).mark, owner=request.fresh.owner))
    return Claim(vm.id, names_of(vm).claimed_domain(generation), vm.phase, owned)
