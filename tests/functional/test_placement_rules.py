# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a VM may be: strict groups bind from every host, every host has its reason, and a host that is down is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from support.fleets import fleet, hosts_of, thrice
from support.migrations import disabled, migrate, vm
from support.worlds import World, make_world

ZONES = {"kvm01": {"zone": "z1"}, "kvm02": {"zone": "z2"}, "kvm03": {"zone": "z2"}}
TOGETHER, APART = {"affinity_groups": ["together"]}, {"affinity_groups": ["apart"]}
BASE: dict[str, Any] = {"template": "tiny", "networks": (NicSpec("default"),), "compute_offering": "small"}


def site(**options: Any) -> World:
    """One of each group on kvm01, of three hosts."""
    world = make_world(3, host_values=ZONES, shared=True, **options)
    told = fleet(world.controller(), [{"name": "a1", "host": "kvm01", "affinity_groups": ["together", "apart"]}])
    assert hosts_of(told) == {"a1": "kvm01"}
    return world


def error_of(world: World, **options: Any) -> AblestackError:
    """The error of a task, the same in check mode, and nothing is written."""
    codes = set()
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused:
            vm(controller, **options)
        assert controller.writes == []
        codes.add(refused.value.code)
    assert len(codes) == 1
    return refused.value


def reasons(rows: Any) -> dict[str, str]:
    return {row["host"]: row["reason"] for row in rows}


# Strict host-affinity


@pytest.mark.parametrize("how", ["named host", "zone", "closed", "no network"])
def test_a_group_binds_from_a_host_that_cannot_have_the_new_vm(how: str) -> None:
    world = site()
    options: dict[str, Any] = {**BASE, "name": "a2", "affinity_groups": ("together",)}
    if how == "named host":
        options["host"] = "kvm02"
    elif how == "zone":
        options["zone"] = "z2"
    elif how == "closed":
        world = disabled(world, "kvm01")
    else:
        options["networks"] = (NicSpec("lan"),)
        del world.states["kvm01"].networks["lan"]
    error = error_of(world, **options)
    assert error.code is Code.AFFINITY_CONFLICT
    told = reasons(error.details["rejected"])
    assert list(told) == ["kvm01", "kvm02", "kvm03"]
    assert told["kvm02"] == "host 'kvm02' has none of affinity group 'together', which is on kvm01"


def test_two_of_a_group_in_one_fleet_cannot_each_name_a_host() -> None:
    world = make_world(2)
    done = fleet(world.controller(), [{"name": f"a{number}", "host": f"kvm0{number}", **TOGETHER} for number in (1, 2)])
    rows = done.result["results"]
    assert [row["failed"] for row in rows] == [False, True]
    assert rows[1]["error"]["code"] == "AffinityConflict"


def test_a_member_is_not_moved_away_from_the_others() -> None:
    world = site()
    fleet(world.controller(), [{"name": "a2", **TOGETHER}])
    with pytest.raises(AblestackError) as refused:
        migrate(world.controller(), name="a2", host="kvm02")
    assert refused.value.code is Code.AFFINITY_CONFLICT


def test_a_group_leaves_a_closed_host_one_by_one_and_stays_together() -> None:
    world = make_world(3, shared=True)
    fleet(world.controller(), [{"name": f"a{number}", "host": "kvm01", **TOGETHER} for number in (1, 2, 3)])
    world = disabled(world, "kvm01")
    where = [migrate(world.controller(), name=f"a{number}").result["vm"]["host"] for number in (1, 2, 3)]
    assert where[0] != "kvm01"
    assert len(set(where)) == 1


@pytest.mark.parametrize("group", ["together", "apart"])
def test_a_host_that_may_have_the_group_has_to_be_asked(group: str) -> None:
    world = make_world(3, settings={"allow_unreachable": True})
    world.down = {"kvm03"}
    options = {**BASE, "name": "a1", "affinity_groups": (group,)}
    if group == "apart":  # what a host has that is down concerns no other
        assert vm(world.controller(), **options).result["vm"]["host"] == "kvm01"
        return
    error = error_of(world, **options)
    assert error.code is Code.HOST_UNAVAILABLE
    assert "kvm03" in error.message
    world.down = set()
    vm(world.controller(), **options)
    world.down = {"kvm03"}
    assert vm(world.controller(), **{**options, "name": "a2"}).result["vm"]["host"] == "kvm01"


# A group joined later


def test_a_vm_joins_only_a_group_that_allows_its_host() -> None:
    world = site()
    fleet(world.controller(), [{"name": "b1", "host": "kvm01"}, {"name": "b2", "host": "kvm02"}])
    for name, groups in (("b1", ("apart",)), ("b2", ("together",))):
        error = error_of(world, name=name, affinity_groups=groups)
        assert error.code is Code.AFFINITY_CONFLICT
        assert f"VM '{name}'" in error.message
    thrice(world, [{"name": "b1", **TOGETHER}, {"name": "b2", **APART}], defaults={})


def test_two_vms_of_one_host_do_not_join_a_group_in_one_fleet() -> None:
    world = make_world()
    fleet(world.controller(), ["b1", "b2"])
    rows = fleet(world.controller(), [{"name": "b1", **APART}, {"name": "b2", **APART}], defaults={}).result["results"]
    assert [row["failed"] for row in rows] == [False, True]
    assert rows[1]["error"]["code"] == "AffinityConflict"


def test_a_destroyed_vm_comes_back_only_where_its_group_allows_it() -> None:
    world = site()
    fleet(world.controller(), ["a1"], state="destroyed")
    fleet(world.controller(), [{"name": "a2", "host": "kvm01", **APART}])
    assert error_of(world, name="a1", state="recovered").code is Code.AFFINITY_CONFLICT
    fleet(world.controller(), ["a2"], state="expunged")
    assert vm(world.controller(), name="a1", state="recovered").changed


# Every host has its reason


def test_hosts_outside_the_wanted_place_are_listed_too() -> None:
    world = make_world(3, host_values=ZONES)
    done = fleet(world.controller(), [{"name": "in", "zone": "z2"}, {"name": "named", "host": "kvm02"}])
    placements = [row["placement"] for row in done.result["results"]]
    first = reasons(placements[0]["rejected"])
    assert first["kvm01"] == "host 'kvm01' is in zone 'z1', not 'z2'"
    assert len(first) == 2
    other = "host '{}' is not the host that was asked for"
    assert reasons(placements[1]["rejected"]) == {name: other.format(name) for name in ("kvm01", "kvm03")}


def test_a_move_says_of_every_host_why_not() -> None:
    world = site()
    told = migrate(world.controller(), name="a1", host="kvm03").result["placement"]
    assert list(reasons(told["rejected"])) == ["kvm01", "kvm02"]
    world = disabled(world, "kvm03")
    told = migrate(world.controller(), name="a1").result["placement"]
    assert told["host"] == "kvm02"
    assert reasons(told["rejected"]) == {
        "kvm01": "host 'kvm01' is in zone 'z1', not 'z2'",
        "kvm03": "host 'kvm03' is in maintenance",
    }


def test_only_hosts_that_were_asked_for_are_surveyed() -> None:
    world = make_world(3, host_values=ZONES)
    controller = world.controller()
    vm(controller, **BASE, name="web", host="kvm02")
    asked = {name for name, host in controller.hosts.items() if any(call == "facts" for call, _args in host.calls)}
    assert asked == {"kvm02"}


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"host": "kvm03"}, "set its state to enabled"),
        ({"host": "kvm02", "compute_offering": "tagged"}, "choose another compute offering"),
        ({"host": "kvm01", "affinity_groups": ("apart",)}, "leave the group out"),
    ],
)
def test_the_hint_is_for_what_is_wrong_with_the_named_host(options: dict[str, Any], remedy: str) -> None:
    world = disabled(site(), "kvm03")
    assert remedy in error_of(world, **{**BASE, "name": "a2", **options}).hint


# A host that is down


def test_a_new_vm_waits_for_a_host_that_is_down() -> None:
    world = make_world(3)
    world.down = {"kvm02"}
    error = error_of(world, **BASE, name="web")
    assert error.code is Code.HOST_UNAVAILABLE
    assert "take it out of the catalog" in error.hint
    assert "allow_unreachable" in error.hint


def test_the_catalog_may_allow_new_vms_without_a_host_that_is_down() -> None:
    world = make_world(3, settings={"allow_unreachable": True})
    fleet(world.controller(), [{"name": "old", "host": "kvm02"}])
    world.down = {"kvm02"}
    done = thrice(world, ["web"])
    assert done.result["results"][0]["vm"]["host"] != "kvm02"
    assert "cannot be reached" in reasons(done.result["results"][0]["placement"]["rejected"])["kvm02"]
    (warning,) = done.warnings
    assert "host 'kvm02'" in warning
    assert "VM 'web'" in warning
    assert error_of(world, **BASE, name="new", host="kvm02").code is Code.HOST_UNAVAILABLE
    # What is not a new VM needs to know as before.
    assert error_of(world, name="old", state="destroyed").code is Code.HOST_UNAVAILABLE
    # The price: a twin of a VM on that host, which shows when it is back.
    assert fleet(world.controller(), ["old"]).result["summary"]["made"] == 1
    world.down = set()
    assert error_of(world, name="old", labels=(("a", "b"),)).code is Code.CONFLICT


# Room to start


def full_site(**options: Any) -> World:
    """Four of eight CPUs of each host may be given out; kvm01 has four that run, and `off`."""
    settings = {"capacity_threshold": 0.5}
    world = make_world(2, shared=True, settings=settings, **options)
    custom = {"compute_offering": "medium", "host": "kvm01"}
    fleet(world.controller(), [{"name": "off", "start": False, **custom}])
    fleet(world.controller(), [{"name": name, **custom} for name in ("r1", "r2")])
    return world


@pytest.mark.parametrize("state", ["started", "restarted"])
def test_a_vm_is_not_started_past_the_threshold(state: str) -> None:
    world = full_site()
    error = error_of(world, name="off", state=state)
    assert error.code is Code.INSUFFICIENT_CAPACITY
    assert "above the threshold of 50%" in error.message
    assert "host: kvm02" in error.hint
    assert vm(world.controller(), name="off", state="started", host="kvm02").result["vm"]["host"] == "kvm02"


def test_without_room_elsewhere_the_hint_names_no_host() -> None:
    world = disabled(full_site(), "kvm02")
    error = error_of(world, name="off", state="started")
    assert error.code is Code.INSUFFICIENT_CAPACITY
    assert "kvm02" not in error.hint
    fleet(world.controller(), ["r1"], state="stopped", defaults={})
    assert vm(world.controller(), name="off", state="started").changed


def test_a_fleet_starts_only_as_many_as_there_is_room_for() -> None:
    world = full_site()
    fleet(world.controller(), ["r1", "r2"], state="stopped", defaults={})
    done = fleet(world.controller(), ["off", "r1", "r2"], state="started", defaults={})
    assert [row["failed"] for row in done.result["results"]] == [False, False, True]


def test_a_vm_that_runs_is_asked_nothing_and_a_single_uri_has_no_threshold() -> None:
    world = full_site()
    controller = world.controller()
    vm(controller, name="r1", state="started")
    assert [call for call, _args in controller.hosts["kvm01"].calls if call == "facts"] == []
    single = make_world(implicit=True)
    single.state.facts = {**single.state.facts, "cpus": 1}
    for number in (1, 2):
        options = {"cpu": 1, "memory": 256, "template": "tiny", "networks": (NicSpec("default"),)}
        vm(single.controller(), name=f"s{number}", start=False, **options)
        assert vm(single.controller(), name=f"s{number}", state="started").changed
