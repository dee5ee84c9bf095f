# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that stands still until somebody sleeps: waiting costs a test nothing."""

from __future__ import annotations

import time

import pytest


class FakeTime:
    """Seconds since some beginning."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> FakeTime:
        """Time passes by this clock for all code that asks `time` for it."""
        clock = cls()
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(time, "monotonic", clock.monotonic)
        return clock
