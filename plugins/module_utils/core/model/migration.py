# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration: what is wanted, what goes over, and which of two hosts a VM is on while it moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AblestackError, Code
from .values import UNSET, Maybe
from .vm import Phase, Power, VmFacts


@dataclass(frozen=True)
class MigrateSpec:
    """What is wanted. An empty `host` leaves the choice to placement, and a VM where it is while its host is enabled.

    `live` false stops a running VM first. `start` is for a VM that is off: it has to run afterwards.
    """

    name: str = ""
    id: str = ""
    host: str = ""
    live: bool = True
    copy_storage: bool = False
    forced: bool = False
    timeout: Maybe[int] = UNSET
    force_after_timeout: bool = False
    start: bool = False


@dataclass(frozen=True)
class GuestNeeds:
    """What a VM needs of a host. `cpu` is libvirt's description of its processor, empty while the VM is off."""

    machine: str
    virt_type: str
    cpu: str = ""


@dataclass(frozen=True)
class Transfer:
    """How a VM goes over. `peer` is the target's URI as the source reaches it; `copies` are targets of the disks
    whose content goes along, for which images are there already. Without `live` only the definition goes.
    """

    peer: str
    live: bool = False
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class StateFile:
    """A file of a VM's firmware or TPM; of `changed` the same holds as of a volume's."""

    folder: str
    name: str
    content: bytes
    changed: str = ""


def moving(vms: Iterable[VmFacts]) -> bool:
    """Whether any of these rows is of a VM that is on its way."""
    return any(vm.phase is Phase.MIGRATING for vm in vms)


def homes(vms: Iterable[VmFacts]) -> list[VmFacts]:
    """The same rows, of a VM on its way the one that is the VM: the other is about to come, or to go."""
    rows = list(vms)
    if not moving(rows):
        return rows
    by_id: dict[str, list[VmFacts]] = {}
    for vm in rows:
        by_id.setdefault(vm.id, []).append(vm)
    return [vm for same in by_id.values() for vm in (same if not moving(same) else [home_of(same)])]


def home_of(rows: list[VmFacts]) -> VmFacts:
    """The row of a moving VM that is the VM: where it runs, and where it comes from while it runs nowhere."""
    running = [vm for vm in rows if vm.power is Power.RUNNING]
    if len(running) == 1:
        return running[0]
    sources = {vm.record.mark.source for vm in rows if vm.record}
    return next((vm for vm in running or rows if vm.host.name in sources), rows[0])


def half_moved(vm: VmFacts) -> AblestackError:
    """Said where anything but a migration is wanted of a VM on its way."""
    target = vm.record.mark.target if vm.record else ""
    return AblestackError(
        Code.INVALID_STATE,
        f"VM '{vm.name}' is being migrated to host '{target}'",
        "wait until that is done; if it was interrupted, run ablestack_vm_migrate again, which completes it",
        host=vm.host.name,
        target=target,
    )
