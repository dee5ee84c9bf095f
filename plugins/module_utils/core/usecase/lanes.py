# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works on many things at once, a few on each host: a thing is worked on, and then looked at until it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic
from typing import Protocol

from .waiting import PAUSE

WORKS = 4
"""Things worked on at once on a host: libvirt serves five calls of a client at a time."""
LOOKS = 2
"""Things looked at beside them: a guest agent that hangs takes two seconds, and holds up no work."""
_MOST = 128  # threads, however many hosts there are


class Item(Protocol):
    """One thing; both methods are called in threads, never two at a time."""

    host: str

    def work(self) -> bool:
        """Does what is to be done; whether it has to be looked at afterwards."""

    def look(self) -> bool:
        """Whether it is ready."""


@dataclass
class _Waiting:
    """A thing that is worked on and not ready, and when to look at it again."""

    item: Item
    due: float


class Lanes:
    """`parallel` bounds the things that are begun and not ready, 0 for as many as the hosts take.

    `halt` may be called by an item: what is begun comes to its end, and nothing new begins. An exception of an item
    ends everything and is raised by `run`.
    """

    def __init__(self, items: Sequence[Item], parallel: int = 0) -> None:
        self._fresh = list(items)
        self._waiting: list[_Waiting] = []
        self._works: dict[str, int] = {}
        self._looks: dict[str, int] = {}
        self._begun = 0
        self._parallel = parallel or len(self._fresh)
        self._crash: BaseException | None = None
        self._news = Condition()

    def halt(self) -> None:
        """Begins nothing new."""
        with self._news:
            self._fresh.clear()

    def run(self) -> None:
        """Returns when everything that was begun is ready."""
        hosts = {item.host for item in self._fresh}
        count = min(len(self._fresh), self._parallel, len(hosts) * (WORKS + LOOKS), _MOST)
        threads = [Thread(target=self._serve, name=f"lane {number}", daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._crash:
            raise self._crash

    def _serve(self) -> None:
        try:
            while (turn := self._next()) is not None:
                self._take(turn)
        except BaseException as crash:  # noqa: BLE001 - it is raised again where run was called
            with self._news:
                self._crash = self._crash or crash
                self._fresh.clear()
                self._waiting.clear()
                self._news.notify_all()

    def _take(self, turn: Item | _Waiting) -> None:
        """One piece of work, or one look."""
        item, lane = (turn.item, self._looks) if isinstance(turn, _Waiting) else (turn, self._works)
        ready = item.look() if isinstance(turn, _Waiting) else not item.work()
        with self._news:
            lane[item.host] -= 1
            if ready:
                self._begun -= 1
            elif not self._crash:
                self._waiting.append(_Waiting(item, monotonic() + PAUSE))
            self._news.notify_all()

    def _next(self) -> Item | _Waiting | None:
        """What to do now, waiting for it; None when there is nothing left for this thread."""
        with self._news:
            while True:
                now = monotonic()
                for waiting in self._waiting:
                    if waiting.due <= now and self._looks.get(waiting.item.host, 0) < LOOKS:
                        self._waiting.remove(waiting)
                        self._looks[waiting.item.host] = self._looks.get(waiting.item.host, 0) + 1
                        return waiting
                for item in self._fresh if self._begun < self._parallel else ():
                    if self._works.get(item.host, 0) < WORKS:
                        self._fresh.remove(item)
                        self._works[item.host] = self._works.get(item.host, 0) + 1
                        self._begun += 1
                        return item
                if self._crash or not (self._fresh or self._begun):
                    return None
                # The others are told when a look comes to its end.
                soon = [waiting.due for waiting in self._waiting if self._looks.get(waiting.item.host, 0) < LOOKS]
                self._news.wait(max(min(soon) - now, 0) if soon else None)
