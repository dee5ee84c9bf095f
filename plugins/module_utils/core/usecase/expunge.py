# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expunges every destroyed VM whose time has come, on all hosts at once (SEMANTICS 6)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..hypervisor.port import Host
from ..model.errors import AblestackError
from ..model.outcome import Incomplete, Outcome
from ..model.values import parse_time
from ..model.vm import Phase, VmFacts
from ..model.vm_spec import VmSpec
from .infrastructure import Infrastructure
from .query import read_vms
from .vm import apply_vm


def expunge_due(infra: Infrastructure, now: datetime | None = None) -> Outcome:
    """Result: `expunged` (name, id, host of each) and `failed` (the same with msg); other VMs go on where one fails."""
    moment = now or datetime.now(timezone.utc)
    found, errors = infra.on_hosts(lambda host: _due(host, moment))
    expunged: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    first_error: AblestackError | None = None
    for name, error in errors.items():
        failed.append({"name": "", "id": "", "host": name, "msg": error.sentence})
        first_error = first_error or error
    for vm in (vm for on_host in found.values() for vm in on_host):
        row = {"name": vm.name, "id": vm.id, "host": vm.host.name}
        try:
            apply_vm(infra.narrowed(vm.host), VmSpec(id=vm.id, state="expunged"))
            expunged.append(row)
        except AblestackError as error:
            failed.append({**row, "msg": error.sentence})
            first_error = first_error or error
    outcome = Outcome(
        bool(expunged),
        {"due": sorted(f"{row['name']} ({row['host']})" for row in expunged)},
        {"due": []},
        {"expunged": expunged, "failed": failed},
    )
    if first_error:
        message = f"{len(failed)} could not be expunged, the first because {first_error.message}"
        raise Incomplete(outcome, first_error.code, message, first_error.hint, failed=failed)
    return outcome


def _due(host: Host, moment: datetime) -> list[VmFacts]:
    """Destroyed VMs past their time, and those whose expunge was begun."""
    vms, _warnings = read_vms(host, tuple(ref for ref in host.domains() if "." in ref.domain_name))
    due = []
    for vm in vms:
        if vm.record is None or vm.exists:
            continue
        expunge_at = vm.record.mark.expunge_at
        if vm.phase is Phase.EXPUNGING or (expunge_at and parse_time(expunge_at) <= moment):
            due.append(vm)
    return due
