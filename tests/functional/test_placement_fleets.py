# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole fleets over random catalogs: what placement promises of one VM holds of all that a run has placed."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import (
    AFFINITY_TYPES,
    ALLOCATION_RULES,
    HOST_STATES,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from support.fleets import fleet
from support.memory_state import MemoryState
from support.migrations import disabled, migrate
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


# The life of a site: VMs that name their place, hosts that are closed or lose a network, VMs that move, stop and start.

NAMES = [f"vm{number}" for number in range(6)]
HOSTS = [f"kvm{number:02}" for number in range(1, 5)]
STRICT = sorted(name for name in GROUPS if not name.startswith("non-strict"))
WANTED = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "affinity_groups": st.lists(st.sampled_from(STRICT), max_size=2, unique=True)},
    optional={
        "host": st.sampled_from(HOSTS),
        "zone": st.sampled_from(["z1", "z2"]),
        "networks": st.sampled_from([["default"], ["lan"]]),
        "cpu": st.integers(1, 3),
        "start": st.booleans(),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("deploy"), st.lists(WANTED, min_size=1, max_size=3, unique_by=lambda vm: vm["name"])),
    st.tuples(st.just("close"), st.sampled_from(HOSTS)),
    st.tuples(st.just("unplug"), st.sampled_from(HOSTS)),
    st.tuples(st.just("move"), st.tuples(st.sampled_from(NAMES), st.sampled_from(["", *HOSTS]))),
    st.tuples(st.just("power"), st.tuples(st.sampled_from(["started", "stopped"]), st.sampled_from(NAMES))),
    st.tuples(st.just("power"), st.tuples(st.sampled_from(["destroyed", "recovered"]), st.sampled_from(NAMES))),
)


def live(world: World, verb: str, what: Any) -> World:
    """One step; the site as it is then."""
    if verb == "deploy":
        defaults = {"template": "tiny", "networks": ["default"], "wait": "none", "cpu": 1, "memory": 256}
        rows = fleet(world.controller(), what, defaults=defaults).result["results"]
        for row in rows:
            assert not row["failed"] or row["error"]["code"] != "Internal", row["msg"]
    elif verb == "close":
        return disabled(world, what)
    elif verb == "unplug":
        world.states[what].networks.pop("lan", None)
    elif verb == "move":
        try:
            migrate(world.controller(), name=what[0], host=what[1])
        except AblestackError as error:
            event(f"move refused: {error.code.value}")
            if error.code is Code.INTERNAL:
                raise
    else:
        fleet(world.controller(), [what[1]], defaults={}, state=what[0])
    return world


@settings(max_examples=150, deadline=None)
@given(
    st.lists(WANTED, min_size=3, max_size=6, unique_by=lambda vm: vm["name"]),
    st.lists(STEPS, min_size=2, max_size=8),
    st.sampled_from(ALLOCATION_RULES),
)
def test_no_step_of_a_life_breaks_a_strict_rule_or_passes_a_threshold(
    first: list[dict[str, Any]], steps: list[Any], rule: str
) -> None:
    values = {name: {"zone": f"z{number % 2 + 1}"} for number, name in enumerate(HOSTS)}
    wanted = {"allocation": rule, "capacity_threshold": 0.5}
    world = make_world(len(HOSTS), host_values=values, affinity_groups=GROUPS, settings=wanted, shared=True)
    for verb, what in [("deploy", first), *steps]:
        world = live(world, verb, what)
        opened = [world.states[spec.name] for spec in world.catalog.hosts if spec.state == "enabled"]
        for group in STRICT:
            if group.startswith("host-anti"):
                assert max(present(state, group) for state in world.states.values()) <= 1, group
            else:  # a group leaves a closed host one by one
                assert sum(present(state, group) > 0 for state in opened) <= 1, group
        for state in world.states.values():
            running = [domain.live.cpu for domain in state.domains.values() if domain.live]
            assert sum(running) <= state.facts["cpus"] * 0.5


def present(state: MemoryState, group: str) -> int:
    """The members on a host that are not destroyed."""
    records = [domain.config.record for domain in state.domains.values()]
    alive = [record for record in records if record and record.mark.phase.value not in ("destroyed", "expunging")]
    return sum(group in record.affinity_groups for record in alive)
