# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several controllers at once, and yet one at a time: at every call of a host a seeded choice says who goes on.

The same seed gives the same order of all their calls, so whatever a race has shown can be looked at again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread, local
from types import SimpleNamespace
from typing import Callable, Union

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import owner

from .tasks import Task
from .worlds import World

Result = Union[Outcome, AblestackError]


@dataclass
class _Runner:
    """A controller's thread. `pid` is what others take it for, `wakes` when it has slept enough."""

    pid: int
    thread: Thread | None = None
    wakes: float = 0.0
    done: bool = False
    result: Result | None = None
    crash: BaseException | None = None


@dataclass
class Turns:
    """Whose turn it is; `watch` is called whenever that changes, while nobody does anything."""

    seed: int
    watch: Callable[[], None]
    now: float = 1000.0
    calls: int = 0
    _runners: list[_Runner] = field(default_factory=list)
    _turn: _Runner | None = None
    _news: Condition = field(default_factory=Condition)
    _mine: local = field(default_factory=local)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def race(self, world: World, tasks: Sequence[Task]) -> list[Result]:
        """What came of each task; what is no error of ours is raised."""
        for number, task in enumerate(tasks):
            runner = _Runner(1_000_000 + number)
            runner.thread = Thread(target=self._run, args=(runner, world, task), daemon=True)
            self._runners.append(runner)
        for runner in self._runners:
            if runner.thread:
                runner.thread.start()
        with self._news:
            self._choose()
        for runner in self._runners:
            if runner.thread:
                runner.thread.join()
        for runner in self._runners:
            if runner.crash:
                raise runner.crash
        return [runner.result for runner in self._runners if runner.result is not None]

    def _run(self, runner: _Runner, world: World, task: Task) -> None:
        self._mine.runner = runner
        controller = world.controller()
        for host in controller.hosts.values():
            host.process.before_call = self.give_way
        try:
            with self._news:
                self._news.wait_for(lambda: self._turn is runner)
            runner.result = task.run(controller)
        except AblestackError as error:
            runner.result = error
        except BaseException as crash:  # noqa: BLE001 - it is raised again where the race was begun
            runner.crash = crash
        with self._news:
            runner.done = True
            self._choose()

    def give_way(self, seconds: float = 0.0) -> None:
        """Somebody goes on, it may be the same; a thread that is no controller's is no part of this."""
        runner = getattr(self._mine, "runner", None)
        if runner is None:
            return
        with self._news:
            runner.wakes = self.now + seconds
            self._choose()
            self._news.wait_for(lambda: self._turn is runner)

    def _choose(self) -> None:
        left = [runner for runner in self._runners if not runner.done]
        if not left:
            return
        self.calls += 1
        self.watch()
        if all(runner.wakes > self.now for runner in left):
            self.now = min(runner.wakes for runner in left)
        self._turn = self._random.choice([runner for runner in left if runner.wakes <= self.now])
        self._news.notify_all()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time passes only while all wait, and every controller is a process of its own to the others."""
        monkeypatch.setattr(time, "sleep", self.give_way)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(owner, "os", SimpleNamespace(getpid=self._pid, stat=os.stat))
        monkeypatch.setattr(owner, "_start_time", self._started)

    def _pid(self) -> int:
        runner = getattr(self._mine, "runner", None)
        return runner.pid if runner else os.getpid()

    def _started(self, pid: int) -> int | None:
        alive = {runner.pid for runner in self._runners if not runner.done} | {os.getpid()}
        return 1 if pid in alive else None
