# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists VM snapshots for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.migration import homes
from ..model.naming import vm_name_of
from ..model.outcome import Outcome
from ..model.snapshot import SnapshotWorld
from ..model.snapshot_view import snapshot_views, tree_view
from ..model.vm import DomainRef, VmFacts
from .infrastructure import Infrastructure
from .query import read_vms


def list_snapshots(infra: Infrastructure, vm: str = "", vm_id: str = "", name: str = "") -> Outcome:
    """Result: `snapshots`, all rows; `trees`, one for each VM that has any; `unreachable`, host -> sentence.

    NotFound where a VM is named and no host has it, InvalidState where it may be one that cannot be read.
    """
    found, errors = infra.on_hosts(lambda host: _on_host(host, vm, vm_id))
    rows = [world for worlds, _warnings in found.values() for world in worlds]
    at_home = {id(one) for one in homes(world.vm for world in rows)}  # of a VM on its way, one row
    worlds = sorted((world for world in rows if id(world.vm) in at_home), key=lambda world: world.vm.name.lower())
    unreadable = [warning for _worlds, warnings in found.values() for warning in warnings]
    if (vm or vm_id) and not worlds:
        for error in errors.values():
            raise error
        for sentence in unreadable:
            raise AblestackError(Code.INVALID_STATE, sentence, "mend its metadata with virsh edit")
        raise AblestackError(Code.NOT_FOUND, f"VM '{vm or vm_id}' does not exist", "see ablestack_vm_info")
    if errors and not found:
        raise next(iter(errors.values()))
    unreachable = {host: error.sentence for host, error in errors.items()}
    shown = [row for world in worlds for row in snapshot_views(world) if not name or row["name"] == name]
    trees = [tree_view(world) for world in worlds if world.snapshots]
    warnings = (*unreadable, *(f"host '{host}' was left out: {text}" for host, text in unreachable.items()))
    return Outcome(result={"snapshots": shown, "trees": trees, "unreachable": unreachable}, warnings=warnings)


def _on_host(host: Host, name: str, vm_id: str) -> tuple[list[SnapshotWorld], list[str]]:
    """What is wanted of the host, and what could not be read."""
    vms, warnings = read_vms(host, tuple(ref for ref in host.domains() if _may_be(ref, name, vm_id)))
    worlds = []
    for vm in vms:
        if _is_wanted(vm, name, vm_id):
            try:
                worlds.append(SnapshotWorld(vm, host.snapshot_facts(vm.id)))
            except AblestackError as error:
                if error.code is not Code.NOT_FOUND:  # gone meanwhile
                    raise
    return worlds, warnings


def _may_be(ref: DomainRef, name: str, vm_id: str) -> bool:
    """What the listing can rule out before a domain is read."""
    return (not vm_id or ref.id == vm_id) and (not name or vm_name_of(ref.domain_name) == name.lower())


def _is_wanted(vm: VmFacts, name: str, vm_id: str) -> bool:
    """A destroyed VM only by its id: its name is free."""
    return vm.record is not None and (not name or vm.name.lower() == name.lower()) and (vm.exists or bool(vm_id))
