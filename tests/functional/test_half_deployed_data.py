# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of several hosts a VM goes where its data disks are, above all after a killed deploy: never is an empty one made."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.memory_calls import Killed
from support.migrations import disabled
from support.tasks import Task, refused, vm, volume
from support.worlds import World, make_world

BASE: dict[str, Any] = {"template": "tiny", "compute_offering": "small", "networks": ["default"], "wait": "none"}
WEB = vm("web1", data_disks=[{"name": "d", "size": 1}], **BASE)
DATA = b"what was on it"


def kill_at(world: World, task: Task, call: str, when: str = "before") -> None:
    controller = world.controller()
    for host in controller.hosts.values():
        host.fail_at(call, Killed(), when)
    with pytest.raises(Killed):
        task.run(controller)


def half_deployed(shared: bool = False) -> World:
    """On kvm01, with a volume that it has adopted; and by now kvm02 has more room."""
    world = make_world(2, shared=shared)
    volume("d", size=1, host="kvm01").run(world.controller())
    world.pool.volumes["vol-d.qcow2"].content += DATA
    kill_at(world, WEB, "upload")
    vm("other", host="kvm01", **BASE).run(world.controller())
    return world


def data_disks(world: World) -> list[str]:
    """The hosts that have the volume; that with the data on it is one of them."""
    assert world.pool.volumes["vol-d.qcow2"].content.endswith(DATA)
    return [name for name, state in world.states.items() if "vol-d.qcow2" in state.pools["default"].volumes]


def stays_away(world: World, task: Task = WEB) -> AblestackError:
    error = refused(world, task)
    assert data_disks(world) == ["kvm01"]
    return error


def host_of(world: World, task: Task = WEB) -> str:
    foretold = task.run(world.controller(check=True)).result["vm"]["host"]
    done = task.run(world.controller()).result
    assert done["vm"]["host"] == done["placement"]["host"] == foretold
    return str(foretold)


def test_the_next_run_deploys_it_where_its_data_disks_are() -> None:
    world = half_deployed()
    assert host_of(world) == "kvm01"
    assert data_disks(world) == ["kvm01"]
    assert not WEB.run(world.controller()).changed


@pytest.mark.parametrize(("call", "when"), [("undefine", "before"), ("undefine", "after"), ("define", "before")])
def test_so_does_the_one_after_a_run_that_was_killed_when_it_had_taken_it_back(call: str, when: str) -> None:
    world = half_deployed()
    kill_at(world, WEB, call, when)
    assert host_of(world) == "kvm01"
    assert data_disks(world) == ["kvm01"]


def test_a_host_that_cannot_have_it_any_more_keeps_its_data_until_somebody_decides() -> None:
    world = half_deployed()
    closed = disabled(world, "kvm01")
    error = stays_away(closed)
    assert error.code is Code.INVALID_STATE
    assert "with data disk 'd', which is not on host 'kvm02'; host 'kvm01' is in maintenance" in error.message
    assert host_of(world) == "kvm01"


def test_expunged_it_leaves_the_data_and_can_be_deployed_elsewhere() -> None:
    closed = disabled(half_deployed(), "kvm01")
    vm("web1", state="expunged").run(closed.controller())
    assert data_disks(closed) == ["kvm01"]
    assert host_of(closed) == "kvm02"
    assert data_disks(closed) == ["kvm01", "kvm02"]


def test_another_host_that_is_named_does_not_get_an_empty_disk_instead() -> None:
    world = half_deployed()
    assert stays_away(world, vm(**{**WEB.options, "host": "kvm02"})).code is Code.INVALID_STATE


def test_shared_storage_takes_the_data_along() -> None:
    world = disabled(half_deployed(shared=True), "kvm01")
    assert host_of(world) == "kvm02"
    assert data_disks(world) == ["kvm01", "kvm02"]


def test_one_that_has_no_data_disks_may_go_anywhere() -> None:
    world = make_world(2)
    task = vm("web1", **BASE)
    kill_at(world, task, "upload")
    assert host_of(disabled(world, "kvm01"), task) == "kvm02"
    assert world.state.domains == {}


def test_a_new_vm_goes_where_its_free_data_disk_is_unless_a_host_is_named() -> None:
    for named, chosen in (({}, "kvm02"), ({"host": "kvm01"}, "kvm01")):
        world = make_world(2)
        volume("d", size=1, host="kvm02").run(world.controller())
        assert host_of(world, vm(**{**WEB.options, **named})) == chosen


def test_a_disk_that_a_destroyed_vm_may_want_back_attracts_nobody() -> None:
    world = make_world(2)
    vm(**{**WEB.options, "host": "kvm02"}).run(world.controller())
    vm("web1", state="destroyed").run(world.controller())
    assert host_of(world, vm(**{**WEB.options, "name": "web2"})) == "kvm01"
