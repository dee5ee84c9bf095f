# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool brought to what the task says, on every host that is to have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code
from ..model.outcome import Outcome
from ..model.plan_parts import Plan, Step
from ..model.pool import PoolSpec, pool_view
from ..model.resources import PoolState
from ..plan.pool import DefinePool, SetPoolAutostart, StartPool, plan_pool
from .infrastructure import Infrastructure


def apply_pool(infra: Infrastructure, spec: PoolSpec) -> Outcome:
    """Result: `pools`, a row for each host, and `changes`. In check mode it only says what would be.

    All hosts are asked before anything is done on one: what is wrong anywhere, a host that is down included, is
    raised first.
    """
    hosts = infra.selected(zone=spec.zone, hosts=spec.hosts)
    found = _on_all(infra, lambda host: host.pool_state(spec.name), hosts)
    planned = {name: plan_pool(spec, state, name) for name, state in found.items()}
    todo = [host for host in hosts if planned[host.name].steps]
    after: dict[str, PoolState | None] = {name: plan.predicted for name, plan in planned.items()}
    if not infra.check:
        after.update(_on_all(infra, lambda host: _carry_out(host, spec.name, planned[host.spec.name]), todo))
    result = {
        "pools": [{"host": name, **pool_view(state)} for name, state in after.items() if state],
        "changes": [{"host": name, **change.as_dict()} for name, plan in planned.items() for change in plan.changes],
    }
    return Outcome(bool(todo), _shown(found), _shown(after), result)


def _on_all(
    infra: Infrastructure, work: Callable[[Host], PoolState | None], hosts: Iterable[HostSpec]
) -> dict[str, PoolState | None]:
    results, errors = infra.on_hosts(work, hosts)
    for error in errors.values():
        raise error
    return results


def _carry_out(host: Host, name: str, plan: Plan[PoolState]) -> PoolState | None:
    for step in plan.steps:
        _DO[type(step)](host, step)
    return host.pool_state(name)


def _define(host: Host, step: DefinePool) -> None:
    try:
        host.define_pool(step.name, step.path)
    except AblestackError as error:
        if error.code is not Code.ALREADY_EXISTS:
            raise
        raise AblestackError(
            Code.CONFLICT,
            f"somebody else made a pool '{step.name}', or one at {step.path}, on host '{host.spec.name}'",
            "run the task again: it will find that one, or say what is wrong with it",
        ) from error


_DO: Mapping[type[Step], Callable[[Host, Any], None]] = {
    DefinePool: _define,
    SetPoolAutostart: lambda host, step: host.set_pool_autostart(step.name, step.on),
    StartPool: lambda host, step: host.start_pool(step.name),
}


def _shown(states: Mapping[str, PoolState | None]) -> dict[str, Any]:
    return {name: pool_view(state) for name, state in states.items() if state}
