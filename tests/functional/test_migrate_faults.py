# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration killed or failing at any write: the same task again ends it, and it never runs twice meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import owner
from support.fake_time import FakeTime
from support.memory_calls import Killed
from support.migrations import audit_always, audit_settled, migrate, site, vm
from support.worlds import Controller, World


@dataclass(frozen=True)
class Case:
    """A site, a task on it, and whether the VM runs in the end."""

    site: dict[str, Any]
    task: dict[str, Any]
    running: bool = True
    by_vm: bool = False  # ablestack_vm does it

    def run(self, controller: Controller) -> Any:
        return vm(controller, name="web1", **self.task) if self.by_vm else migrate(controller, **self.task)


OFF = {"start": False, "boot_type": "bios", "tpm": False}
STOPPED = {"stopped": True}
CASES = {
    "live": Case({}, {"host": "kvm02"}),
    "live with storage": Case({"shared": False}, {"host": "kvm02", "copy_storage": True}),
    "never ran": Case(OFF, {"host": "kvm02"}, running=False),
    "off": Case(STOPPED, {"host": "kvm02"}, running=False),
    "off with storage": Case({"shared": False, **STOPPED}, {"host": "kvm02", "copy_storage": True}, running=False),
    "stopped for it": Case({}, {"host": "kvm02", "live": False}),
    "stopped for it with storage": Case({"shared": False}, {"host": "kvm02", "live": False, "copy_storage": True}),
    "started elsewhere": Case(STOPPED, {"host": "kvm02", "state": "started"}, by_vm=True),
}


def prepared(case: Case) -> World:
    options = dict(case.site)
    stopped = options.pop("stopped", False)
    world = site(**options)
    if stopped:
        vm(world.controller(), name="web1", state="stopped")
    return world


def writes_of(case: Case) -> Iterator[tuple[str, int]]:
    """Each write of an undisturbed run, as its host and its number there."""
    world = prepared(case)
    controller = world.controller()
    case.run(controller)
    audit_settled(world, "kvm02", case.running)
    again = world.controller()
    assert case.run(again).changed is False
    assert again.writes == []
    for name, host in controller.hosts.items():
        for position in range(1, len(host.writes) + 1):
            yield name, position


@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_write_the_same_task_again_ends_it(name: str) -> None:
    case = CASES[name]
    for host, position in writes_of(case):
        for when in ("before", "during", "after"):
            world = prepared(case)
            controller = world.controller()
            controller.hosts[host].fail_at(position, Killed(), when)
            try:
                case.run(controller)
            except Killed:
                audit_always(world)
            case.run(world.controller())
            audit_settled(world, "kvm02", case.running)


@pytest.mark.parametrize("name", CASES)
def test_killed_and_then_wanted_where_it_was_it_is_there(name: str) -> None:
    case = CASES[name]
    if case.by_vm:
        case = Case(case.site, {"host": "kvm02"}, running=False)
    for host, position in writes_of(case):
        world = prepared(case)
        controller = world.controller()
        controller.hosts[host].fail_at(position, Killed(), "after")
        with pytest.raises(Killed):
            case.run(controller)
        migrate(world.controller(), **{**case.task, "host": "kvm01"})
        audit_settled(world, "kvm01", case.running)


@pytest.mark.parametrize("name", CASES)
def test_failing_at_any_write_it_is_as_it_was_and_the_same_task_again_ends_it(name: str) -> None:
    case = CASES[name]
    for host, position in writes_of(case):
        for when in ("before", "after"):
            world = prepared(case)
            controller = world.controller()
            controller.hosts[host].fail_at(position, AblestackError(Code.INTERNAL, "injected"), when)
            try:
                case.run(controller)
            except AblestackError as error:
                assert "injected" in error.message  # noqa: PT017 - there is one write that may fail
            else:
                assert controller.hosts[host].writes[position - 1][0] == "let_go"  # a note of ours, which ends with us
            audit_always(world)
            case.run(world.controller())
            audit_settled(world, "kvm02", case.running)


@pytest.mark.parametrize("name", ["stopped for it", "stopped for it with storage", "started elsewhere"])
def test_failing_while_nothing_starts_it_is_free_for_a_controller_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeTime.install(monkeypatch)
    case = CASES[name]
    calm = prepared(case).controller()
    case.run(calm)
    for host in calm.hosts:
        earlier = takewhile(lambda write: write != "start", (write for write, _args in calm.hosts[host].writes))
        for position, write in enumerate(["nothing", *earlier]):
            if write == "let_go":
                continue  # a note that cannot be taken back counts for as long as that of a dead process
            world = prepared(case)
            controller = world.controller()
            controller.hosts[host].fail_at(position, AblestackError(Code.INTERNAL, "injected"))
            for one in controller.hosts.values():
                one.full = frozenset({"start"})
            with pytest.raises(AblestackError):
                case.run(controller)
            audit_always(world)
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(owner, "_machine", lambda: "another machine")
                elsewhere.setattr(owner, "_process", lambda pid: ("another machine", pid, 1))
                case.run(world.controller())
            audit_settled(world, "kvm02", case.running)


@pytest.mark.parametrize("name", ["live", "live with storage", "off with storage", "stopped for it"])
def test_a_move_that_is_refused_leaves_all_as_it_was(name: str) -> None:
    case = CASES[name]
    world = prepared(case)
    ran = any(domain.active for domain in world.state.domains.values())
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("move", AblestackError(Code.INTERNAL, "injected"), "before")
    with pytest.raises(AblestackError, match="injected"):
        case.run(controller)
    audit_settled(world, "kvm01", ran)
