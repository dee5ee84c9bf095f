# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right to work on a VM's snapshots: of all processes that want it at one moment, at most one gets it.

The mark in the VM's record gives it, and libvirt cannot compare before it writes a record. So whoever wants to set the
mark first shows that in a volume named after itself (a ticket), and then looks for those of others. Who sees one gives
way; who sees none looks at the VM once more, sets the mark, and takes the ticket away. Of two, the one whose ticket
came later sees the other's ticket, or else its mark. Both may give way: then both try again.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import VmNames
from ..model.resources import VolumeSpec
from ..model.values import parse_time, time_text
from ..model.vm import Mark, Owner, VmFacts
from ..plan.lifecycle import record_of
from ..plan.snapshot_steps import Hold
from .layering import current_vm
from .owner import is_abandoned

_TICKET = re.compile(r"(?P<since>\d+)-(?P<pid>\d+)-(?P<started>\d+)-(?P<token>\w+)-(?P<machine>.+)\Z")
_SIZE = 512  # bytes: what counts is the name


def take_hold(host: Host, step: Hold) -> None:
    """Sets the mark. Conflict where another process works on the VM or wants to, or where the VM has changed."""
    vm = current_vm(host, step.vm_id)
    if _owner(vm) is not None and _owner(vm) == step.mark.owner:
        return
    pool = next((disk.pool for disk in record_of(vm).disks if disk.role == "root"), host.spec.pool)
    stem = VmNames(vm.name, vm.id).hold_prefix
    ticket = f"{stem}{_ticket(step.mark)}"
    host.create_volume(VolumeSpec(pool, ticket, _SIZE, format="raw"))
    try:
        for name in host.volume_names(pool):
            if name.startswith(stem) and name != ticket and not _is_left_behind(host, pool, name, stem):
                raise _conflict(vm)
        _set_mark(host, step)
    finally:
        host.delete_volume(pool, ticket)


def _set_mark(host: Host, step: Hold) -> None:
    vm = current_vm(host, step.vm_id)
    record = record_of(vm)
    if record.mark.owner is not None and not is_abandoned(record.mark):
        raise _conflict(vm)
    if (vm.config, vm.is_active) != (step.seen.config, step.seen.is_active):
        raise AblestackError(
            Code.CONFLICT, f"VM '{vm.name}' was changed at the same moment", "run the task again", id=vm.id
        )
    host.set_record(step.vm_id, replace(record, mark=step.mark))


def _owner(vm: VmFacts) -> Owner | None:
    return vm.record.mark.owner if vm.record else None


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
    return Mark(since=time_text(datetime.fromtimestamp(int(found["since"]), timezone.utc)), owner=owner)


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
