# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks on a VM that is moved to another host at the worst moment: done, or Conflict, and never told to be gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import MigrateSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.migrate import apply_migrate
from support import tasks
from support.fake_time import FakeTime
from support.memory_calls import EACH
from support.migrations import audit_always, migrate, site
from support.tasks import Task, fleet, snapshot, vm, volume
from support.worlds import Controller, World

TASKS: dict[str, Task] = {
    "present": vm("web1"),
    "wait": vm("web1", state="started", wait="agent"),
    "stopped": vm("web1", state="stopped"),
    "restarted": vm("web1", state="restarted"),
    "reset": vm("web1", state="restarted", forced=True),
    "labels": vm("web1", labels={"a": "b"}),
    "networks": vm("web1", networks=["default"]),
    "disks": vm("web1", data_disks=[]),
    "restart": vm("web1", compute_offering="medium", allow_restart=True),
    "destroyed": vm("web1", state="destroyed"),
    "expunged": vm("web1", state="expunged"),
    "fleet": fleet({"name": "web1", "state": "stopped"}),
    "fleet changed": fleet({"name": "web1", "labels": {"a": "b"}}),
    "snapshot": snapshot("s1"),
    "no snapshot": snapshot("s1", "absent"),
    "attach": volume("data", state="attached", vm="web1"),
    "migrate": Task("migrate", {"name": "web1", "host": "kvm02"}),
}


def moves(infrastructure: Infrastructure, options: dict[str, Any]) -> Outcome:
    return apply_migrate(infrastructure, MigrateSpec(**options))


def calls(name: str) -> int:
    controller = site().controller()
    TASKS[name].run(controller)
    return len(controller.hosts["kvm01"].calls)


def code(controller: Controller, task: Task) -> str:
    try:
        task.run(controller)
    except AblestackError as error:
        return error.code.value
    return "done"


@pytest.mark.parametrize("name", TASKS)
def test_a_vm_that_moves_meanwhile_is_never_told_to_be_gone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks._RUN, "migrate", moves)
    clock = FakeTime.install(monkeypatch)
    moved, told = 0, set()
    for call in range(1, calls(name) + 1):
        world, gone = site(), []
        controller = world.controller()

        def move(world: World = world, tell: Callable[[Any], None] = gone.append) -> None:
            try:
                migrate(world.controller(), host="kvm02")
            except AblestackError as error:
                tell(error.code)

        controller.hosts["kvm01"].act_at(EACH, move, nth=call)
        found = code(controller, TASKS[name])
        moved += not gone
        told.add(found)
        if name not in ("destroyed", "expunged"):
            audit_always(world)
        clock.now += 10_000
    assert moved, "it moved at some calls at least"
    assert told <= {"done", "Conflict"}
