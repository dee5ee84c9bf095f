# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a plan on one host, and takes a failed first deploy back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Callable

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.plan_parts import Step
from ..model.vm import Mark, Phase, Power
from ..plan import steps as verbs
from . import layering
from .owner import current_owner
from .seeding import start, write_seed


def execute(
    host: Host, steps: Iterable[Step], *, undo: bool = False, after: Mapping[type, Callable[[], None]] | None = None
) -> int:
    """Runs the steps in order and returns how many were done; `after` holds a check to make after a kind of step.

    With `undo` an error takes back, last first, what this call has done, so that a failed first deploy leaves nothing;
    a killed process leaves the mark in the definition instead, and the next run finds that.
    """
    done: list[Step] = []
    for step in steps:
        try:
            _DO[type(step)](host, step)
            done.append(step)
            if after and type(step) in after:
                after[type(step)]()
        except AblestackError as error:
            if undo:
                # The failed step may have done its part; but what it found there already is somebody else's.
                ours = error.code is not Code.ALREADY_EXISTS and step not in done
                _take_back(host, [*done, step] if ours else done)
            if error.code is Code.ALREADY_EXISTS and isinstance(step, (verbs.CreateVolume, verbs.CloneVolume)):
                error = _made_meanwhile(step, error)
            error.details = {**error.details, "step": type(step).__name__, "steps_done": 0 if undo else len(done)}
            raise error
    return len(done)


def _made_meanwhile(step: verbs.CreateVolume | verbs.CloneVolume, error: AblestackError) -> AblestackError:
    return AblestackError(
        Code.CONFLICT,
        f"somebody else made volume '{step.volume.name}' in pool '{step.volume.pool}' at the same time",
        "run the task again: it will find that one",
        **error.details,
    )


def _take_back(host: Host, done: list[Step]) -> None:
    """Undoes what can be undone; what fails here must not hide the first error, and is found by the next run."""
    for step in reversed(done):
        with suppress(AblestackError):
            undo = _UNDO.get(type(step))
            if undo:
                undo(host, step)


def disown(host: Host, vm_id: str, crashed: bool = False) -> None:
    """A failed run says that it no longer works on the VM, so that the next one need not wait. Others' marks stay.

    A guest that would not go down for a change owes no start: it still runs. One whose QEMU `crashed` of a change does.
    """
    with suppress(AblestackError):
        ref = host.domain(vm_id)
        vm = host.vm(ref) if ref else None
        if vm and vm.record and crashed and not vm.is_active and vm.phase is Phase.SETTLED:
            host.set_record(vm_id, vm.record.marked(Phase.RESTARTING))
        elif vm and vm.record and vm.record.mark.owner and vm.record.mark.owner.same_process(current_owner()):
            still_runs = vm.phase is Phase.RESTARTING and vm.is_active and vm.power is not Power.PAUSED
            mark = Mark() if still_runs else replace(vm.record.mark, owner=None)
            host.set_record(vm_id, replace(vm.record, mark=mark))


def _claim(host: Host, step: verbs.Claim) -> None:
    before = _current(host, step.vm_id)
    if before is None or before.phase is not step.phase:
        raise _lost(step)
    try:
        host.rename(step.vm_id, step.domain_name)
    except AblestackError as error:
        if error.code in (Code.ALREADY_EXISTS, Code.NOT_FOUND):
            raise _lost(step) from error
        raise
    after = _current(host, step.vm_id)
    if after is None or after.phase is not step.phase:
        # Somebody finished with it between the look and the rename: what is theirs gets its name back.
        with suppress(AblestackError):
            host.rename(step.vm_id, before.config.domain_name)
        raise _lost(step)
    host.set_record(step.vm_id, step.record)


def _current(host: Host, vm_id: str) -> Any:
    ref = host.domain(vm_id)
    return host.vm(ref) if ref else None


def _lost(step: verbs.Claim) -> AblestackError:
    return AblestackError(
        Code.CONFLICT,
        f"somebody else is working on VM '{step.record.name}' ({step.vm_id})",
        "run the task again when they are done",
    )


def _shutdown(host: Host, step: verbs.Shutdown) -> None:
    if host.shutdown(step.vm_id, step.timeout):
        return
    if not step.force_after:
        raise AblestackError(
            Code.TIMEOUT,
            f"the guest did not shut down within {step.timeout} s and still runs",
            "give it more time with timeout, or cut its power with forced: true or force_after_timeout: true",
        )
    host.power_off(step.vm_id)


def _reboot(host: Host, step: verbs.Reboot) -> None:
    if host.reboot(step.vm_id, step.timeout):
        return
    if not step.force_after:
        raise AblestackError(
            Code.TIMEOUT,
            f"the guest did not reboot within {step.timeout} s",
            "give it more time with timeout, or reset it with forced: true or force_after_timeout: true",
        )
    host.reset(step.vm_id)


def _name_reservation(host: Host, step: verbs.NameReservation) -> None:
    network = host.network(step.network)
    if network is None or not network.reserves:
        return
    own = next((row for row in network.reservations if row.mac == step.reservation.mac), None)
    if (own is not None or step.reservation.name) and own != step.reservation:
        host.reserve(step.network, step.reservation)


def _unreserve(host: Host, step: verbs.Reserve) -> None:
    if step.before:
        host.reserve(step.network, step.before)
    else:
        host.release(step.network, step.reservation.mac)


def _delete_own(host: Host, step: verbs.DeleteOwnVolumes) -> None:
    with _no_pool_no_volume(host, step.pool):
        for name in host.volume_names(step.pool):
            if step.names.owns(name):
                host.delete_volume(step.pool, name)


def _delete_volume(host: Host, step: verbs.DeleteVolume) -> None:
    with _no_pool_no_volume(host, step.pool):
        host.delete_volume(step.pool, step.volume)


@contextmanager
def _no_pool_no_volume(host: Host, pool: str) -> Iterator[None]:
    """A pool that is no longer defined holds nothing that could be deleted; of one that is stopped nobody knows."""
    try:
        yield
    except AblestackError as error:
        if error.code is not Code.NOT_FOUND or host.pool_state(pool) is not None:
            raise


def _detach_disk(host: Host, step: verbs.DetachDisk) -> None:
    if not host.detach_disk(step.vm_id, step.disk, step.timeout):
        raise _held(f"disk {step.disk.target}", step.timeout)


def _detach_nic(host: Host, step: verbs.DetachNic) -> None:
    if not host.detach_nic(step.vm_id, step.nic, step.timeout):
        raise _held(f"NIC {step.nic.mac}", step.timeout)


def _held(what: str, timeout: int) -> AblestackError:
    return AblestackError(
        Code.TIMEOUT,
        f"the guest did not let go of {what} within {timeout} s",
        "unmount it in the guest, see that the guest has booted, or stop the VM first",
    )


_DO: dict[type, Callable[[Host, Any], Any]] = {
    verbs.DefineVm: lambda host, step: host.define(step.config),
    verbs.RedefineVm: lambda host, step: host.redefine(step.before, step.after),
    verbs.UndefineVm: lambda host, step: host.undefine(step.vm_id, step.boot_left),
    verbs.SetRecord: lambda host, step: host.set_record(step.vm_id, step.record),
    verbs.Rename: lambda host, step: host.rename(step.vm_id, step.domain_name),
    verbs.Claim: _claim,
    verbs.SetAutostart: lambda host, step: host.set_autostart(step.vm_id, step.on),
    verbs.CreateVolume: lambda host, step: host.create_volume(step.volume),
    verbs.CloneVolume: lambda host, step: host.clone_volume(step.volume, f"{step.source_pool}/{step.source}"),
    verbs.GrowVolume: lambda host, step: host.resize_volume(step.pool, step.volume, step.size),
    verbs.ResizeDisk: lambda host, step: host.resize_disk(step.vm_id, step.target, step.size),
    verbs.AttachDisk: lambda host, step: host.attach_disk(step.vm_id, step.disk),
    verbs.DetachDisk: _detach_disk,
    verbs.TuneDisk: lambda host, step: host.tune_disk(step.vm_id, step.disk),
    verbs.ChangeMedia: lambda host, step: host.change_media(step.vm_id, step.drive, step.force),
    verbs.AttachNic: lambda host, step: host.attach_nic(step.vm_id, step.nic),
    verbs.DetachNic: _detach_nic,
    verbs.UpdateNic: lambda host, step: host.update_nic(step.vm_id, step.nic),
    verbs.SetCpus: lambda host, step: host.set_cpus(step.vm_id, step.cpus),
    verbs.SetMemory: lambda host, step: host.set_memory(step.vm_id, step.memory),
    verbs.DeleteVolume: _delete_volume,
    verbs.DeleteOwnVolumes: _delete_own,
    verbs.WriteSeed: write_seed,
    verbs.Reserve: lambda host, step: host.reserve(step.network, step.reservation),
    verbs.Release: lambda host, step: host.release(step.network, step.mac),
    verbs.NameReservation: _name_reservation,
    verbs.Start: lambda host, step: start(host, step.vm_id),
    verbs.DropSaved: lambda host, step: host.drop_saved(step.vm_id),
    verbs.Resume: lambda host, step: host.resume(step.vm_id),
    verbs.Shutdown: _shutdown,
    verbs.PowerOff: lambda host, step: host.power_off(step.vm_id),
    verbs.Reboot: _reboot,
    verbs.Reset: lambda host, step: host.reset(step.vm_id),
    **layering.DO,
}

# What a failed first deploy takes back; a step that is not here leaves nothing behind that another does not remove.
_UNDO: dict[type, Callable[[Host, Any], Any]] = {
    verbs.DefineVm: lambda host, step: host.undefine(step.config.id),
    # a destroyed VM that has lent a disk gets it back, in its record too
    verbs.RedefineVm: lambda host, step: host.redefine(step.after, step.before),
    verbs.CreateVolume: lambda host, step: host.delete_volume(step.volume.pool, step.volume.name),
    verbs.CloneVolume: lambda host, step: host.delete_volume(step.volume.pool, step.volume.name),
    verbs.WriteSeed: lambda host, step: host.delete_volume(step.pool, step.volume),
    verbs.Reserve: _unreserve,
    verbs.Start: lambda host, step: host.power_off(step.vm_id),
}
