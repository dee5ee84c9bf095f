# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement over random infrastructures: strict rules are never broken, and every host gets its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import (
    AFFINITY_TYPES,
    ALLOCATION_RULES,
    HOST_STATES,
    AffinityGroup,
    Catalog,
    HostSpec,
    Settings,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import HostFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.placement import (
    Candidate,
    Demand,
    Placement,
    place,
    unwanted,
)

GROUPS = {name: AffinityGroup(name, name) for name in AFFINITY_TYPES}


cpus, memories = st.integers(1, 64), st.integers(1, 65536)


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Candidate, ...]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        spec = HostSpec(
            name=f"kvm{number}",
            uri=f"test://kvm{number}/default",
            state=draw(st.sampled_from(HOST_STATES)),
            tags=tuple(draw(st.sets(st.sampled_from(["ssd", "gpu"])))),
        )
        cpus, memory = draw(st.integers(1, 64)), draw(st.integers(1024, 65536))
        facts = HostFacts(
            spec, cpus, memory, used_cpus=draw(st.integers(0, 64)), used_memory=draw(st.integers(0, 65536))
        )
        lacking = draw(st.sampled_from([None, None, None, AblestackError(Code.NOT_FOUND, "no template here")]))
        members = {name: draw(st.integers(0, 2)) for name in GROUPS}
        # One that nobody asked for was not surveyed, but its members are counted.
        unwanted = draw(st.sampled_from(["", "", "", f"host '{spec.name}' is not the host that was asked for"]))
        found.append(Candidate(spec, None if unwanted or lacking else facts, lacking, members, unwanted))
    return tuple(found)


demands = st.builds(
    Demand,
    cpu=st.integers(1, 8),
    memory=st.integers(128, 8192),
    host_tags=st.sets(st.sampled_from(["ssd", "gpu"])).map(tuple),
    affinity_groups=st.sets(st.sampled_from(sorted(GROUPS)), max_size=2).map(tuple),
)
catalogs = st.builds(
    lambda rule, cpu, memory, threshold: Catalog(
        hosts=(),
        affinity_groups=GROUPS,
        settings=Settings(
            allocation=rule, cpu_overprovisioning=cpu, memory_overprovisioning=memory, capacity_threshold=threshold
        ),
    ),
    st.sampled_from(ALLOCATION_RULES),
    st.floats(0.5, 8),
    st.floats(0.5, 2),
    st.floats(0.1, 1),
)


@given(candidates(), demands, catalogs, st.floats(0, 0.999))
def test_a_chosen_host_breaks_no_rule_and_every_other_has_its_reason(
    hosts: tuple[Candidate, ...], demand: Demand, catalog: Catalog, draw: float
) -> None:
    settings = catalog.settings
    placement = outcome(hosts, demand, catalog, draw)
    if isinstance(placement, AblestackError):
        assert [row["host"] for row in placement.details["rejected"]] == [host.spec.name for host in hosts]
        return
    chosen = next(host for host in hosts if host.spec.name == placement.host)
    assert chosen.spec.state == "enabled"
    assert chosen.lacking is None
    assert not chosen.unwanted
    assert set(demand.host_tags) <= set(chosen.spec.tags)
    assert chosen.facts is not None
    cpu = (chosen.facts.used_cpus + demand.cpu) / (chosen.facts.cpus * settings.cpu_overprovisioning)
    memory = (chosen.facts.used_memory + demand.memory) / (chosen.facts.memory * settings.memory_overprovisioning)
    assert max(cpu, memory) <= settings.capacity_threshold
    if "host-anti-affinity" in demand.affinity_groups:
        assert not chosen.members["host-anti-affinity"]
    if "host-affinity" in demand.affinity_groups and any(host.members["host-affinity"] for host in hosts):
        assert chosen.members["host-affinity"]
    rejected = [host for host, _reason in placement.rejected]
    assert sorted([*rejected, placement.host]) == sorted(host.spec.name for host in hosts)
    assert all(reason for _host, reason in placement.rejected)


@given(candidates(), demands, catalogs, st.floats(0, 0.999), st.floats(0, 0.999))
def test_only_the_rule_random_depends_on_the_draw(
    hosts: tuple[Candidate, ...], demand: Demand, catalog: Catalog, first: float, second: float
) -> None:
    if catalog.settings.allocation == "random":
        catalog = replace(catalog, settings=replace(catalog.settings, allocation="packed"))

    outcomes = [outcome(hosts, demand, catalog, draw) for draw in (first, second)]
    assert str(outcomes[0]) == str(outcomes[1])


def outcome(hosts: tuple[Candidate, ...], demand: Demand, catalog: Catalog, draw: float) -> Placement | AblestackError:
    try:
        return place(hosts, demand, catalog, draw)
    except AblestackError as error:
        return error


def host(name: str, used: int = 0, **values: object) -> Candidate:
    spec = HostSpec(name=name, uri=f"test://{name}/default")
    return Candidate(spec, HostFacts(spec, cpus=10, memory=10240, used_cpus=used, used_memory=0), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "expected"), [("least-used", "b"), ("packed", "c"), ("first-fit", "a"), ("random", "c")]
)
def test_each_rule_chooses_as_its_name_says(rule: str, expected: str) -> None:
    catalog = Catalog(hosts=(), settings=Settings(allocation=rule))
    hosts = (host("a", used=2), host("b", used=1), host("c", used=4))
    assert place(hosts, Demand(1, 64), catalog, draw=0.9).host == expected


def test_the_host_that_came_furthest_gives_the_error_its_code() -> None:
    catalog = Catalog(hosts=(), affinity_groups=GROUPS)
    lacking = host("a", lacking=AblestackError(Code.NOT_FOUND, "template 't' is not on host 'a'"))
    occupied = host("b", members={"host-anti-affinity": 1})
    demand = Demand(1, 64, affinity_groups=("host-anti-affinity",))
    with pytest.raises(AblestackError) as error:
        place((lacking, occupied), demand, catalog)
    assert error.value.code is Code.AFFINITY_CONFLICT
    with pytest.raises(AblestackError) as error:
        place((lacking, host("c", used=9)), demand, catalog)
    assert error.value.code is Code.INSUFFICIENT_CAPACITY
    with pytest.raises(AblestackError) as error:
        place((lacking,), replace(demand, named="a"), catalog)
    assert error.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"named": "b"}, "host 'a' is not the host that was asked for"),
        ({"named": "a"}, ""),
        ({"zone": "z2"}, "host 'a' is in zone 'z1', not 'z2'"),
        ({"zone": "z1", "pod": "p2"}, "host 'a' is in pod 'p1', not 'p2'"),
        ({"cluster": "c2"}, "host 'a' is in cluster 'c1', not 'c2'"),
        ({"zone": "z1", "pod": "p1", "cluster": "c1"}, ""),
        ({}, ""),
    ],
)
def test_a_host_is_out_of_the_question_for_a_reason(wanted: dict[str, str], reason: str) -> None:
    assert unwanted(HostSpec("a", "test://a/default", "z1", "p1", "c1"), **wanted) == reason


def test_the_sentence_is_about_the_hosts_that_were_asked_for() -> None:
    full = host("b", used=9)
    with pytest.raises(AblestackError) as error:
        place((host("a", unwanted="host 'a' is not the one"), full), Demand(4, 64, named="b"), Catalog(hosts=()))
    assert error.value.code is Code.INSUFFICIENT_CAPACITY
    assert "'a'" not in error.value.message
    assert [row["host"] for row in error.value.details["rejected"]] == ["a", "b"]


def test_non_strict_groups_are_a_wish() -> None:
    catalog = Catalog(hosts=(), affinity_groups=GROUPS)
    hosts = (host("a", members={"non-strict-host-anti-affinity": 1}), host("b", used=3))
    demand = Demand(1, 64, affinity_groups=("non-strict-host-anti-affinity",))
    assert place(hosts, demand, catalog).host == "b"
    assert place(hosts[:1], demand, catalog).host == "a"
