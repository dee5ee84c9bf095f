# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists VM snapshots for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.outcome import Outcome
from ..model.snapshot import SnapshotWorld
from ..model.snapshot_view import snapshot_views, tree_view
from .infrastructure import Infrastructure
from .query import read_vms


def list_snapshots(infra: Infrastructure, vm: str = "", vm_id: str = "", name: str = "") -> Outcome:
    """Result: `snapshots`, all rows; `trees`, one for each VM that has any; `unreachable`, host -> sentence.

    NotFound where a VM is named and no host has it.
    """
    found, errors = infra.on_hosts(lambda host: _on_host(host, vm, vm_id))
    worlds = sorted((world for on_host in found.values() for world in on_host), key=lambda world: world.vm.name.lower())
    unreachable = {host: error.sentence for host, error in errors.items()}
    if (vm or vm_id) and not worlds:
        for error in errors.values():
            raise error
        raise AblestackError(Code.NOT_FOUND, f"VM '{vm or vm_id}' does not exist", "see ablestack_vm_info")
    if errors and not found:
        raise next(iter(errors.values()))
    rows = [row for world in worlds for row in snapshot_views(world) if not name or row["name"] == name]
    trees = [tree_view(world) for world in worlds if world.snapshots]
    warnings = tuple(f"host '{host}' was left out: {text}" for host, text in unreachable.items())
    return Outcome(result={"snapshots": rows, "trees": trees, "unreachable": unreachable}, warnings=warnings)


def _on_host(host: Host, name: str, vm_id: str) -> list[SnapshotWorld]:
    vms, _warnings = read_vms(host, tuple(ref for ref in host.domains() if not vm_id or ref.id == vm_id))
    wanted = [vm for vm in vms if vm.record is not None and (not name or vm.name.lower() == name.lower())]
    # of a VM asked for by its name, the one that holds it
    wanted = [vm for vm in wanted if vm.exists or vm_id] if name or vm_id else [vm for vm in wanted if vm.exists]
    return [SnapshotWorld(vm, host.snapshot_facts(vm.id)) for vm in wanted]
