# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failing wait quotes the guest's console, and nothing of the user data that a script prints there."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.seeding import UNKNOWN, WITHHELD
from support.fake_time import FakeTime
from support.tasks import Task, fleet, vm
from support.worlds import Controller, World, make_world

SECRET = "hunter2pw"
SCRIPT = f"#!/bin/sh\nset -x\nmysqladmin password {SECRET}\n"
PRINTED = (
    "[3.1] EXT4-fs (vda1): mounted",
    f"+ mysqladmin password {SECRET}",
    f"password='{SECRET.upper()}'",
    "Debian GNU/Linux 12 web1 ttyS0",
    "web1 login:",
)
WEB: dict[str, Any] = {"template": "tiny", "compute_offering": "small", "networks": ["default"]}


def deployed(user_data: str = SCRIPT, console: tuple[str, ...] = PRINTED) -> World:
    """VM web1, whose agent never answers."""
    world = make_world()
    vm("web1", **WEB, user_data=user_data).run(world.controller())
    (domain,) = world.state.domains.values()
    domain.guest.agent, domain.guest.console = "absent", console
    return world


def failure(world: World, **options: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        FakeTime.install(patch)
        return refused(vm("web1", wait="agent", wait_timeout=5, **options), world.controller())


def refused(task: Task, controller: Controller) -> Any:
    with pytest.raises(AblestackError) as error:
        task.run(controller)
    return error.value


def console(world: World) -> list[str]:
    error = failure(world)
    assert error.code is Code.TIMEOUT
    for line in error.details["console"]:
        assert line in error.hint
    return list(error.details["console"])


@pytest.mark.parametrize("given", [{}, {"user_data": SCRIPT}])
def test_what_a_script_prints_is_not_told_whether_this_task_gave_it_or_another(given: dict[str, Any]) -> None:
    error = failure(deployed(), **given)
    assert SECRET not in f"{error.sentence} {error.as_dict()}".lower()
    assert error.details["console"] == [PRINTED[0], WITHHELD, *PRINTED[3:]]


def test_a_guest_that_goes_down_tells_no_more() -> None:
    world = deployed()
    controller = world.controller()
    (domain,) = world.state.domains.values()

    def goes_down() -> None:
        domain.power = type(domain.power).OFF

    controller.hosts["kvm01"].act_at("agent_ping", goes_down)
    error = refused(vm("web1", wait="agent", wait_timeout=5), controller)
    assert error.code is Code.INVALID_STATE
    assert SECRET not in f"{error.sentence} {error.as_dict()}".lower()
    assert PRINTED[0] in error.details["console"]


def test_a_fleet_tells_no_more() -> None:
    error = refused(fleet("web1", defaults={"wait": "agent", "wait_timeout": 1}), deployed().controller())
    (row,) = error.outcome.result["results"]
    assert row["error"]["code"] == "Timeout"
    assert PRINTED[0] in row["msg"]
    assert SECRET not in f"{error.sentence} {error.as_dict()} {error.outcome}".lower()


def test_nor_is_what_was_in_base64() -> None:
    told = console(deployed(f"#cloud-config\ncontent: {b64encode(f'pw={SECRET}!'.encode()).decode()}\n"))
    assert told == [PRINTED[0], WITHHELD, *PRINTED[3:]]


def test_nor_is_a_part_of_a_word_at_either_end() -> None:
    ends = (SECRET[2:], "ready", SECRET[:-1])
    assert console(deployed(console=ends)) == [WITHHELD, "ready", WITHHELD]


def test_nothing_is_told_where_the_seed_cannot_be_read() -> None:
    world = deployed()
    (seed,) = (volume for name, volume in world.pool.volumes.items() if name.endswith("-seed.iso"))
    seed.content = b"torn"
    assert console(world) == [UNKNOWN]


def test_a_guest_without_user_data_is_quoted_whole() -> None:
    assert console(deployed("")) == list(PRINTED)
