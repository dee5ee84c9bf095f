# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The news of a fleet at work: written to a file by the module, read and told in a line by the action plugin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Callable

FILE_VARIABLE = "ABLESTACK_PROGRESS_FILE"
PLANNED, BEGUN, FAILED = "planned", "begun", "failed"


def reporter(environment: Mapping[str, str]) -> Callable[[str, str], None]:
    """Appends each piece of news to the file that the environment names; without one it goes nowhere."""
    path = environment.get(FILE_VARIABLE)
    lock = Lock()

    def report(name: str, news: str) -> None:
        if not path or not os.path.exists(path):  # somebody made it for us, or nobody reads it
            return
        try:
            with lock, open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps([name, news]) + "\n")
        except OSError:
            pass  # it is only for somebody to look at

    return report


@dataclass
class Progress:
    """How far a fleet is. `begun` has the seconds, by whatever clock, at which VMs were first seen at work."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    begun: dict[str, float] = field(default_factory=dict)

    def take(self, lines: Iterable[str], now: float) -> None:
        """Adds the news of whole lines of the file."""
        for line in lines:
            name, news = json.loads(line)
            if news == PLANNED:
                self.planned += 1
            elif news == BEGUN:
                self.begun[name] = now
            else:
                self.begun.pop(name, None)
                self.done += 1
                self.failed += news == FAILED

    def line(self, now: float, slow: float = 10.0) -> str:
        """For people: counts, and the three that take longest, if long."""
        text = f"{self.done} of {self.planned} VMs done, {len(self.begun)} running, {self.failed} failed"
        longest = sorted(self.begun.items(), key=lambda item: item[1])[:3]
        named = [f"{name} ({now - since:.0f} s)" for name, since in longest if now - since >= slow]
        return f"{text}; slow: {', '.join(named)}" if named else text
