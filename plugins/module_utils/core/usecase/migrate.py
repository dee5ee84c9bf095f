# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a VM to another host: finds it, ends what a killed run left, chooses the host, plans, carries out."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.migration import MigrateSpec
from ..model.outcome import Outcome
from ..model.plan_parts import Change, Plan
from ..model.values import now_text
from ..model.vm import Phase, VmFacts
from ..model.vm_spec import VmSpec
from ..model.vm_view import diff_view, restart_required, vm_view
from ..plan.lifecycle import not_managed, record_of
from ..plan.migrate import MoveRequest, has_arrived, plan_move, refuse_move
from ..plan.placement import Picture, Placement
from ..plan.request import Fresh
from .execute import disown
from .holding import beating, came_second
from .infrastructure import Infrastructure
from .locate import Located, locate_settled
from .moving import execute_at
from .owner import current_owner
from .staying import staying
from .survey_move import choose_target
from .waiting import with_addresses

_PATIENCE = 300.0  # seconds for a move to end that a daemon goes on with after its controller died
_PAUSE = 1.0


@dataclass(frozen=True)
class Moved:
    """What came of it."""

    before: VmFacts
    after: VmFacts
    changes: tuple[Change, ...]
    changed: bool
    placement: Placement | None = None


def apply_migrate(infra: Infrastructure, spec: MigrateSpec) -> Outcome:
    """Result: `vm`, `changes` and, where it is moved, `placement`. In check mode it only says what would be."""
    moved = move(infra, spec)
    after = moved.after
    if after.is_active and not infra.check:
        after = with_addresses(infra.host(after.host.name), after)
    result: dict[str, Any] = {
        "vm": vm_view(after),
        "changes": [change.as_dict() for change in moved.changes],
        "restart_required": restart_required(after),
    }
    if moved.placement:
        result["placement"] = moved.placement.as_dict()
    return Outcome(moved.changed, diff_view(moved.before), diff_view(after), result)


def move(
    infra: Infrastructure, spec: MigrateSpec, planned: VmFacts | None = None, picture: Picture | None = None
) -> Moved:
    """The VM on the host that is wanted, or where it is if that will do.

    `planned` is how it will be by then, where check mode has only predicted that; `picture` is choose_target's.
    """
    if spec.host:
        infra.catalog.host(spec.host)
    before, twin = (planned, None) if planned else _found(infra, spec)
    with staying(infra, before):
        return _moved(infra, spec, before, twin, picture)


def ensure_movable(infra: Infrastructure, spec: MigrateSpec, vm: VmFacts, picture: Picture | None = None) -> None:
    """Raises what would refuse the move of a VM as it is about to be, before anything of that is done."""
    refuse_move(vm, infra.host(vm.host.name).snapshots(vm.id) if vm.record else ())
    choose_target(infra, spec, vm, 0.0, picture)


def _moved(
    infra: Infrastructure, spec: MigrateSpec, before: VmFacts, twin: VmFacts | None, picture: Picture | None
) -> Moved:
    vm, changed = before, False
    changes: tuple[Change, ...] = ()
    request = MoveRequest(spec, vm, infra.catalog, _fresh(), twin)
    if has_arrived(vm):
        plan = plan_move(request)
        vm, changes, changed = _carry_out(infra, request, plan), plan.changes, plan.changed
        request = MoveRequest(spec, vm, infra.catalog, _fresh())
    placement = None
    if _goes(spec, vm):
        source = infra.host(vm.host.name)
        refuse_move(vm, source.snapshots(vm.id) if vm.record else ())
        site, placement = choose_target(infra, spec, vm, secrets.randbelow(2**32) / 2**32, picture)
        request = replace(request, site=site)
    elif vm.record is None:
        raise not_managed(vm)
    plan = plan_move(request)
    vm = _carry_out(infra, request, plan)
    return Moved(before, vm, changes + plan.changes, changed or plan.changed, placement)


def _goes(spec: MigrateSpec, vm: VmFacts) -> bool:
    """Whether it has to go elsewhere; without a named host, only from one that is to be emptied."""
    return spec.host != vm.host.name if spec.host else vm.host.state != "enabled"


def _found(infra: Infrastructure, spec: MigrateSpec) -> tuple[VmFacts, VmFacts | None]:
    """The VM, and its other row where it is on its way, once nobody moves it any more."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        (located,) = locate_settled(infra, (VmSpec(name=spec.name, id=spec.id),))
        if isinstance(located, AblestackError):
            raise located
        vm = located.existing
        if vm is None:
            located.require_all_hosts(spec.name or spec.id)
            raise AblestackError(
                Code.NOT_FOUND,
                f"VM '{spec.name or spec.id}' does not exist",
                "deploy or recover it with ablestack_vm",
            )
        if vm.phase is not Phase.MIGRATING:
            return vm, None
        _require_both(located, vm)
        if not _is_moving(infra, vm):
            return vm, located.twin
        if infra.check or time.monotonic() > deadline:
            raise AblestackError(
                Code.CONFLICT,
                f"VM '{vm.name}' is being migrated to host '{record_of(vm).mark.target}' right now",
                "run the task again when that is done",
                id=vm.id,
            )
        time.sleep(_PAUSE)


def _require_both(located: Located, vm: VmFacts) -> None:
    """A host that cannot be asked may run it."""
    mark = record_of(vm).mark
    for name in (mark.source, mark.target):
        if name in located.unreachable:
            error = located.unreachable[name]
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"VM '{vm.name}' is on its way between hosts '{mark.source}' and '{mark.target}': {error.message}",
                f"bring host '{name}' back; if it is gone for good, take it out of the catalog",
                host=name,
            )


def _is_moving(infra: Infrastructure, vm: VmFacts) -> bool:
    source = record_of(vm).mark.source
    known = source in {host.name for host in infra.catalog.hosts}
    return known and infra.host(source).is_moving(vm.id)


def _carry_out(infra: Infrastructure, request: MoveRequest, plan: Plan[VmFacts]) -> VmFacts:
    """Executes the plan and reads the VM again; without a run, what was predicted."""
    at = plan.predicted or request.vm
    if infra.check or not plan.steps:
        return at
    try:
        with beating([infra.host(name) for name in sorted({request.vm.host.name, at.host.name})], at.id):
            execute_at(infra, plan.steps)
    except AblestackError as error:
        if not came_second(error):
            _take_back(infra, request)
        raise
    host = infra.host(at.host.name)
    ref = host.domain(at.id)
    if ref is None:
        raise AblestackError(
            Code.CONFLICT,
            f"VM '{at.name}' is gone from host '{at.host.name}' right after its move",
            "somebody else works on it: ablestack_vm_info says where it is",
        )
    return host.vm(ref)


def _take_back(infra: Infrastructure, request: MoveRequest) -> None:
    """After a failure: a VM that did not arrive is as it was, one that did is settled. No mark says that we work on it.

    What fails here is found by the next run.
    """
    with suppress(AblestackError):
        vm, twin = _found(infra, MigrateSpec(id=request.vm.id))
        try:
            if vm.phase is Phase.MIGRATING:
                if not has_arrived(vm):
                    vm = _owing(vm, request.vm.is_active or record_of(request.vm).mark.runs)
                undo = MoveRequest(MigrateSpec(id=vm.id), vm, infra.catalog, _fresh(), twin)
                execute_at(infra, plan_move(undo).steps)
        finally:
            disown(infra.host(vm.host.name), vm.id)


def _owing(vm: VmFacts, runs: bool) -> VmFacts:
    """The same VM on its way, owing a start only where it ran before."""
    record = record_of(vm)
    return replace(vm, config=replace(vm.config, record=replace(record, mark=replace(record.mark, runs=runs))))


def _fresh() -> Fresh:
    return Fresh("", (), now_text(), current_owner())
