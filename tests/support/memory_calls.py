# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a memory host's calls, and what can go wrong at each of them."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code

from .memory_state import MemoryState


class Killed(BaseException):
    """The process that used the host died here: no `except Exception` sees it, and none of its hosts answers again."""


POOL_STORES = frozenset(
    (
        "clone_volume",
        "create_volume",
        "merge_layers",
        "resize_disk",
        "resize_volume",
        "take_checkpoint",
        "take_snapshot",
        "upload",
    )
)
"""Calls that need room in a pool."""
HOST_STORES = frozenset(
    ("define", "define_network", "define_pool", "redefine", "redefine_network", "rename", "set_record")
)
"""Calls that need room on the disk where libvirt keeps its definitions."""
HALF_WAY = frozenset(
    ("clone_volume", "merge_layers", "restore_checkpoint", "start", "take_checkpoint", "take_snapshot", "upload")
)
"""Calls that can be stopped half way."""
EACH = "*"  # as the name of a call: any, be it a read or a write


@dataclass
class Process:
    """What the hosts of one process share: whether it is still alive, and who is told before each of its calls."""

    dead: bool = False
    before_call: Callable[[], None] = lambda: None


@dataclass
class Trap:
    """Something that happens at a call: the `countdown`-th from now that matches `what` (see `Calls.act_at`)."""

    what: int | str
    action: Callable[[], Any]
    when: str
    countdown: int

    def due(self, name: str, is_write: bool) -> bool:
        matches = self.what in (name, EACH) if isinstance(self.what, str) else is_write
        self.countdown -= matches
        return matches and self.countdown == 0


class Calls:
    """`calls` and `writes` are lists of (name, arguments) of every call, and of those that change something."""

    def __init__(self, state: MemoryState, read_only: bool, process: Process | None) -> None:
        self.state = state
        self.read_only = read_only
        self.process = process or Process()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.writes: list[tuple[str, tuple[Any, ...]]] = []
        self.traps: list[Trap] = []
        self.interruption: Callable[[], None] = lambda: None  # for a call that can be stopped half way
        self.lost = False  # the connection is broken: nothing is answered any more
        self.full: frozenset[str] = frozenset()  # the calls for which there is no room any more

    def fail_at(self, what: int | str, error: BaseException, when: str = "before", nth: int = 1) -> None:
        """Raises `error` at the what-th write from now, or at the nth call of that name.

        `when` is before or after its effect; `during` stops half way a call that has an `interruption`.
        """

        def fail() -> None:
            self.process.dead = self.process.dead or isinstance(error, Killed)
            raise error

        self.act_at(what, fail, when, nth)

    def act_at(self, what: int | str, action: Callable[[], Any], when: str = "before", nth: int = 1) -> None:
        """Does something at such a call: what another controller does at the worst moment."""
        self.traps.append(Trap(what, action, when, what if isinstance(what, int) else nth))

    def begin(self, name: str, args: tuple[Any, ...], is_write: bool) -> list[Trap]:
        """Logs a call and gives the traps that spring at it."""
        self.process.before_call()
        with self.state.lock:
            if self.process.dead:
                raise Killed
            if self.lost:
                raise AblestackError(Code.HOST_UNAVAILABLE, f"the connection is broken at {name}")
            if name in self.full:
                raise AblestackError(Code.INSUFFICIENT_CAPACITY, f"there is no room at {name}")
            self.calls.append((name, args))
            if is_write:
                if self.read_only:
                    raise AblestackError(Code.INTERNAL, f"a write in check mode: {name}")
                self.writes.append((name, args))
            return [trap for trap in self.traps if trap.due(name, is_write)]


def _spring(sprung: list[Trap], when: str) -> None:
    for trap in sprung:
        if trap.when == when:
            trap.when = "sprung"
            trap.action()


def _call(is_write: bool, lock: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(self: Calls, *args: Any, **kwargs: Any) -> Any:
            sprung = self.begin(method.__name__, (*args, *kwargs.values()), is_write)
            _spring(sprung, "before")
            self.interruption = lambda: _spring(sprung, "during")
            try:
                with self.state.lock if lock else nullcontext():
                    return method(self, *args, **kwargs)
            finally:
                _spring(sprung, "after")

        run.is_write = is_write  # type: ignore[attr-defined]
        return run

    return wrap


reads = _call(is_write=False)
writes = _call(is_write=True)
writes_unlocked = _call(is_write=True, lock=False)
