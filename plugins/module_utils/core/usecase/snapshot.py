# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's snapshots brought to what the task says: read, plan, execute, read again."""

from __future__ import annotations

import itertools
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.migration import half_moved
from ..model.outcome import Outcome
from ..model.plan_parts import Plan
from ..model.snapshot import SnapshotFacts, SnapshotSpec, SnapshotWorld
from ..model.snapshot_view import diff_view, snapshot_view, snapshot_views, tree_text
from ..model.values import time_text
from ..model.vm import Phase, VmFacts
from ..plan.layers import is_known
from ..plan.snapshot import SnapshotRequest, plan_snapshot
from ..plan.snapshot_steps import MergeLayers
from .execute import disown, execute
from .holding import came_second, holding
from .infrastructure import Infrastructure
from .layering import current_vm, read_disks
from .locate import locate
from .owner import current_owner, is_busy
from .staying import staying

_PATIENCE = 30.0  # seconds to wait for another process that works on the same VM
_PAUSE = 1.0  # seconds between two looks whether it is done


def apply_snapshot(infra: Infrastructure, spec: SnapshotSpec) -> Outcome:
    """Result: `snapshot` (empty once it is deleted), `snapshots` (all of the VM), `tree` (text) and `changes`."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        vm = _found(infra, spec, deadline)
        if vm is None:
            return Outcome(result={"snapshot": {}, "snapshots": [], "tree": "", "changes": []})
        try:
            with staying(infra, vm):
                return _applied(infra, spec, vm)
        except AblestackError as error:
            if not came_second(error) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE * (1 + secrets.randbelow(100)) / 100)  # of two that gave way to each other, one is first


def _applied(infra: Infrastructure, wanted: SnapshotSpec, vm: VmFacts) -> Outcome:
    host = infra.host(vm.host.name)
    world = _read(host, vm, wanted)
    spec = _named(wanted, world)
    plan = _plan(infra, host, spec, world)
    unsure = any(not is_known(world, disk) for disk in world.disks)
    if not infra.check and (unsure or any(isinstance(step, MergeLayers) for step in plan.steps)):
        # A killed merge, or another tool, leaves libvirt with an old idea of what stands on what. A silent agent had
        # its time, here and below.
        host.refresh_pools(dict.fromkeys(disk.pool for disk in world.disks))
        world = _read(host, current_vm(host, vm.id), spec, ask=world.agent is not None or not vm.is_active)
        plan = _plan(infra, host, spec, world)
    after = plan.predicted or world
    if plan.steps and not infra.check:
        with holding(host, [world.vm]):
            # the images may be others by now, and the name be taken
            held = _read(host, world.vm, spec, ask=world.agent is not None)
            spec = _named(wanted, held)
            plan = _plan(infra, host, spec, held)
            try:
                execute(host, plan.steps)
            except AblestackError:
                _clean_up(infra, host, vm.id)
                raise
        after = _read(host, current_vm(host, vm.id), replace(spec, state="absent"), ask=False)
    result: dict[str, Any] = {
        "snapshot": _shown(after, spec, infra.check and plan.changed),
        "snapshots": snapshot_views(after),
        "tree": tree_text(after),
        "changes": [change.as_dict() for change in plan.changes],
    }
    return Outcome(plan.changed, diff_view(world), diff_view(after, "" if wanted.name else spec.name), result)


def _shown(world: SnapshotWorld, spec: SnapshotSpec, predicted: bool) -> dict[str, Any]:
    snapshot = world.snapshot(spec.name)
    if snapshot is None:
        return {}
    view = snapshot_view(world, snapshot)
    if predicted and spec.state == "present" and not spec.memory and spec.quiesce == "auto":
        view["quiesced"] = None  # only the guest knows, and check mode does not ask it
    return view


def _plan(infra: Infrastructure, host: Host, spec: SnapshotSpec, world: SnapshotWorld) -> Plan[SnapshotWorld]:
    now = datetime.now(timezone.utc)
    names = (name for pool in dict.fromkeys(disk.pool for disk in world.disks) for name in host.volume_names(pool))
    request = SnapshotRequest(
        spec,
        world,
        limit=infra.catalog.settings.max_vm_snapshots,
        now=time_text(now),
        seconds=int(now.timestamp()),
        owner=current_owner(),
        volumes=frozenset(names) if spec.state != "absent" else frozenset(),
        asked=not infra.check,
    )
    plan = plan_snapshot(request)
    for refusal in plan.refusals:
        raise refusal
    return plan


def _read(host: Host, vm: VmFacts, spec: SnapshotSpec, ask: bool = True) -> SnapshotWorld:
    snapshots = host.snapshot_facts(vm.id)
    restoring = spec.state == "reverted" and not vm.is_active
    disks = read_disks(host, vm, snapshots, look_inside=restoring)
    asked = ask and vm.is_active and spec.state != "reverted"
    return SnapshotWorld(vm, snapshots, disks, host.agent(vm.id, _freezes(spec, snapshots)) if asked else None)


def _freezes(spec: SnapshotSpec, snapshots: tuple[SnapshotFacts, ...]) -> bool:
    """Whether the guest would be frozen for this task if it can be."""
    taken = any(snapshot.name == spec.name for snapshot in snapshots)
    return spec.state == "present" and not taken and not spec.memory and spec.quiesce != "false"


def _clean_up(infra: Infrastructure, host: Host, vm_id: str) -> None:
    """After a failure: the guest thawed, what was half made removed, the record as libvirt has it, the mark gone."""
    with suppress(AblestackError):
        nothing = SnapshotSpec(state="absent")
        world = _read(host, current_vm(host, vm_id), nothing)
        execute(host, _plan(infra, host, nothing, world).steps)
        return
    disown(host, vm_id)


def _found(infra: Infrastructure, spec: SnapshotSpec, deadline: float) -> VmFacts | None:
    """The VM, once no other living process works on it. None where it is gone and nothing is wanted of it."""
    while True:
        located = locate(infra, spec.vm, spec.vm_id)
        vm = located.existing
        if vm is None:
            located.require_all_hosts(spec.vm or spec.vm_id)
            if spec.state == "absent":
                return None
            raise AblestackError(
                Code.NOT_FOUND, f"VM '{spec.vm or spec.vm_id}' does not exist", "deploy or recover it with ablestack_vm"
            )
        if not is_busy(vm):
            if vm.phase is Phase.MIGRATING:
                raise half_moved(vm)
            return vm
        if infra.check or time.monotonic() > deadline:
            raise AblestackError(
                Code.CONFLICT,
                f"another controller is working on VM '{vm.name}'",
                "run the task again when it is done; a mark left by a dead controller counts for 15 minutes",
                id=vm.id,
            )
        time.sleep(_PAUSE)


def _named(spec: SnapshotSpec, world: SnapshotWorld) -> SnapshotSpec:
    """The same with a name that is free, where the task has none: the time, and a number where that is taken."""
    if spec.name:
        return spec
    stem = datetime.now(timezone.utc).strftime("snap-%Y%m%d-%H%M%S")
    names = (f"{stem}-{count}" if count > 1 else stem for count in itertools.count(1))
    return replace(spec, name=next(name for name in names if world.snapshot(name) is None))
