# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers that begin tasks on one VM's snapshots at one moment: one of them works, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Thread, current_thread
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import holding, snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import current_owner
from support.memory_snapshots import content_at
from support.snapshots import audit, fill, make_web, reads, run, the_domain, vm
from support.worlds import World

Task = tuple[str, str]


@pytest.fixture(autouse=True)
def controllers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each thread is a controller on a machine of its own; nobody waits for another."""
    monkeypatch.setattr(
        snapshot, "current_owner", lambda: replace(current_owner(), machine=current_thread().name, token="one")
    )
    for module in (snapshot, holding):
        monkeypatch.setattr(module, "_PATIENCE", 0.0)
        monkeypatch.setattr(module, "_PAUSE", 0.0)
    return


class Racer(Thread):
    """One task. It stops before its call number `pause` (of all that it makes) until it is let go on."""

    def __init__(self, name: str, world: World, task: Task, pause: int) -> None:
        super().__init__(name=name, daemon=True)
        self.stopped, self.go_on = Event(), Event()
        self.error: AblestackError | None = None
        self.calls = 0
        self._task, self._pause = task, pause
        self._controller = world.controller()
        self.host = self._controller.hosts["kvm01"]
        self._watch()

    def _watch(self) -> None:
        begin = self.host.begin

        def begin_in_turn(*arguments: Any) -> Any:
            if self.calls == self._pause:
                self.stopped.set()
                assert self.go_on.wait(60)
            self.calls += 1
            return begin(*arguments)

        self.host.begin = begin_in_turn  # type: ignore[method-assign]

    def run(self) -> None:
        name, state = self._task
        try:
            run(self._controller, name, state)
        except AblestackError as error:
            self.error = error
        finally:
            self.stopped.set()

    def finish(self) -> None:
        self.go_on.set()
        self.join(60)
        assert not self.is_alive()


def prepared() -> World:
    """It has s1 (A) and s2 (B), goes on from s2, and reads C."""
    world = make_web(start=False)
    for name, text in (("s1", "A"), ("s2", "B")):
        fill(world, text)
        run(world.controller(), name)
    fill(world, "C")
    return world


def race(first: Task, second: Task, pauses: tuple[int, int]) -> tuple[Racer, Racer]:
    """The first begins, stops; the second begins, stops; the first ends, then the second. Who gave way tries again."""
    world = prepared()
    one, two = Racer("one", world, first, pauses[0]), Racer("two", world, second, pauses[1])
    for racer in (one, two):
        racer.start()
        assert racer.stopped.wait(60)
    one.finish()
    two.finish()
    lost = [racer.error for racer in (one, two) if racer.error]
    assert {error.code for error in lost} <= {Code.CONFLICT, Code.NOT_FOUND}, [error.sentence for error in lost]
    assert the_domain(world).config.record.mark.owner is None  # type: ignore[union-attr]
    for racer in (one, two):
        if racer.error and racer.error.code is Code.CONFLICT:
            name, state = first if racer is one else second
            run(world.controller(), name, state)
    in_the_end(world, (first, second))
    return one, two


def in_the_end(world: World, tasks: tuple[Task, Task]) -> None:
    audit(world)
    names = {row.facts.name: row.facts for row in the_domain(world).kept}
    for name, state in tasks:
        assert (name in names) is (state != "absent"), (name, state)
    restores = {name for name, state in tasks if state == "reverted"}
    text = {"s1": "A", "s2": "B"}
    for name, facts in names.items():
        read = {content_at(world.state, path).decode() for _target, path in facts.images}
        assert len(read) == 1, f"snapshot {name} is torn"
        assert read == {text.get(name, "C")} or (name not in text and restores), f"snapshot {name} reads {read}"
    assert reads(world) == {"C"} or {text[name] for name in restores} == reads(world)
    assert the_domain(world).holds == {}


def test_whoever_is_stopped_where_it_asks_for_the_vm_at_most_one_gets_it() -> None:
    """Every order of the calls from the look at the VM to the mark in it, with one change of turns for each."""
    tasks = ("s3", "present"), ("s4", "present")
    alone = Racer("one", prepared(), tasks[0], -1)
    alone.start()
    alone.finish()
    names = [name for name, _arguments in alone.host.calls]
    asking = range(names.index("hold") - 1, names.index("set_record") + 3)
    met = 0
    for first in asking:
        for second in asking:
            one, two = race(*tasks, (first, second))
            met += bool(one.error or two.error)
    assert met > len(asking), "they hardly met"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("s3", "present"), ("s1", "absent")),
        (("s1", "absent"), ("s3", "present")),
        (("s1", "absent"), ("s2", "absent")),
        (("s1", "reverted"), ("s3", "present")),
        (("s3", "present"), ("s1", "reverted")),
        (("s1", "reverted"), ("s2", "absent")),
    ],
)
def test_any_two_tasks_do_not_meet(first: Task, second: Task) -> None:
    """The second runs as a whole wherever the first is stopped: what the first planned is of yesterday then."""
    position = 0
    while True:
        one, _two = race(first, second, (position, -1))
        position += 1
        if one.calls < position:
            break
    assert position > 5


def test_the_note_of_a_dead_process_blocks_nobody() -> None:
    world = prepared()
    long_ago = "2026-01-01T00:00:00Z"
    the_domain(world).holds["aa"] = Hold(Owner("another", 1, 2, "aa"), long_ago)
    run(world.controller(), "s3")
    audit(world)
    assert the_domain(world).holds == {}


def test_of_a_vm_that_starts_while_its_pools_are_looked_at_the_guest_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "is_known", lambda *_of: False)  # so that they are
    world = make_web(start=False)
    controller = world.controller()
    controller.hosts["kvm01"].act_at("refresh_pools", lambda: vm(world, name="web1", state="started"))
    assert run(controller, "s1").result["snapshot"]["quiesced"] is True
