# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM brought to what the task says, alone or as one of a fleet: read, plan, carry out, tell."""

from __future__ import annotations

import secrets
import uuid
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ..hypervisor.port import Host
from ..model.catalog import Catalog
from ..model.errors import AblestackError, Code
from ..model.naming import template_image
from ..model.outcome import Incomplete, Outcome
from ..model.plan_parts import Plan, Step
from ..model.resources import Template
from ..model.values import now_text
from ..model.vm import DomainRef, Phase, VmFacts
from ..model.vm_spec import VmSpec
from ..model.vm_view import diff_view, restart_required, vm_view
from ..plan.deploy import pair_keys
from ..plan.lifecycle import plan_undo
from ..plan.placement import Picture, Placement
from ..plan.request import Digests, Fresh, Site, VmRequest
from ..plan.steps import DefineVm, PowerOff, Reboot, RedefineVm, Reset, Resume, Shutdown
from ..plan.vm import plan_vm
from .execute import disown, execute
from .holding import beating, came_second, ensure_free, holding
from .home import with_home
from .infrastructure import Infrastructure
from .locate import Located, locate_settled, name_taken, require_alone
from .neighbours import require_place
from .owner import current_owner
from .remembered import remembering
from .sharing import require_free_elsewhere
from .staying import staying
from .survey import choose_site, plan_with_room, with_addresses_chosen, with_segment
from .template_lookup import require_still_ready
from .waiting import wait_for, with_addresses

_NEVER_DEPLOYED = ("reinstalled", "destroyed", "recovered", "expunged")
_WHOLE = (Shutdown, PowerOff, Reboot, Reset, Resume)
_WAITING_STATES = ("present", "started", "restarted", "reinstalled")


@dataclass(frozen=True)
class VmTask:
    """What is to be done with one VM, planned and not begun; `half` is a killed deploy that has to go first."""

    request: VmRequest
    plan: Plan[VmFacts]
    before: VmFacts | None = None
    half: VmFacts | None = None
    placement: Placement | None = None

    @property
    def spec(self) -> VmSpec:
        """What is wanted of it."""
        return self.request.spec

    @property
    def at(self) -> VmFacts | None:
        """The VM where the work is: as it will be, else as it is; None where there is no VM and will be none."""
        return self.plan.predicted or self.before


def apply_vm(infra: Infrastructure, spec: VmSpec) -> Outcome:
    """Brings the VM to `spec.state` and the given options; in check mode it only says what would be."""
    (located,) = locate_settled(infra, (spec,))
    if isinstance(located, AblestackError):
        raise located
    return apply_located(infra, spec, located)


def apply_located(infra: Infrastructure, spec: VmSpec, located: Located) -> Outcome:
    """The same for what was found of it."""
    if spec.state == "expunged":
        tasks = plan_expunge_tasks(infra, spec, located)
        for task in tasks:
            carry_out(infra, task)
        return outcome_of_expunge(tasks)
    task = plan_task(remembering(infra, located.listed), spec, located)
    after = carry_out(infra, task)
    if after and has_addresses(task, after):
        with staying(infra, after):
            after = with_addresses(infra.host(after.host.name), after)
    outcome = outcome_of(task, after)
    return waited(infra, spec, after, outcome) if after and asks_wait(infra, task, after) else outcome


def waited(infra: Infrastructure, spec: VmSpec, vm: VmFacts, outcome: Outcome) -> Outcome:
    """The same once the VM is as far as the task wants."""
    try:
        vm = wait_for(infra.host(vm.host.name), vm, spec.wait, spec.wait_timeout)
    except AblestackError as error:
        raise Incomplete(outcome, error.code, error.message, error.hint, **error.details) from error
    return replace(outcome, result={**outcome.result, "vm": vm_view(vm)})


def plan_task(infra: Infrastructure, spec: VmSpec, located: Located, picture: Picture | None = None) -> VmTask:
    """The task for what was found; `picture` has what other VMs of the same run will take.

    Raises what is wrong with the input, and what the VM's state or its hosts refuse.
    """
    existing = located.existing
    picture = picture or Picture()
    half = existing if existing and existing.phase is Phase.DEPLOYING and spec.deploys else None
    if half:
        located = replace(located, existing=None)
    request = _draw_request(infra.catalog, spec, located)
    placement: Placement | None = None
    warnings: tuple[str, ...] = ()
    if request.existing is None and spec.deploys and spec.state not in _NEVER_DEPLOYED:
        warnings = located.require_free_name(spec.name, infra.catalog.settings)
        site, placement = choose_site(infra, spec, _draw(), half, picture)
        site = with_segment(infra, spec, site, half.id if half else "")
        request = replace(request, spec=with_addresses_chosen(infra, spec, site), site=site)
    elif request.existing is None and not request.destroyed:
        located.require_all_hosts(spec.name or spec.id)
    with staying(infra, request.existing):
        request = with_home(infra, request)
    plan = plan_with_room(infra, request, picture)
    for refusal in plan.refusals:
        raise refusal
    before = _before(request, plan)
    if request.site is None and plan.changed:
        require_place(infra, before, plan.predicted, picture)
    picture.take(request, before, plan)
    if warnings:
        plan = replace(plan, warnings=(*plan.warnings, *warnings))
    return VmTask(request, plan, before, half, placement)


def plan_expunge_tasks(infra: Infrastructure, spec: VmSpec, located: Located) -> tuple[VmTask, ...]:
    """By name it leaves no VM of that name in any state, on any host: a task for each."""
    located.require_all_hosts(spec.name or spec.id)
    victims = ((located.existing,) if located.existing else ()) + located.destroyed
    tasks = []
    for vm in victims:
        request = _draw_request(infra.catalog, spec, Located(vm, ()) if vm.exists else Located(None, (vm,)))
        tasks.append(VmTask(request, plan_vm(request), vm))
    return tuple(tasks)


def carry_out(infra: Infrastructure, task: VmTask) -> VmFacts | None:
    """Executes the plan and reads the VM again; without a run, what was predicted."""
    at, plan = task.at, task.plan
    if task.half and not infra.check:
        execute(infra.host(task.half.host.name), plan_undo(task.request, task.half).steps)
    if at is None or infra.check or not plan.changed:
        return plan.predicted
    host = infra.host(at.host.name)
    deploying = task.request.site is not None
    try:
        with staying(infra, task.before), holding(host, _worked_on(task), _noted(host, task)):
            if task.before and not deploying:
                _ensure_there(infra, host, task)
            with beating([host], at.id) if deploying else nullcontext():  # one that exists is held
                execute(host, plan.steps, undo=deploying, after={DefineVm: lambda: _defined(infra, host, task)})
    except AblestackError as error:
        if error.code is Code.ALREADY_EXISTS and error.details.get("step") == DefineVm.__name__:
            raise name_taken(at.name, at.host.name) from error
        if not came_second(error):  # then another process works on it, and this one never did
            disown(host, at.id, bool(error.details.get("crashed")))
        raise
    seen = _glance(host, at) if deploying and at.is_active else _read(host, at.id)
    return seen or plan.predicted  # it may have moved on right after


def _defined(infra: Infrastructure, host: Host, task: VmTask) -> None:
    """The definition of a new VM is there for all to see: now it shows whether another was faster."""
    if task.at and len(infra.catalog.hosts) > 1:
        require_alone(infra, task.at)
    _ensure_there(infra, host, task)


def _ensure_there(infra: Infrastructure, host: Host, task: VmTask) -> None:
    """What was found before anybody could see that the VM needs it is still there, and nobody else's."""
    for template in _images(task):
        require_still_ready(host, template)
    adopted = [volume for volume in _new_volumes(task) for site in _sites(task) if volume in site.volumes]
    if adopted and task.at:
        ensure_free(host, task.at, adopted, [vm.id for vm in _worked_on(task)])
        require_free_elsewhere(infra, host, task.at, adopted)


def _sites(task: VmTask) -> list[Site]:
    return [site for site in (task.request.site, task.request.home) if site]


def _images(task: VmTask) -> list[Template]:
    """The templates that a disk is to be made from, or that are to be in the drive."""
    vm, request = task.before, task.request
    makes = request.site or task.spec.state == "reinstalled" or (vm and vm.phase is Phase.REINSTALLING)
    return [image for site in _sites(task) for image in (site.template if makes else None, site.iso) if image]


def _noted(host: Host, task: VmTask) -> list[str]:
    """The volumes (pool/name) that others are to leave to the VM, although its definition does not tell of them yet."""
    images = (f"{host.spec.templates}/{template_image(image.name, image.format)}" for image in _images(task))
    return [*_new_volumes(task), *images]


def _new_volumes(task: VmTask) -> list[str]:
    """The data volumes (pool/name) that the VM is to have and has not."""
    before, after = (
        {f"{disk.pool}/{disk.volume}" for disk in (vm.record.data_disks if vm and vm.record else ())}
        for vm in (task.before, task.plan.predicted)
    )
    return sorted(after - before)


def _worked_on(task: VmTask) -> list[VmFacts]:
    """The VMs that exist and that the plan writes to, itself and destroyed ones whose disks or name it takes.

    One call that moves a VM's power and nothing else is whole by itself; a start reads what others may be writing.
    """
    if all(isinstance(step, _WHOLE) for step in task.plan.steps):
        return []
    request = task.request
    known = [vm for vm in (task.before, *request.destroyed) if vm]
    known += [vm for site in _sites(task) for vm in site.lenders.values()]
    touched = {vm_id for step in task.plan.steps for vm_id in _ids_of(step)}
    return list({vm.id: vm for vm in known if vm.id in touched}.values())


def _ids_of(step: Step) -> tuple[str, ...]:
    return (step.before.id,) if isinstance(step, RedefineVm) else (getattr(step, "vm_id", ""),)


def has_addresses(task: VmTask, after: VmFacts | None) -> bool:
    """Whether the VM ran before and still does, so that it may have addresses to tell."""
    return bool(after and after.is_active and task.before and task.before.is_active)


def asks_wait(infra: Infrastructure, task: VmTask, after: VmFacts | None) -> bool:
    """Whether to wait until the VM is as far as the task wants."""
    return not infra.check and after is not None and task.spec.state in _WAITING_STATES and after.is_active


def outcome_of(task: VmTask, after: VmFacts | None, shown: bool = True) -> Outcome:
    """What a module returns of it. Not `shown`: an unchanged VM has no diff, for nobody looks at it."""
    result: dict[str, Any] = {
        "vm": vm_view(after) if after else {},
        "changes": [change.as_dict() for change in task.plan.changes],
        "restart_required": restart_required(after) if after else False,
    }
    if task.placement:
        result["placement"] = task.placement.as_dict()
    plan = task.plan
    if not (plan.changed or shown):
        return Outcome(result=result, warnings=plan.warnings)
    drawn = _drawn_values(task.request) if task.request.site else ()
    return Outcome(plan.changed, diff_view(task.before), diff_view(after, drawn), result, plan.warnings)


def outcome_of_expunge(tasks: tuple[VmTask, ...]) -> Outcome:
    """What a module returns of all the VMs that are gone."""
    changes = [change.as_dict() for task in tasks for change in task.plan.changes]
    result = {"vm": {}, "changes": changes, "restart_required": False}
    return Outcome(bool(tasks), diff_view(tasks[0].before if tasks else None), {}, result)


def _before(request: VmRequest, plan: Plan[VmFacts]) -> VmFacts | None:
    """What the diff starts from: the VM the plan is about, destroyed or not."""
    if request.existing is not None or request.site is not None:
        return request.existing
    about = plan.predicted.id if plan.predicted else ""
    return next((vm for vm in request.destroyed if vm.id == about), None)


def _glance(host: Host, started: VmFacts) -> VmFacts | None:
    """A VM that has just been started: what is stored and what runs are still the same."""
    try:
        return host.glance(DomainRef(started.id, started.config.domain_name, started.power))
    except AblestackError as error:
        if error.code is Code.NOT_FOUND:
            return None
        raise


def _read(host: Host, vm_id: str) -> VmFacts | None:
    try:
        ref = host.domain(vm_id)
        return host.vm(ref) if ref else None
    except AblestackError as error:
        if error.code is Code.NOT_FOUND:
            return None
        raise


def _draw_request(catalog: Catalog, spec: VmSpec, located: Located) -> VmRequest:
    """The request for what was found, still without a site."""
    existing = located.existing
    now, owner = now_text(), current_owner()
    if existing:
        fresh = Fresh(existing.id, (), now, owner)
    else:
        fresh = Fresh(str(uuid.uuid4()), tuple(_random_mac() for _nic in spec.networks or ()), now, owner)
    request = VmRequest(spec, catalog, fresh, existing, located.destroyed, located.namesake)
    return replace(request, digests=_digests(request)) if _has_secrets(spec) else request


def _drawn_values(request: VmRequest) -> tuple[str, ...]:
    """Values that differ from run to run, so that a diff does not pretend to know them."""
    given = {nic.mac for nic in request.spec.networks or ()}
    fresh = request.fresh
    return (fresh.id, fresh.id[:8], *(mac for mac in fresh.macs if mac not in given))


def _draw() -> float:
    """The number that decides under the allocation rule `random`."""
    return secrets.randbelow(2**32) / 2**32


def _has_secrets(spec: VmSpec) -> bool:
    return bool(spec.ssh_key_pairs or spec.ssh_public_keys or spec.user_data)


def _digests(request: VmRequest) -> Digests:
    spec, vm_id = request.spec, request.fresh.id
    pairs, literal = pair_keys(request), tuple(spec.ssh_public_keys or ())
    from ..seed.digest import keys_digest, user_data_digest

    return Digests(
        user_data_digest(vm_id, spec.user_data) if spec.user_data else "",
        *(keys_digest(vm_id, keys) if keys else "" for keys in (pairs, literal, pairs + literal)),
    )


def _random_mac() -> str:
    """Unicast and locally administered, as QEMU's; 32 random bits keep thousands of VMs apart."""
    tail = secrets.token_bytes(4)
    return "52:54:" + ":".join(f"{byte:02x}" for byte in tail)
