# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM brought to what the task says: read, plan, execute, read again."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import claim_generation
from ..model.outcome import Incomplete, Outcome
from ..model.plan_parts import Plan
from ..model.values import UNSET, time_text
from ..model.vm import Mark, Phase, VmFacts
from ..model.vm_spec import VmSpec
from ..model.vm_view import diff_view, restart_required, vm_view
from ..plan.deploy import public_keys
from ..plan.lifecycle import plan_undo
from ..plan.request import Digests, Fresh, VmRequest
from ..plan.steps import DefineVm
from ..plan.vm import plan_vm
from .execute import execute
from .home import with_home
from .infrastructure import Infrastructure
from .locate import Located, locate
from .owner import current_owner, is_abandoned
from .survey import choose_site, with_addresses_chosen
from .waiting import wait_for, with_addresses

_PATIENCE = 30.0  # seconds to wait for another process that works on the same VM
_NEVER_DEPLOYED = ("reinstalled", "destroyed", "recovered", "expunged")
_WAITING_STATES = ("present", "started", "restarted", "reinstalled")


def apply_vm(infra: Infrastructure, spec: VmSpec) -> Outcome:
    """Brings the VM to `spec.state` and the given options; in check mode it only says what would be."""
    located = _located(infra, spec)
    if spec.state == "expunged":
        return _expunge_all(infra, spec, located)
    return _apply(infra, spec, located)


def _apply(infra: Infrastructure, spec: VmSpec, located: Located) -> Outcome:
    existing = located.existing
    half = existing if existing and existing.phase is Phase.DEPLOYING and spec.deploys else None
    if half:
        located = replace(located, existing=None)
    request = _request(infra, spec, located)
    placement = None
    if request.existing is None and spec.deploys and spec.state not in _NEVER_DEPLOYED:
        located.require_all_hosts(spec.name)
        site, placement = choose_site(infra, spec, _draw(), half)
        request = replace(request, spec=with_addresses_chosen(infra, spec, site), site=site)
    elif request.existing is None and not request.destroyed:
        located.require_all_hosts(spec.name or spec.id)
    plan = plan_vm(with_home(infra, request))
    for refusal in plan.refusals:
        raise refusal
    if half and not infra.check:
        execute(infra.host(half.host.name), plan_undo(request, half).steps)
    before = _before(request, plan)
    drawn = _drawn(request) if request.site else ()
    after = _carry_out(infra, request, plan, before)
    result: dict[str, Any] = {
        "vm": vm_view(after) if after else {},
        "changes": [change.as_dict() for change in plan.changes],
        "restart_required": restart_required(after) if after else False,
    }
    if placement:
        result["placement"] = placement.as_dict()
    outcome = Outcome(plan.changed, diff_view(before), diff_view(after, drawn), result, plan.warnings)
    if infra.check or not after or spec.state not in _WAITING_STATES or not after.is_active:
        return outcome
    return _waited(infra, spec, after, outcome)


def _carry_out(
    infra: Infrastructure, request: VmRequest, plan: Plan[VmFacts], before: VmFacts | None
) -> VmFacts | None:
    """Executes the plan and reads the VM again; without a run, what was predicted."""
    found = plan.predicted
    where = found or before
    if where is None:
        return None
    if infra.check or not plan.changed:
        running = found and found.is_active and before is not None and before.is_active
        return with_addresses(infra.host(where.host.name), found) if found and running else found
    host = infra.host(where.host.name)
    deploying = request.site is not None
    try:
        checks: dict[type, Callable[[], None]] = {}
        if deploying and len(infra.catalog.hosts) > 1:
            checks[DefineVm] = lambda: _alone(infra, request, where)
        execute(host, plan.steps, undo=deploying, after=checks)
    except AblestackError as error:
        if error.code is Code.ALREADY_EXISTS and error.details.get("step") == DefineVm.__name__:
            raise _taken(request, where) from error
        _disown(host, where.id)
        raise
    return _read(host, where.id, before is not None and before.is_active)


def _read(host: Host, vm_id: str, addresses: bool) -> VmFacts | None:
    ref = next((ref for ref in host.domains() if ref.id == vm_id), None)
    if ref is None:
        return None
    vm = host.vm(ref)
    return with_addresses(host, vm) if addresses and vm.is_active else vm


def _waited(infra: Infrastructure, spec: VmSpec, vm: VmFacts, outcome: Outcome) -> Outcome:
    try:
        vm = wait_for(infra.host(vm.host.name), vm, spec.wait, spec.wait_timeout)
    except AblestackError as error:
        raise Incomplete(outcome, error.code, error.message, error.hint, **error.details) from error
    return replace(outcome, result={**outcome.result, "vm": vm_view(vm)})


def _expunge_all(infra: Infrastructure, spec: VmSpec, located: Located) -> Outcome:
    """By name it leaves no VM of that name in any state, on any host."""
    located.require_all_hosts(spec.name or spec.id)
    victims = ((located.existing,) if located.existing else ()) + located.destroyed
    requests = []
    for vm in victims:
        one = Located(vm, ()) if vm.exists else Located(None, (vm,))
        requests.append((vm, _request(infra, spec, one)))
    plans = [(vm, request, plan_vm(request)) for vm, request in requests]
    changes: list[dict[str, Any]] = []
    for vm, request, plan in plans:
        _carry_out(infra, request, plan, vm)
        changes += [change.as_dict() for change in plan.changes]
    first = victims[0] if victims else None
    result = {"vm": {}, "changes": changes, "restart_required": False}
    return Outcome(bool(victims), diff_view(first), {}, result)


def _located(infra: Infrastructure, spec: VmSpec) -> Located:
    """The VM, once no other living process works on it; Conflict when that takes too long."""
    deadline = time.monotonic() + _PATIENCE
    settled_claims = False
    while True:
        located = locate(infra, spec.name, spec.id)
        vms = ((located.existing,) if located.existing else ()) + located.destroyed
        owned = [vm for vm in vms if vm.record and vm.record.mark.owner]
        busy = [vm for vm in owned if vm.record and not is_abandoned(vm.record.mark)]
        claimed = [
            vm for vm in vms if claim_generation(vm.config.domain_name) and not (vm.record and vm.record.mark.owner)
        ]
        if not busy and (settled_claims or not claimed):
            return located
        if busy and (infra.check or time.monotonic() > deadline):
            raise AblestackError(
                Code.CONFLICT,
                f"another controller is working on VM '{busy[0].name}' (it is {busy[0].phase.value})",
                "run the task again when it is done; a mark left by a dead controller counts for 15 minutes",
                id=busy[0].id,
            )
        settled_claims = not busy  # a claim without an owner is a claim just made, or one whose maker died at once
        time.sleep(1.0)


def _request(infra: Infrastructure, spec: VmSpec, located: Located) -> VmRequest:
    existing = located.existing
    fresh = Fresh(
        id=str(uuid.uuid4()),
        macs=tuple(_random_mac() for _nic in spec.networks or ()),
        now=time_text(datetime.now(timezone.utc)),
        owner=current_owner(),
    )
    request = VmRequest(spec, infra.catalog, fresh, existing, located.destroyed)
    return replace(request, digests=_digests(request, existing.id if existing else fresh.id))


def _digests(request: VmRequest, vm_id: str) -> Digests:
    spec = request.spec
    keys = spec.ssh_key_pairs is not UNSET or spec.ssh_public_keys is not UNSET
    if not keys and not spec.user_data:
        return Digests()
    from ..seed.digest import keys_digest, user_data_digest

    return Digests(
        user_data_digest(vm_id, spec.user_data) if spec.user_data else "",
        keys_digest(vm_id, public_keys(request)) if public_keys(request) else "",
    )


def _random_mac() -> str:
    """Unicast and locally administered, as QEMU's; 32 random bits keep thousands of VMs apart."""
    tail = secrets.token_bytes(4)
    return "52:54:" + ":".join(f"{byte:02x}" for byte in tail)


def _draw() -> float:
    """The number that decides under the allocation rule `random`."""
    return secrets.randbelow(2**32) / 2**32


def _before(request: VmRequest, plan: Plan[VmFacts]) -> VmFacts | None:
    """What the diff starts from: the VM the plan is about, destroyed or not."""
    if request.existing is not None or request.site is not None:
        return request.existing
    about = plan.predicted.id if plan.predicted else ""
    return next((vm for vm in request.destroyed if vm.id == about), None)


def _drawn(request: VmRequest) -> tuple[str, ...]:
    """Values that differ from run to run, so that a diff does not pretend to know them."""
    given = {nic.mac for nic in request.spec.networks or ()}
    fresh = request.fresh
    return (fresh.id, fresh.id[:8], *(mac for mac in fresh.macs if mac not in given))


def _alone(infra: Infrastructure, request: VmRequest, ours: VmFacts) -> None:
    """After the definition: of two VMs of one name on two hosts, defined at the same time, the older survives."""
    others = [spec for spec in infra.catalog.hosts if spec.name != ours.host.name]
    found, _errors = infra.on_hosts(lambda host: _same_name(host, ours), others)
    for vms in found.values():
        for vm in vms:
            if vm.record and (vm.record.created, vm.id) < (request.fresh.now, ours.id):
                raise _taken(request, vm)


def _same_name(host: Host, ours: VmFacts) -> list[VmFacts]:
    return [vm for vm in (host.vm(ref) for ref in host.domains() if ref.domain_name == ours.name.lower()) if vm.exists]


def _taken(request: VmRequest, where: VmFacts) -> AblestackError:
    return AblestackError(
        Code.CONFLICT,
        f"somebody else made a VM '{request.spec.name}' on host '{where.host.name}' at the same time",
        "run the task again: it will find that one",
    )


def _disown(host: Host, vm_id: str) -> None:
    """A failed run says that it no longer works on the VM, so that the next one need not wait.

    A guest that would not go down for a change owes no start: it still runs.
    """
    with suppress(AblestackError):
        vm = _read(host, vm_id, False)
        if vm and vm.record and vm.record.mark.owner:
            still_runs = vm.phase is Phase.RESTARTING and vm.is_active
            mark = Mark() if still_runs else replace(vm.record.mark, owner=None)
            host.set_record(vm_id, replace(vm.record, mark=mark))
