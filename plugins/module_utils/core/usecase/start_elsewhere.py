# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM brought to what the task says, also where that is: off on one host, it is started on another (SEMANTICS 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..model.errors import AblestackError
from ..model.migration import MigrateSpec
from ..model.outcome import Outcome
from ..model.values import UNSET
from ..model.vm import Phase, VmFacts
from ..model.vm_spec import VmSpec
from ..model.vm_view import diff_view, restart_required, vm_view
from ..plan.placement import Picture
from .infrastructure import Infrastructure
from .locate import Located, locate_settled
from .migrate import ensure_movable, move
from .vm import apply_located, carry_out, plan_task, waited


def apply_vm_on_host(infra: Infrastructure, spec: VmSpec) -> Outcome:
    """Like apply_vm, but a VM that is off is moved to the host it is to be started on."""
    (located,) = locate_settled(infra, (spec,))
    if isinstance(located, AblestackError):
        raise located
    if not starts_elsewhere(spec, located):
        return apply_located(infra, spec, located)
    outcome, vm = start_elsewhere(infra, spec, located)
    return outcome if infra.check else waited(infra, spec, vm, outcome)


def starts_elsewhere(spec: VmSpec, located: Located) -> bool:
    """Whether a VM that is off is wanted running on another host, or was on its way there when a run was killed."""
    vm = located.existing
    if vm is None or spec.state != "started" or not spec.host:
        return False
    return vm.phase is Phase.MIGRATING or (not vm.is_active and vm.exists and vm.host.name != spec.host)


def start_elsewhere(
    infra: Infrastructure, spec: VmSpec, located: Located, picture: Picture | None = None
) -> tuple[Outcome, VmFacts]:
    """Changed where it is, then moved and started as a whole; nobody waits for its guest yet.

    `picture` has what other VMs of the same run will take, where this is only planned.
    """
    infra.selected(spec.zone, spec.pod, spec.cluster, (spec.host or "",))
    before, changed = located.existing, False
    changes: list[dict[str, Any]] = []
    changed_vm = None
    wanted = MigrateSpec(spec.name, spec.id, spec.host or "", start=True)
    if before and before.phase is not Phase.MIGRATING:
        here = replace(spec, state="present", start=False, host=UNSET, zone=UNSET, pod=UNSET, cluster=UNSET)
        task = plan_task(infra, here, located)
        if task.plan.changed and task.plan.predicted:
            ensure_movable(infra, wanted, task.plan.predicted, picture)
        changed_vm = carry_out(infra, task)
        changes, changed = [change.as_dict() for change in task.plan.changes], task.plan.changed
    moved = move(infra, wanted, changed_vm if infra.check else None, picture)
    vm = moved.after
    outcome = Outcome(
        changed or moved.changed,
        diff_view(before),
        diff_view(vm),
        {
            "vm": vm_view(vm),
            "changes": [*changes, *(change.as_dict() for change in moved.changes)],
            "restart_required": restart_required(vm),
            **({"placement": moved.placement.as_dict()} if moved.placement else {}),
        },
    )
    return outcome, vm
