# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who works on a VM: whether the process that left a mark in it is still alive, and how one alone gets to leave it.

libvirt cannot compare before it writes a record. So whoever wants to set the mark first shows that in a volume named
after itself (a ticket), and then looks for those of others. Who sees one gives way; who sees none looks at the VM once
more, sets the mark, and takes the ticket away. Of two, the one whose ticket came later sees the other's ticket, or else
its mark. Both may give way: then both try again.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import VmNames
from ..model.resources import VolumeSpec
from ..model.values import parse_time, time_text
from ..model.vm import Mark, Owner, VmFacts

STALE_AFTER = timedelta(minutes=15)
"""A mark of a process we cannot see is taken for dead after this time: longer than any one step is expected to take."""
_TICKET = re.compile(r"(?P<since>\d+)-(?P<pid>\d+)-(?P<started>\d+)-(?P<token>\w+)-(?P<machine>.+)\Z")
_SIZE = 512  # bytes: what counts is the name


def current_owner() -> Owner:
    """The calling process, with a token of its own for each call."""
    pid = os.getpid()
    return Owner(*_process(pid), uuid.uuid4().hex[:12])


@cache
def _process(pid: int) -> tuple[str, int, int]:
    """What stays the same of a process of ours; the plans of a thousand VMs ask for it."""
    return _machine(), pid, _start_time(pid) or 0


def is_abandoned(mark: Mark, now: datetime | None = None) -> bool:
    """Whether nobody works on what this mark stands for any more."""
    owner = mark.owner
    if owner is not None and owner.machine == _machine():
        started = _start_time(owner.pid)
        return started is None or started != owner.started or owner.same_process(current_owner())
    try:
        since = parse_time(mark.since)
    except ValueError:  # none, or damaged: what cannot be read counts for nothing
        return True
    return (now or datetime.now(timezone.utc)) - since > STALE_AFTER


def _machine() -> str:
    """Boot and PID namespace: where both agree, a PID means the same process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"unknown/{uuid.getnode()}"


def _start_time(pid: int) -> int | None:
    """The process's start in clock ticks since boot (field 22 of /proc/PID/stat), None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def take_hold(host: Host, seen: VmFacts, mark: Mark) -> None:
    """Sets the mark in a VM that was seen so. Conflict where another process works on it or wants to, or it changed."""
    vm = _now(host, seen)
    if vm.record and vm.record.mark.owner is not None and vm.record.mark.owner == mark.owner:
        return
    disks = vm.record.disks if vm.record else ()
    pool = next((disk.pool for disk in disks if disk.role == "root"), host.spec.pool)
    stem = VmNames(vm.name, vm.id).hold_prefix
    ticket = f"{stem}{_ticket(mark)}"
    host.create_volume(VolumeSpec(pool, ticket, _SIZE, format="raw"))
    try:
        for name in host.volume_names(pool):
            if name.startswith(stem) and name != ticket and not _is_left_behind(host, pool, name, stem):
                raise _conflict(vm)
        _set_mark(host, seen, mark)
    finally:
        host.delete_volume(pool, ticket)


def _set_mark(host: Host, seen: VmFacts, mark: Mark) -> None:
    vm = _now(host, seen)
    if vm.record is None or (vm.record.mark.owner is not None and not is_abandoned(vm.record.mark)):
        raise _conflict(vm)
    if (vm.config, vm.is_active) != (seen.config, seen.is_active):
        raise AblestackError(
            Code.CONFLICT, f"VM '{vm.name}' was changed at the same moment", "run the task again", id=vm.id
        )
    host.set_record(vm.id, replace(vm.record, mark=mark))


def _now(host: Host, seen: VmFacts) -> VmFacts:
    ref = host.domain(seen.id)
    if ref is None:
        raise AblestackError(Code.NOT_FOUND, f"VM '{seen.name}' is gone", "somebody removed it meanwhile", id=seen.id)
    return host.vm(ref)


def _ticket(mark: Mark) -> str:
    """Who holds it and since when, as the part of a file's name that `_holder` reads."""
    owner = mark.owner
    if owner is None:
        raise AblestackError(Code.INTERNAL, "a mark without an owner")
    seconds = int(parse_time(mark.since).timestamp())
    return f"{seconds}-{owner.pid}-{owner.started}-{owner.token}-{owner.machine.replace('/', '_')}"


def _holder(ticket: str) -> Mark | None:
    found = _TICKET.match(ticket)
    if found is None:
        return None
    machine = found["machine"].replace("_", "/")
    owner = Owner(machine, int(found["pid"]), int(found["started"]), found["token"])
    try:
        since = time_text(datetime.fromtimestamp(int(found["since"]), timezone.utc))
    except (ValueError, OverflowError, OSError):  # no time a clock ever shows
        return None
    return Mark(since=since, owner=owner)


def _is_left_behind(host: Host, pool: str, name: str, stem: str) -> bool:
    """Whether that ticket's process is gone; then the ticket goes, too."""
    mark = _holder(name[len(stem) :])
    if mark is not None and not is_abandoned(mark):
        return False
    host.delete_volume(pool, name)
    return True


def _conflict(vm: VmFacts) -> AblestackError:
    return AblestackError(
        Code.CONFLICT,
        f"another controller is working on VM '{vm.name}'",
        "run the task again when it is done",
        id=vm.id,
    )
