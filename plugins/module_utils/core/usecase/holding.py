# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process at a time on a VM that exists: each says in the definition that it is at it, and then looks who else is.

libvirt has no lock that outlives a call. But it keeps notes under many names, one for each process here. Whoever has
written his own and then sees no other's may go on: had anybody come before him he would see that, and whoever comes
after him sees his. Whoever sees another takes his own back and tries again. A dead process's note counts for nothing,
and who cannot see the process takes it for dead when its note is old: so a living one writes it anew, as long as a step
of its work may last.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import data_disk_of, tombstone
from ..model.values import now_text
from ..model.vm import Hold, Mark, VmFacts
from .layering import with_snapshots
from .owner import current_owner, is_abandoned
from .query import every_vm
from .tombstone import await_burial

_PATIENCE = 30.0  # seconds to wait for others
_PAUSE = 0.2  # seconds, at the least, between two attempts
_STEP = "Hold"  # what an error names as the step that says that nothing was begun, for others are at it
BEAT = 240.0
"""Seconds between two signs of life: well below the time after which a process nobody can see is taken for dead."""
_held: set[str] = set()  # tokens of the notes that this very process has written


@contextmanager
def holding(host: Host, vms: Sequence[VmFacts], volumes: Collection[str] = ()) -> Iterator[None]:
    """Keeps other processes off these VMs of the host; the first is about to get those data volumes (pool/name).

    Conflict where a VM is not as it was found, or stays held.
    """
    with ExitStack() as stack:
        for vm in sorted(vms, key=lambda vm: vm.id):
            stack.enter_context(_one(host, vm, tuple(volumes) if vm is vms[0] else ()))
        yield


@contextmanager
def _one(host: Host, vm: VmFacts, volumes: tuple[str, ...]) -> Iterator[None]:
    ours = Hold(current_owner(), now_text(), volumes)
    _held.add(ours.owner.token)
    try:
        _take(host, vm, ours)
        _unchanged(host, vm)
        with beating([host], vm.id, ours):
            yield
    finally:
        _held.discard(ours.owner.token)
        with suppress(AblestackError):
            host.let_go(vm.id, ours.owner.token)


@contextmanager
def beating(hosts: Collection[Host], vm_id: str, ours: Hold | None = None) -> Iterator[None]:
    """Notes in the VM's definition, now and then, that this process still works on it; no more once that is done."""
    note = ours or Hold(current_owner(), "")
    ended, has_beaten = Event(), Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            has_beaten.set()
            for host in hosts:
                with suppress(AblestackError):  # it has no definition there yet, or libvirt is busy with it
                    host.hold(vm_id, replace(note, since=now_text()))

    heart = Thread(target=beat, name=f"at work on {vm_id}", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        for host in hosts if has_beaten.is_set() else ():
            with suppress(AblestackError):
                host.let_go(vm_id, note.owner.token)


def _take(host: Host, vm: VmFacts, ours: Hold) -> None:
    deadline = time.monotonic() + _PATIENCE
    pause = _PAUSE * (1 + int(ours.owner.token[:2], 16) / 64)  # no two of one pace
    while any(_lives(other) for other in _noted(host, vm, ours)):
        host.let_go(vm.id, ours.owner.token)
        if time.monotonic() > deadline:
            raise _conflict(vm, f"another controller is working on VM '{vm.name}'")
        time.sleep(pause)


def _noted(host: Host, vm: VmFacts, ours: Hold) -> tuple[Hold, ...]:
    """Writes ours, and returns those of others."""
    try:
        others = host.hold(vm.id, ours)
    except AblestackError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise _conflict(vm, f"VM '{vm.name}' is gone: somebody else removed it meanwhile") from error
    for other in others:
        if not _lives(other):
            host.let_go(vm.id, other.owner.token)
    return others


def _lives(hold: Hold) -> bool:
    return hold.owner.token in _held or not is_abandoned(Mark(since=hold.since, owner=hold.owner))


def _unchanged(host: Host, vm: VmFacts) -> None:
    """What was planned for the VM as it was found is right only as long as it is that."""
    ref = host.domain(vm.id)
    now = host.vm(ref) if ref else None
    if now is not None and now.config != vm.config:
        now = with_snapshots(host, now)  # so it may have been found, where the record names one that was never taken
    if now is None or now.config != vm.config or now.is_active != vm.is_active:
        raise _conflict(vm, f"VM '{vm.name}' was changed by somebody else meanwhile")


def leave_mark(host: Host, vm: VmFacts, mark: Mark) -> None:
    """Sets the mark in a VM as it was found: whoever finds that leaves the VM alone. Conflict as of `holding`."""
    with holding(host, [vm]):
        if vm.record:
            host.set_record(vm.id, replace(vm.record, mark=mark))


def came_second(error: AblestackError) -> bool:
    """Whether another process was faster, so that nothing was done, and the plan is of yesterday."""
    return error.code is Code.CONFLICT and error.details.get("step") == _STEP


def ensure_free(host: Host, vm: VmFacts, volumes: Collection[str], lenders: Collection[str]) -> None:
    """Conflict where a data volume (pool/name) that the VM is to adopt is gone, or another VM has it or is to have it.

    To be asked once the VM's own definition tells of them, so that of two who want one at most one finds it free.
    `lenders` are the ids of destroyed VMs that give theirs up.
    """
    for volume in volumes:
        pool, name = volume.split("/", 1)
        await_burial(host, pool, tombstone(data_disk_of(name)))
        if not host.fresh_volume(pool, name):
            raise _conflict(vm, f"volume '{volume}' was deleted meanwhile")
    for other in every_vm(host, tuple(ref for ref in host.domains() if ref.id not in (vm.id, *lenders))):
        claimed = volumes_of(other)
        for volume in volumes:
            if volume in claimed:
                raise given_meanwhile(vm, volume, other)


def volumes_of(vm: VmFacts) -> set[str]:
    """The volumes (pool/name) that a VM has, and those that a living process is about to give it."""
    recorded = {f"{disk.pool}/{disk.volume}" for disk in (vm.record.disks if vm.record else ())}
    return recorded.union(volume for hold in vm.holds if _lives(hold) for volume in hold.volumes)


def given_meanwhile(vm: VmFacts, volume: str, other: VmFacts) -> AblestackError:
    """Said where another VM was faster."""
    return _conflict(vm, f"volume '{volume}' was given to VM '{other.name}' on host '{other.host.name}' meanwhile")


def _conflict(vm: VmFacts, what: str) -> AblestackError:
    return AblestackError(Code.CONFLICT, what, "run the task again", id=vm.id, step=_STEP)
