# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans one task on one VM: which topic's plan applies, in which order, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from ..model.errors import AblestackError, Code
from ..model.migration import half_moved
from ..model.naming import claim_generation
from ..model.plan_parts import LIVE, RESTART, Change, Plan
from ..model.values import UNSET
from ..model.vm import Mark, Phase, Power, VmFacts
from .change import compare
from .deploy import plan_deploy
from .edits import Edits, write_edits
from .lifecycle import (
    half_deployed,
    heal,
    names_of,
    not_managed,
    plan_destroy,
    plan_expunge,
    plan_recover,
    record_of,
    restore,
)
from .power import off, on, plan_power, stop_steps
from .reinstall import plan_reinstall, reinstalls
from .request import VmRequest
from .steps import Rename, SetRecord, Start

UNPLUG_TIMEOUT = 60
"""Seconds a guest gets to let a device go: one that is still booting does not hear the request yet."""


def plan_vm(request: VmRequest) -> Plan[VmFacts]:
    """The plan for one VM. Raises what is wrong with the input; what the VM's state forbids comes as refusals."""
    spec, vm = request.spec, request.existing
    if vm is not None and vm.record is None:
        raise not_managed(vm)
    if vm is not None and vm.phase is Phase.MIGRATING:
        raise half_moved(vm)
    if spec.state == "destroyed":
        return plan_destroy(request)
    if spec.state == "recovered":
        return plan_recover(request)
    if spec.state == "expunged":
        return plan_expunge(request)
    if vm is None and spec.state == "reinstalled":
        raise missing(request)
    if vm is None or vm.phase is Phase.DEPLOYING:
        return _deploy(request)
    return _existing(request, vm)


def _deploy(request: VmRequest) -> Plan[VmFacts]:
    """A missing VM; one whose deploy was killed half way is taken back by the use case before it comes here."""
    vm = request.existing
    if vm is not None:
        raise half_deployed(vm)
    if not request.spec.deploys:
        raise missing(request)
    if request.site is None:
        raise AblestackError(Code.INTERNAL, "a deploy was planned without a site")
    plan = plan_deploy(request, request.site)
    neighbours = tuple(gone for gone in request.destroyed if gone.host.name == request.site.host.spec.name)
    return replace(plan, steps=heal(request, neighbours) + plan.steps)


def missing(request: VmRequest) -> AblestackError:
    """Said where a VM has to exist and does not."""
    spec = request.spec
    gone = ""
    recoverable = any(vm.phase is not Phase.EXPUNGING for vm in request.destroyed)
    if recoverable:
        gone = f"; a destroyed VM of that {'id' if spec.id else 'name'} can be recovered until {_until(request)}"
    elif request.namesake:
        gone = f"; VM '{request.namesake.name}' has the id {request.namesake.id}"
    deploy = "check the name, or name a template or an iso to deploy it"
    if spec.id:
        deploy = "check the id, or leave it out: only a name can be deployed"
    elif spec.state == "reinstalled":
        deploy = "deploy it with state: present"  # SEMANTICS 2.10
    what = f"VM '{spec.name}'" if spec.name else "a VM"
    if spec.id:
        what += f" with id {spec.id}"
    return AblestackError(
        Code.NOT_FOUND,
        f"{what} does not exist{gone}",
        f"{deploy}, or use state: recovered" if recoverable else deploy,
    )


def _until(request: VmRequest) -> str:
    record = request.destroyed[0].record
    return record.mark.expunge_at if record else ""


def _existing(request: VmRequest, vm: VmFacts) -> Plan[VmFacts]:
    """A VM that exists. One that a killed expunge had claimed, and no more, gets back its domain's name: the lock."""
    claimed = vm.config.domain_name
    if not claim_generation(claimed) or vm.is_active or vm.saved:
        return _brought_to(request, vm)
    named = replace(vm, config=replace(vm.config, domain_name=names_of(vm).domain))
    steps = (Rename(vm.id, named.config.domain_name), *restore(record_of(vm), named))
    change = Change("domain_name", claimed, named.config.domain_name, LIVE)
    return _join(Plan((change,), steps, predicted=named), _brought_to(request, named))


def _brought_to(request: VmRequest, vm: VmFacts) -> Plan[VmFacts]:
    if reinstalls(request, vm):
        # The root disk is made anew, so nothing is compared with the present one, nor with where that came from.
        others = replace(request.spec, template=UNSET, iso=UNSET, root_disk_size=UNSET, root_disk_offering=UNSET)
        return plan_reinstall(
            request, vm, compare(replace(request, spec=replace(others, boot_type=UNSET, boot_mode=UNSET)), vm)
        )
    edits = compare(request, vm)
    if edits.refusals:
        return Plan(tuple(edits.changes), (), tuple(edits.refusals), vm)
    if request.spec.state == "stopped":
        plan = _join(plan_power(request, vm), _apply(request, edits, off(vm)))
    elif edits.needs_power_off and vm.is_active:
        plan = _around_restart(request, vm, edits)
    else:
        changed = _apply(request, edits, vm)
        changed_vm = changed.predicted or vm
        power = _first_start(request, changed_vm) or plan_power(request, changed_vm)
        plan = _join(changed, power) if power.changes else changed
    return _settled(vm, plan)


def _first_start(request: VmRequest, vm: VmFacts) -> Plan[VmFacts] | None:
    """The start that a killed run still owes: the first one, or the one after a change."""
    owed = vm.phase is Phase.RESTARTING or (vm.phase is Phase.STARTING and request.spec.start)
    if not owed or request.spec.state != "present":
        return None
    if vm.power in (Power.PAUSED, Power.SHUTDOWN):  # its host's daemon died in the midst of the start, or it goes down
        return plan_power(replace(request, spec=replace(request.spec, state="started")), vm)
    if vm.is_active:
        return None
    return Plan((Change("state", vm.state, "Running"),), (Start(vm.id),), predicted=on(vm))


def _settled(before: VmFacts, plan: Plan[VmFacts]) -> Plan[VmFacts]:
    """Clears the mark of a start or a recovery that a killed run left open, once the rest is done."""
    vm = plan.predicted
    if vm is None or vm.record is None or before.phase is Phase.SETTLED or plan.refusals:
        return plan
    record = replace(vm.record, mark=Mark())
    after = replace(vm, config=replace(vm.config, record=record))
    changes = plan.changes or (Change("state", before.state, after.state),)
    owed = restore(record, vm) if before.phase is Phase.RECOVERING else []
    return replace(plan, changes=changes, steps=(*plan.steps, *owed, SetRecord(vm.id, record)), predicted=after)


def _apply(request: VmRequest, edits: Edits, vm: VmFacts) -> Plan[VmFacts]:
    given = request.spec.timeout
    return write_edits(edits, vm, request.spec.forced, given if isinstance(given, int) else UNPLUG_TIMEOUT)


def _around_restart(request: VmRequest, vm: VmFacts, edits: Edits) -> Plan[VmFacts]:
    """Stops it, changes it, starts it: only where the user allowed that. The mark remembers that it has to run."""
    if not request.spec.allow_restart or vm.record is None:
        needs = ", ".join(change.path for change in edits.changes if change.impact == RESTART)
        refusal = AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' is running and a change of {needs} needs it to be off",
            "stop it first, or set allow_restart: true",
            changes=[change.as_dict() for change in edits.changes],
        )
        return Plan(tuple(edits.changes), (), (refusal,), vm)
    mark = Mark(Phase.RESTARTING, request.fresh.now, owner=request.fresh.owner)
    marked = replace(vm.record, mark=mark)
    stopped = replace(off(vm), config=replace(vm.config, record=marked))
    record = replace(edits.record, mark=mark)
    changed = _apply(request, replace(edits, record=record, config=replace(edits.config, record=record)), stopped)
    running = on(changed.predicted or stopped)
    settled = replace(running, config=replace(running.config, record=edits.record), live=None)
    return _join(
        Plan(steps=(SetRecord(vm.id, marked), *stop_steps(request, vm)), predicted=stopped),
        changed,
        Plan(steps=(Start(vm.id), SetRecord(vm.id, edits.record)), predicted=on(settled)),
    )


def _join(*plans: Plan[VmFacts]) -> Plan[VmFacts]:
    """One plan after the other."""
    return Plan(
        changes=tuple(chain.from_iterable(plan.changes for plan in plans)),
        steps=tuple(chain.from_iterable(plan.steps for plan in plans)),
        refusals=tuple(chain.from_iterable(plan.refusals for plan in plans)),
        predicted=plans[-1].predicted,
        warnings=tuple(chain.from_iterable(plan.warnings for plan in plans)),
    )
