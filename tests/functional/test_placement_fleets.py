# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole fleets over random catalogs: what placement promises of one VM holds of all that a run has placed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import (
    AFFINITY_TYPES,
    ALLOCATION_RULES,
    HOST_STATES,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from support.fleets import fleet
from support.memory_state import MemoryState
from support.worlds import World, make_world

STATES = st.sampled_from(["enabled", "enabled", "enabled", *HOST_STATES])
SIZES = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([1024, 2048, 4096]), STATES), min_size=1, max_size=4)
SETTINGS = st.fixed_dictionaries(
    {
        "allocation": st.sampled_from(ALLOCATION_RULES),
        "capacity_threshold": st.sampled_from([0.5, 0.85, 1.0]),
        "cpu_overprovisioning": st.sampled_from([1, 1.5, 3]),
        "memory_overprovisioning": st.sampled_from([1, 1.25]),
    }
)
GROUPS = {f"{kind}-{number}": {"type": kind} for kind in AFFINITY_TYPES for number in (1, 2)}
VMS = st.lists(
    st.fixed_dictionaries(
        {
            "cpu": st.integers(1, 3),
            "memory": st.sampled_from([256, 512, 1024]),
            "affinity_groups": st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True),
            "start": st.sampled_from([True, True, False]),
        }
    ),
    min_size=1,
    max_size=8,
)


def site(sizes: list[tuple[int, int, str]], wanted: dict[str, Any]) -> World:
    """A site whose hosts have these CPUs, memory and states."""
    values = {f"kvm{number:02}": {"state": state} for number, (_cpus, _memory, state) in enumerate(sizes, 1)}
    world = make_world(len(sizes), host_values=values, affinity_groups=GROUPS, settings=wanted)
    for state, (cpus, memory, _state) in zip(world.states.values(), sizes):
        state.facts = {**state.facts, "cpus": cpus, "memory": memory}
    return world


def entries(vms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"vm{number}", **vm} for number, vm in enumerate(vms)]


def deploy(world: World, vms: list[dict[str, Any]]) -> Outcome:
    defaults = {"template": "tiny", "networks": ["default"], "wait": "none"}
    return fleet(world.controller(), vms, defaults=defaults)


def places(outcome: Outcome) -> dict[str, str]:
    """Where each VM is, or why it is nowhere."""
    rows = outcome.result["results"]
    return {row["name"]: row["error"]["code"] if row["failed"] else row["vm"]["host"] for row in rows}


def members(state: MemoryState, group: str) -> int:
    records = (domain.config.record for domain in state.domains.values())
    return sum(group in record.affinity_groups for record in records if record)


@settings(max_examples=60, deadline=None)
@given(SIZES, SETTINGS, VMS, st.integers(0, 8))
def test_no_run_breaks_a_strict_rule_or_passes_a_threshold(
    sizes: list[tuple[int, int, str]], wanted: dict[str, Any], vms: list[dict[str, Any]], first: int
) -> None:
    world = site(sizes, wanted)
    # In two runs, so that the second finds what the first has placed.
    told = {**places(deploy(world, entries(vms)[:first])), **places(deploy(world, entries(vms)))}
    hosts = {spec.name: spec for spec in world.catalog.hosts}
    for name, state in world.states.items():
        running = [domain.live for domain in state.domains.values() if domain.live]
        given = world.catalog.settings
        assert sum(vm.cpu for vm in running) <= state.facts["cpus"] * given.cpu_overprovisioning * (
            given.capacity_threshold
        )
        assert sum(vm.memory for vm in running) <= state.facts["memory"] * given.memory_overprovisioning * (
            given.capacity_threshold
        )
        assert hosts[name].state == "enabled" or not state.domains
        assert {domain.config.domain_name for domain in state.domains.values()} == {
            vm for vm, place in told.items() if place == name
        }
    for group, kind in GROUPS.items():
        counts = [members(state, group) for state in world.states.values()]
        if kind["type"] == "host-anti-affinity":
            assert max(counts) <= 1
        elif kind["type"] == "host-affinity":
            assert sum(count > 0 for count in counts) <= 1


@settings(max_examples=40, deadline=None)
@given(SIZES, SETTINGS.filter(lambda wanted: wanted["allocation"] != "random"), VMS)
def test_the_same_input_gives_the_same_hosts(
    sizes: list[tuple[int, int, str]], wanted: dict[str, Any], vms: list[dict[str, Any]]
) -> None:
    first, second = (places(deploy(site(sizes, wanted), entries(vms))) for _again in range(2))
    assert first == second
