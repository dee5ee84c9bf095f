# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets over three hosts in memory: mixed states, placement within a run, failures in the middle, pruning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec
from support.fake_time import FakeTime
from support.fleets import DEFAULTS, actions, audit, counts, fleet, hosts_of, thrice
from support.memory_calls import EACH
from support.worlds import World, make_world

UNKNOWN = "99999999-9999-4999-8999-999999999999"
NAMES = [f"web{number}" for number in range(1, 7)]


def test_a_fleet_is_deployed_over_all_hosts_in_the_order_of_the_list() -> None:
    world = make_world(hosts=3)
    done = thrice(world, NAMES, group="web")
    assert counts(done) == {"made": 6}
    assert [row["name"] for row in done.result["results"]] == NAMES
    assert {row["vm"]["state"] for row in done.result["results"]} == {"Running"}
    assert {row["vm"]["group"] for row in done.result["results"]} == {"web"}
    placed = list(hosts_of(done).values())
    assert {host: placed.count(host) for host in placed} == {"kvm01": 2, "kvm02": 2, "kvm03": 2}
    assert done.result["plan"][0].startswith("+ web1: made on kvm01 from tiny, 1 CPU, 512 MiB, Running")
    audit(world)


def test_it_places_as_a_loop_of_single_tasks_would() -> None:
    sizes = ["small", "medium", "small", "small", "medium", "small"]
    vms = [{"name": name, "compute_offering": size} for name, size in zip(NAMES, sizes)]
    at_once, one_by_one = make_world(hosts=3), make_world(hosts=3)
    placed = hosts_of(fleet(at_once.controller(), vms))
    for vm in vms:
        assert hosts_of(fleet(one_by_one.controller(), [vm])) == {vm["name"]: placed[vm["name"]]}


def test_every_host_is_listed_once_and_asked_once_for_what_all_need() -> None:
    world = make_world(hosts=3)
    controller = world.controller(check=True)
    fleet(controller, NAMES)
    for host in controller.hosts.values():
        names = [name for name, _args in host.calls]
        assert names.count("domains") == 1
        assert names.count("network") == 1
        assert names.count("pool") == 1
        assert names.count("download") == 1


def test_mixed_states_in_one_task() -> None:
    world = make_world(hosts=3)
    fleet(world.controller(), NAMES)
    fleet(world.controller(), ["web6"], state="destroyed")
    vms: list[Any] = [
        "web1",
        {"name": "web2", "state": "stopped"},
        {"name": "web3", "labels": {"tier": "front"}},
        {"name": "web4", "state": "destroyed"},
        {"name": "web5", "state": "expunged"},
        {"name": "web6", "state": "recovered"},
        {"name": "web7", "start": False},
    ]
    done = thrice(world, vms)
    assert actions(done) == {
        "web1": "unchanged",
        "web2": "changed",
        "web3": "changed",
        "web4": "removed",
        "web5": "removed",
        "web6": "changed",
        "web7": "made",
    }
    states = {row["name"]: row["vm"].get("state") for row in done.result["results"]}
    assert states == {
        "web1": "Running",
        "web2": "Stopped",
        "web3": "Running",
        "web4": "Destroyed",
        "web5": None,
        "web6": "Stopped",
        "web7": "Stopped",
    }
    assert set(done.before) == {"web2", "web3", "web4", "web5", "web6"}
    assert set(done.after) == {"web2", "web3", "web4", "web6", "web7"}
    audit(world)


def test_a_change_that_needs_a_restart_is_told_apart() -> None:
    world = make_world()
    fleet(world.controller(), ["web1", "web2"])
    done = thrice(
        world,
        [{"name": "web1", "compute_offering": "medium", "allow_restart": True}, {"name": "web2", "display_name": "W"}],
    )
    assert actions(done) == {"web1": "restarted", "web2": "changed"}
    assert done.result["plan"][0].startswith("^ web1: restarted on kvm01: cpu 1 -> 2")
    assert counts(fleet(world.controller(), ["web1", "web2"], state="restarted", defaults={})) == {"restarted": 2}


def test_affinity_counts_vms_of_the_same_run() -> None:
    world = make_world(hosts=3)
    apart = [{"name": name, "affinity_groups": ["apart"]} for name in NAMES[:3]]
    together = [{"name": name, "affinity_groups": ["together"]} for name in NAMES[3:]]
    done = thrice(world, [*apart, *together])
    placed = hosts_of(done)
    assert len({placed[name] for name in NAMES[:3]}) == 3
    assert len({placed[name] for name in NAMES[3:]}) == 1
    one_more = fleet(world.controller(), [{"name": "web9", "affinity_groups": ["apart"]}])
    assert one_more.result["results"][0]["error"]["code"] == "AffinityConflict"


def test_strict_anti_affinity_fails_the_vm_too_many_and_no_other() -> None:
    world = make_world(hosts=2)
    vms = [{"name": name, "affinity_groups": ["apart"]} for name in NAMES[:3]]
    done = fleet(world.controller(), vms)
    assert actions(done) == {"web1": "made", "web2": "made", "web3": "failed"}
    assert done.result["results"][2]["error"]["code"] == "AffinityConflict"


def test_capacity_counts_vms_of_the_same_run() -> None:
    world = make_world(hosts=2)  # 8 CPUs each, of which 85 per cent are given out: 6
    names = [f"vm{number}" for number in range(14)]
    predicted = fleet(world.controller(check=True), names)
    done = fleet(world.controller(), names)
    assert counts(predicted) == counts(done) == {"made": 12, "failed": 2}
    assert {row["error"]["code"] for row in done.result["results"] if row["failed"]} == {"InsufficientCapacity"}


def test_what_two_vms_of_a_task_both_want_only_the_first_gets() -> None:
    world = make_world()
    nic = {"name": "lan", "ip": "10.10.10.50"}
    disk = {"name": "shared", "size": "1GiB"}
    vms = [{"name": "a", "networks": [nic]}, {"name": "b", "networks": [nic]}]
    vms += [{"name": "c", "data_disks": [disk]}, {"name": "d", "data_disks": [disk]}]
    predicted = fleet(world.controller(check=True), vms)
    done = fleet(world.controller(), vms)
    assert actions(done) == actions(predicted) == {"a": "made", "b": "failed", "c": "made", "d": "failed"}
    assert [row["error"]["code"] for row in done.result["results"] if row["failed"]] == ["Conflict", "Conflict"]
    audit(world)


def test_two_vms_of_a_task_do_not_take_disks_of_one_destroyed_vm_at_once() -> None:
    world = make_world()
    disks = [{"name": name, "size": "1GiB"} for name in ("a", "b")]
    fleet(world.controller(), [{"name": "old", "data_disks": disks}])
    fleet(world.controller(), [{"name": "old"}], state="destroyed")
    vms = [{"name": name, "data_disks": [{"name": disk}]} for name, disk in (("n1", "a"), ("n2", "b"))]
    for check in (True, False):
        done = fleet(world.controller(check), vms)
        assert actions(done) == {"n1": "made", "n2": "failed"}
        assert done.result["results"][1]["error"]["code"] == "Conflict"
        assert "of the destroyed VM 'old', and only one" in done.result["results"][1]["msg"]
    assert actions(thrice(world, vms)) == {"n1": "unchanged", "n2": "made"}
    audit(world)


def failing(world: World, *names: str) -> Any:
    """A new controller on whose hosts these VMs cannot be started."""
    controller = world.controller()
    for host in controller.hosts.values():

        def start(vm_id: str, host: Any = host, start: Any = host.start) -> None:
            if host.state.domains[vm_id].config.domain_name in names:
                raise AblestackError(Code.INTERNAL, "the guest does not start", "look at its log")
            start(vm_id)

        host.start = start
    return controller


def test_failures_in_the_middle_are_told_and_keep_nobody_else() -> None:
    world = make_world(hosts=3)
    done = fleet(failing(world, "web2", "web5"), [*NAMES, {"name": "web7", "template": "missing"}])
    assert counts(done) == {"made": 4, "failed": 3}
    assert done.changed
    failed = {row["name"]: row for row in done.result["results"] if row["failed"]}
    assert set(failed) == {"web2", "web5", "web7"}
    assert failed["web2"]["msg"] == "the guest does not start: look at its log."
    assert failed["web2"]["error"]["code"] == "Internal"
    assert failed["web7"]["error"]["code"] == "NotFound"
    assert not failed["web2"]["changed"]  # a failed first deploy leaves nothing behind
    audit(world)
    repaired = fleet(world.controller(), NAMES)
    assert counts(repaired) == {"made": 2, "unchanged": 4}


def test_the_task_fails_with_what_was_done() -> None:
    world = make_world()
    spec = fleet_spec({"vms": [{"name": "a"}, {"name": "b"}], "defaults": DEFAULTS})
    with pytest.raises(Incomplete) as failure, failing(world, "a").infrastructure as infrastructure:
        apply_fleet(infrastructure, spec)
    assert failure.value.message == "1 of 2 VMs failed: a: the guest does not start"
    assert failure.value.code is Code.INTERNAL
    assert failure.value.details["failed"] == [{"name": "a", "code": "Internal"}]
    assert failure.value.outcome.result["summary"]["made"] == 1


def test_a_mistake_of_ours_in_one_vm_is_that_vms_alone_and_tells_no_secret() -> None:
    world = make_world()
    controller = world.controller()

    def start(vm_id: str) -> None:
        raise KeyError("s3cret")

    controller.hosts["kvm01"].start = start  # type: ignore[method-assign]
    done = fleet(controller, ["a", {"name": "b", "start": False}])
    assert actions(done) == {"a": "failed", "b": "made"}
    assert "s3cret" not in repr(done)
    assert "KeyError" in done.result["results"][0]["msg"]


def test_after_too_many_failures_nothing_new_is_begun() -> None:
    world = make_world(hosts=1)
    done = fleet(failing(world, "web2"), NAMES, max_failures=0, parallel=1)
    assert actions(done) == {"web1": "made", "web2": "failed", **dict.fromkeys(NAMES[2:], "not_begun")}
    assert counts(done) == {"made": 1, "failed": 1, "not_begun": 4}
    assert [row["failed"] for row in done.result["results"]] == [False, True, False, False, False, False]
    assert len(world.state.domains) == 1
    tolerant = fleet(failing(world, "web2"), NAMES, max_failures=1, parallel=1)
    assert counts(tolerant) == {"unchanged": 1, "failed": 1, "made": 4}


def test_with_no_failures_allowed_nothing_is_touched_unless_all_can_be_done() -> None:
    world = make_world()
    controller = world.controller()
    vms = ["web1", {"name": "web2", "template": "missing"}]
    done = fleet(controller, vms, max_failures=0)
    assert counts(done) == {"failed": 1, "not_begun": 1}
    assert not done.changed
    assert controller.writes == []
    assert counts(fleet(world.controller(check=True), vms, max_failures=0)) == {"failed": 1, "not_begun": 1}


def test_prune_destroys_what_the_group_has_beside_the_list() -> None:
    world = make_world(hosts=3)
    fleet(world.controller(), NAMES, group="web")
    fleet(world.controller(), ["db1"], group="db")
    fleet(world.controller(), ["loner"])
    done = thrice(world, ["web1", "web3", "web7"], group="web", prune=True)
    assert counts(done) == {"unchanged": 2, "made": 1, "removed": 4}
    assert actions(done, "pruned") == dict.fromkeys(("web2", "web4", "web5", "web6"), "removed")
    assert {row["vm"]["state"] for row in done.result["pruned"]} == {"Destroyed"}
    recovered = fleet(world.controller(), ["web2"], state="recovered")
    assert recovered.result["results"][0]["vm"]["state"] == "Stopped"
    assert counts(fleet(world.controller(), ["db1", "loner"])) == {"unchanged": 2}


def test_prune_spares_what_is_listed_by_its_id_and_refuses_what_is_protected() -> None:
    world = make_world()
    made = fleet(world.controller(), [{"name": "a"}, {"name": "b", "protected": True}], group="web")
    first = made.result["results"][0]["vm"]["id"]
    done = fleet(world.controller(), [{"id": first}], group="web", prune=True)
    assert counts(done) == {"unchanged": 1, "failed": 1}
    assert done.result["pruned"][0]["error"]["code"] == "Protected"
    assert len(world.state.domains) == 2


@pytest.mark.parametrize("check", [False, True])
def test_prune_spares_all_as_long_as_it_is_not_clear_what_an_entry_means(check: bool) -> None:
    world = make_world()
    made = fleet(world.controller(), ["web1", "web2"], group="web")
    first = made.result["results"][0]["vm"]["id"]
    for slip, code in (({"id": first, "name": "wbe1"}, "InvalidInput"), ({"id": UNKNOWN}, "NotFound")):
        spares_all(world, check, slip, code)


def spares_all(world: World, check: bool, slip: dict[str, str], code: str) -> None:
    done = fleet(world.controller(check), [slip], group="web", prune=True)
    assert counts(done) == {"failed": 1}
    assert done.result["results"][0]["error"]["code"] == code
    assert done.result["pruned"] == []
    assert "no VM of group 'web' was pruned" in done.warnings[0]
    assert counts(fleet(world.controller(), ["web1", "web2"])) == {"unchanged": 2}


def test_prune_spares_what_leaves_the_group_after_it_was_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTime.install(monkeypatch)
    world = make_world()
    fleet(world.controller(), ["a", "b"], group="web")
    calls = world.controller(check=True)
    fleet(calls, ["a"], group="web", prune=True)
    left = 0
    for call in range(1, len(calls.hosts["kvm01"].calls) + 12):
        world = make_world()
        fleet(world.controller(), ["a", "b"], group="web")
        controller = world.controller()
        told: list[Any] = []

        def leave(world: World = world, tell: Callable[[Any], None] = told.append) -> None:
            tell(fleet(world.controller(), ["b"], group="db"))

        controller.hosts["kvm01"].act_at(EACH, leave, nth=call)
        pruned = fleet(controller, ["a"], group="web", prune=True).result["pruned"]
        states = {domain.config.record.name: domain.power for domain in world.state.domains.values()}
        if told and counts(told[0]) == {"changed": 1}:
            left += 1
            assert states["b"] is Power.RUNNING, (call, pruned)
            assert [row["error"]["code"] for row in pruned] in ([], ["Conflict"]), call
    assert left > 3


def test_a_host_that_is_down_fails_what_needs_it_and_no_more() -> None:
    world = make_world(hosts=3)
    fleet(world.controller(), NAMES, group="web")
    placed = hosts_of(fleet(world.controller(), NAMES))
    world.down.add("kvm02")
    done = fleet(world.controller(), [*NAMES, "web7"], group="web", prune=True)
    for row in done.result["results"]:
        lost = row["name"] == "web7" or placed[row["name"]] == "kvm02"
        assert row["failed"] == lost, row
        assert not lost or row["error"]["code"] == "HostUnavailable"
    assert [row["error"]["code"] for row in done.result["pruned"]] == ["HostUnavailable"]


def test_a_half_deployed_vm_is_taken_back_and_made_anew() -> None:
    world = make_world(hosts=2)
    controller = world.controller()
    for host in controller.hosts.values():
        host.fail_at("upload", AblestackError(Code.INTERNAL, "injected"))
        host.fail_at("undefine", AblestackError(Code.INTERNAL, "injected"))
    fleet(controller, ["a", "b"])
    assert any(state.domains for state in world.states.values())
    assert counts(fleet(world.controller(), ["a", "b"])) == {"made": 2}
    audit(world)


def test_waiting_for_many_ends_with_each_ones_own_answer() -> None:
    world = make_world()
    fleet(world.controller(), ["up", "silent"], state="stopped")
    guests = {domain.config.domain_name: domain.guest for domain in world.state.domains.values()}
    guests["silent"].agent, guests["silent"].console = "absent", ("login:",)
    vms: list[Any] = ["up", {"name": "silent", "wait_timeout": 1}]
    done = fleet(world.controller(), vms, state="started", defaults={"wait": "agent"})
    assert actions(done) == {"up": "changed", "silent": "failed"}
    row = done.result["results"][1]
    assert row["error"]["code"] == "Timeout"
    assert "login:" in row["msg"]
    assert row["changed"]
    assert row["vm"]["state"] == "Running"
    # A VM that runs already is waited for all the same.
    guests["silent"].agent = "present"
    assert counts(fleet(world.controller(), vms, defaults={"wait": "agent"})) == {"unchanged": 2}


def test_addresses_of_all_are_told_and_leases_are_read_once_a_network() -> None:
    world = make_world()
    fleet(world.controller(), NAMES)
    controller = world.controller()
    done = fleet(controller, NAMES)
    assert all(row["vm"]["ip_address"] for row in done.result["results"])
    assert [name for name, _args in controller.hosts["kvm01"].calls].count("leases") == 1
