# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expunges every destroyed VM whose time has come, on all hosts at once (SEMANTICS 6)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Union

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import vm_name_of
from ..model.outcome import Incomplete, Outcome
from ..model.values import parse_time
from ..model.vm import Phase, Power, VmFacts
from ..model.vm_spec import VmSpec
from ..plan.lifecycle import half_destroyed
from .infrastructure import Infrastructure
from .locate import Located, locate_settled
from .query import read_each, read_vms
from .vm import apply_located

Row = dict[str, Any]
_Candidate = tuple[Row, Union[AblestackError, None]]


def expunge_due(infra: Infrastructure, now: datetime | None = None) -> Outcome:
    """Result: `expunged` (name, id, host of each) and `failed` (the same with msg); other VMs go on where one fails."""
    moment = now or datetime.now(timezone.utc)
    found, errors = infra.on_hosts(lambda host: _candidates(host, moment))
    candidates: list[_Candidate] = [({"name": "", "id": "", "host": name}, error) for name, error in errors.items()]
    candidates += [candidate for on_host in found.values() for candidate in on_host]
    expunged: list[Row] = []
    failed: list[Row] = []
    left: list[Row] = []
    errors_of_vms: list[AblestackError] = []
    for row, error in candidates:
        try:
            if error:
                raise error
            on_host = infra.narrowed(infra.catalog.host(row["host"]))
            (expunged if _expunge(on_host, row["id"], moment) else left).append(row)
        except AblestackError as failure:
            failed.append({**row, "msg": failure.sentence})
            errors_of_vms += [failure] if row["id"] else []
    outcome = Outcome(
        bool(expunged),
        {"due": sorted(f"{row['name']} ({row['host']})" for row in expunged)},
        {"due": []},
        {"expunged": expunged, "failed": failed},
        tuple(f"VM '{row['name']}' ({row['id']}) is no longer due, and was left alone" for row in left),
    )
    if failed:
        first = [*errors_of_vms, *errors.values()][0]
        message = f"it is not known everywhere what is due: {first.message}"
        if errors_of_vms:
            message = f"{len(errors_of_vms)} could not be expunged, the first because {first.message}"
        raise Incomplete(outcome, first.code, message, first.hint, failed=failed)
    return outcome


def _candidates(host: Host, moment: datetime) -> list[_Candidate]:
    """The host's VMs that are due, and those that cannot be read, which may be, with why."""
    # One whose destroy was killed before the rename has its plain name, and is off: those that run are not read.
    refs = tuple(ref for ref in host.domains() if "." in ref.domain_name or ref.power is Power.OFF)
    found: list[_Candidate] = []
    vms, _warnings = read_vms(host, [ref for ref in refs if "." not in ref.domain_name], host.glances)
    marked = [ref for ref in refs if "." in ref.domain_name]
    for ref, one in zip(marked, read_each(host, marked)):
        if not isinstance(one, AblestackError):
            vms.append(one)
        elif one.code is not Code.NOT_FOUND:
            found.append(({"name": vm_name_of(ref.domain_name), "id": ref.id, "host": host.spec.name}, one))
    for vm in vms:
        if "." not in vm.config.domain_name and not half_destroyed(vm):
            continue
        row = {"name": vm.name, "id": vm.id, "host": host.spec.name}
        try:
            if _is_due(vm, moment):
                found.append((row, None))
        except AblestackError as error:
            found.append((row, error))
    return found


def _is_due(vm: VmFacts, moment: datetime) -> bool:
    """Whether it is destroyed and past its time, or its expunge was begun."""
    if vm.record is None or vm.exists:
        return False
    expunge_at = vm.record.mark.expunge_at
    if vm.phase is Phase.EXPUNGING or not expunge_at:
        return vm.phase is Phase.EXPUNGING
    try:
        return parse_time(expunge_at) <= moment
    except ValueError:
        raise AblestackError(
            Code.INVALID_STATE,
            f"nobody knows when VM '{vm.name}' is due: '{expunge_at}' in its metadata is not a time",
            "recover and destroy it again, or expunge it with ablestack_vm",
            id=vm.id,
        ) from None


def _expunge(infra: Infrastructure, vm_id: str, moment: datetime) -> bool:
    """Whether it was. Planned from a look of its own, which the hold then guards: a VM that was recovered since it was
    listed is not due any more, and stays.
    """
    spec = VmSpec(id=vm_id, state="expunged")
    located = _located(infra, spec)
    if not any(_is_due(vm, moment) for vm in located.vms):
        return False
    try:
        apply_located(infra, spec, located)
    except AblestackError as error:
        if error.code is Code.CONFLICT and not any(_is_due(vm, moment) for vm in _located(infra, spec).vms):
            return False
        raise
    return True


def _located(infra: Infrastructure, spec: VmSpec) -> Located:
    (located,) = locate_settled(infra, (spec,))
    if isinstance(located, AblestackError):
        raise located
    return located
