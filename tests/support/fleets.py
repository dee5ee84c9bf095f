# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets over hosts in memory: one task, the same in check mode, and what has to hold of a site after any of them."""

from __future__ import annotations

from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete, Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec

from .worlds import Controller, World

DEFAULTS: dict[str, Any] = {
    "template": "tiny",
    "compute_offering": "small",
    "networks": ["default"],
    "wait": "none",
}


def fleet(controller: Controller, vms: list[Any], **options: Any) -> Outcome:
    """One task; a name stands for an entry with nothing else in it. Where VMs fail, the outcome tells."""
    entries = [{"name": vm} if isinstance(vm, str) else vm for vm in vms]
    spec = fleet_spec({"vms": entries, "defaults": DEFAULTS, **options})
    with controller.infrastructure as infrastructure:
        try:
            return apply_fleet(infrastructure, spec)
        except Incomplete as failure:
            return failure.outcome


def thrice(world: World, vms: list[Any], **options: Any) -> Outcome:
    """Check, run, run again: check predicts the run, and the second run writes nothing."""
    predicted = fleet(world.controller(check=True), vms, **options)
    done = fleet(world.controller(), vms, **options)
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    for key in ("summary", "plan"):
        assert predicted.result[key] == done.result[key]
    again = world.controller()
    second = fleet(again, vms, **options)
    assert again.writes == []
    assert (second.changed, second.before, second.after, second.result["plan"]) == (False, {}, {}, [])
    return done


def actions(outcome: Outcome, key: str = "results") -> dict[str, str]:
    return {row["name"]: row["action"] for row in outcome.result[key]}


def counts(outcome: Outcome) -> dict[str, int]:
    """The summary without its zeros."""
    return {action: count for action, count in outcome.result["summary"].items() if count}


def hosts_of(outcome: Outcome) -> dict[str, str]:
    return {row["name"]: row["vm"]["host"] for row in outcome.result["results"]}


def audit(world: World) -> None:
    """Every volume belongs to a domain of its host, and no name is there twice."""
    names: list[str] = []
    for state in world.states.values():
        ids = {domain.config.id[:8] for domain in state.domains.values()}
        names += [domain.config.domain_name for domain in state.domains.values()]
        for pool in state.pools.values():
            own = [name for name in pool.volumes if name.startswith("vm-")]
            assert {name.rsplit("-", 2)[1] for name in own} <= ids, own
    assert len(names) == len(set(names)), names
