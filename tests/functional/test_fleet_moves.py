# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a fleet that are off and are started on another host: alone, beside each other, and beside others' work."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec
from support.fleets import actions, counts, fleet, hosts_of, thrice
from support.memory_calls import Killed
from support.worlds import World, make_world


def test_vms_that_are_off_are_started_on_another_host_as_a_single_task_would_do_it() -> None:
    world = make_world(hosts=2, shared=True)
    fleet(world.controller(), [{"name": name, "host": "kvm01", "start": False} for name in ("a", "b", "stays")])
    vms: list[Any] = [
        {"name": "a", "state": "started", "host": "kvm02", "labels": {"moved": "yes"}, "wait": "agent"},
        {"name": "b", "state": "started", "host": "kvm02"},
        {"name": "stays", "state": "started"},
        {"name": "new", "host": "kvm02"},
    ]
    done = thrice(world, vms)
    assert hosts_of(done) == {"a": "kvm02", "b": "kvm02", "stays": "kvm01", "new": "kvm02"}
    assert {row["vm"]["state"] for row in done.result["results"]} == {"Running"}
    assert counts(done) == {"changed": 3, "made": 1}
    assert done.result["results"][0]["vm"]["labels"] == {"moved": "yes"}
    assert "~ b: changed on kvm02: host kvm01 -> kvm02, state Stopped -> Running" in done.result["plan"]
    assert [len(state.domains) for state in world.states.values()] == [1, 3]


def test_a_vm_that_cannot_be_moved_fails_alone_and_one_whose_move_was_cut_off_goes_on() -> None:
    world = make_world(hosts=2)
    fleet(world.controller(), [{"name": "own", "host": "kvm01", "start": False}, {"name": "b", "host": "kvm01"}])
    move = {"name": "own", "state": "started", "host": "kvm02"}
    for check in (True, False):
        done = fleet(world.controller(check), [move, {"name": "b", "labels": {"a": "b"}}])
        assert counts(done) == {"failed": 1, "changed": 1}
    runs = fleet(world.controller(), [{"name": "b", "state": "started", "host": "kvm02"}])
    assert runs.result["results"][0]["error"]["code"] == "InvalidState"

    world = make_world(hosts=2, shared=True)
    fleet(world.controller(), [{"name": "own", "host": "kvm01", "start": False}])
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("move", Killed(), "during")
    with pytest.raises(Killed):
        fleet(controller, [move])
    assert counts(fleet(world.controller(), [move])) == {"changed": 1}
    assert counts(fleet(world.controller(), [move])) == {"unchanged": 1}
    assert [len(state.domains) for state in world.states.values()] == [0, 1]


def test_a_move_counts_for_the_vms_that_are_placed_beside_it() -> None:
    big = {"cpu": 1, "memory": "8GiB"}
    world = make_world(hosts=2, shared=True, compute_offerings={"big": big})
    vm = {"compute_offering": "big"}
    fleet(world.controller(), [{"name": "a", "host": "kvm01", "start": False, **vm}])
    move = {"name": "a", "state": "started", "host": "kvm02", **vm}
    done = fleet(world.controller(), [move, {"name": "new", "host": "kvm02", **vm}])
    assert actions(done) == {"a": "changed", "new": "failed"}, done.result["plan"]
    assert done.result["results"][1]["error"]["code"] == "InsufficientCapacity"


def moved_together(world: World, names: list[str], target: str, **more: str) -> dict[str, str]:
    """What becomes of VMs that are moved to one host by one task, which check mode has to foretell."""
    vms = [{"name": name, "state": "started", "host": target, **more} for name in names]
    foretold, done = (fleet(world.controller(check), vms) for check in (True, False))
    assert (foretold.result["plan"], foretold.result["summary"]) == (done.result["plan"], done.result["summary"])
    refused = [row["error"]["code"] for row in done.result["results"] if row["failed"]]
    return {**actions(done), "refused": " ".join(refused)}


def test_moves_to_one_host_take_its_room_from_each_other() -> None:
    world = make_world(hosts=2, shared=True, compute_offerings={"big": {"cpu": 1, "memory": "8GiB"}})
    vms = [{"name": name, "host": "kvm01", "start": False, "compute_offering": "big"} for name in ("a", "b", "c")]
    fleet(world.controller(), vms)
    ends = moved_together(world, ["a", "b", "c"], "kvm02", compute_offering="big")
    assert ends == {
        "a": "changed",
        "b": "failed",
        "c": "failed",
        "refused": "InsufficientCapacity InsufficientCapacity",
    }
    assert [len(state.domains) for state in world.states.values()] == [2, 1]


def test_vms_to_be_kept_apart_are_not_moved_to_one_host() -> None:
    world = make_world(hosts=3, shared=True)
    vms = [{"name": name, "host": host, "start": False} for name, host in (("a", "kvm01"), ("b", "kvm02"))]
    fleet(world.controller(), [{**vm, "affinity_groups": ["apart"]} for vm in vms])
    ends = moved_together(world, ["a", "b"], "kvm03")
    assert ends == {"a": "changed", "b": "failed", "refused": "AffinityConflict"}


def test_a_move_sees_what_another_controller_has_started_since_it_was_planned() -> None:
    world = make_world(hosts=2, shared=True, compute_offerings={"big": {"cpu": 1, "memory": "8GiB"}})
    fleet(world.controller(), [{"name": "a", "host": "kvm01", "start": False, "compute_offering": "big"}])
    spec = fleet_spec({"vms": [{"name": "a", "state": "started", "host": "kvm02"}], "defaults": {"wait": "none"}})

    def meanwhile(_name: str, news: str) -> None:
        if news == "begun":
            fleet(world.controller(), [{"name": "new", "host": "kvm02", "compute_offering": "big"}])

    with pytest.raises(Incomplete, match="above the threshold"):
        apply_fleet(world.controller().infrastructure, spec, meanwhile)
    assert [len(state.domains) for state in world.states.values()] == [1, 1]
