# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet task killed or failing at any write: the same task again ends it, nothing is orphaned."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.fleets import audit, counts, fleet
from support.memory_calls import Killed
from support.worlds import World, make_world

TASK: dict[str, Any] = {
    "vms": [
        {"name": "new1"},
        {"name": "new2", "affinity_groups": ["apart"]},
        {"name": "grown", "compute_offering": "medium", "allow_restart": True},
        {"name": "stopped", "state": "stopped"},
        {"name": "back", "state": "recovered"},
        {"name": "away", "state": "expunged"},
        {"name": "same"},
    ],
    "group": "web",
    "prune": True,
}


def prepared() -> World:
    world = make_world(hosts=2)
    names = ["grown", "stopped", "back", "away", "same", "extra"]
    fleet(world.controller(), names, group="web")
    fleet(world.controller(), ["back"], state="destroyed")
    return world


def in_the_end(world: World) -> None:
    """Whatever was interrupted, the task after it comes to the same."""
    done = fleet(world.controller(), **TASK)
    assert not done.result["summary"]["failed"], done.result["plan"]
    audit(world)
    states = {row["name"]: row["vm"].get("state") for row in done.result["results"]}
    assert states == {
        **dict.fromkeys(("new1", "new2", "grown", "same"), "Running"),
        **dict.fromkeys(("stopped", "back"), "Stopped"),
        "away": None,
    }
    again = world.controller()
    assert counts(fleet(again, **TASK)) == {"unchanged": 7}
    assert again.writes == []
    left = [domain.config.domain_name for state in world.states.values() for domain in state.domains.values()]
    assert sorted(name.partition(".")[0] for name in left) == [
        "back", "extra", "grown", "new1", "new2", "same", "stopped",
    ]  # fmt: skip


def writes_of(world: World) -> dict[str, int]:
    controller = world.controller()
    fleet(controller, **TASK)
    in_the_end(world)
    return {name: len(host.writes) for name, host in controller.hosts.items()}


POSITIONS = [(host, at) for host, count in writes_of(prepared()).items() for at in range(1, count + 1)]


@pytest.mark.parametrize(("host", "position"), POSITIONS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_the_same_task_again_ends_it(host: str, position: int, when: str) -> None:
    world = prepared()
    controller = world.controller()
    controller.hosts[host].fail_at(position, Killed(), when)
    with pytest.raises(Killed):
        fleet(controller, **TASK)
    in_the_end(world)


@pytest.mark.parametrize(("host", "position"), POSITIONS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_failing_at_any_write_one_vm_fails_and_the_same_task_again_ends_it(host: str, position: int, when: str) -> None:
    world = prepared()
    controller = world.controller()
    controller.hosts[host].fail_at(position, AblestackError(Code.INTERNAL, "injected"), when)
    done = fleet(controller, **TASK)
    assert done.result["summary"]["failed"] == 1
    assert done.result["summary"]["not_begun"] == 0
    assert set(hosts_of_present(done.result["results"])) <= {"kvm01", "kvm02"}
    in_the_end(world)


def hosts_of_present(results: list[dict[str, Any]]) -> list[str]:
    return [row["vm"]["host"] for row in results if row.get("vm")]
