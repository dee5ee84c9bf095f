# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the process that left a mark in a VM, or a note, is still alive."""

from __future__ import annotations

import os
import secrets
import uuid
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

from ..model.values import parse_time
from ..model.vm import Mark, Owner, VmFacts

STALE_AFTER = timedelta(minutes=15)
"""A process we cannot see is taken for dead when its last sign of life is older: several times holding.BEAT."""


def current_owner() -> Owner:
    """The calling process, with a token of its own for each call."""
    pid = os.getpid()
    return Owner(*_process(pid), secrets.token_hex(6))


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


def is_busy(vm: VmFacts) -> bool:
    """Whether a living process works on the VM: that of its mark, which long work shows to live by a note beside it."""
    mark = vm.record.mark if vm.record else Mark()
    if mark.owner is None:
        return False
    signs = [Mark(since=note.since, owner=note.owner) for note in vm.holds if note.owner.same_process(mark.owner)]
    return not all(is_abandoned(sign) for sign in (mark, *signs))


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
