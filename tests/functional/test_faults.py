# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: every operation, disturbed by every kind of fault, at every step; then the same task again.

None is skipped. Its summary is printed at the end of the run (./dev faults).
"""

from __future__ import annotations

from functools import cache
from typing import Callable

import pytest

from support.fake_time import FakeTime
from support.faults import FAULTS, Undisturbed, play, undisturbed
from support.memory_host import MemoryHost
from support.operations import OPERATIONS

Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return FakeTime.install(monkeypatch)


@cache
def whole(operation: str) -> Undisturbed:
    return undisturbed(OPERATIONS[operation])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_disturbed_at_any_step_the_same_task_again_ends_it(operation: str, fault: str, record_property: Record) -> None:
    cases = list(whole(operation).cases(FAULTS[fault]))
    failures = {}
    for case in cases:
        try:
            play(OPERATIONS[operation], FAULTS[fault], case, whole(operation))
        except Exception as error:  # noqa: BLE001 - the table tells of all of them
            failures[str(case)] = f"{type(error).__name__}: {error}"
    record_property("faults", [operation, fault, whole(operation).steps, len(cases), len(failures)])
    assert failures == {}


def test_no_kind_of_step_is_left_out() -> None:
    """Whatever a host can be told to do is a step of some operation."""
    told = {name for one in OPERATIONS for calls in whole(one).calls.values() for name, is_write in calls if is_write}
    writes = {name for name in dir(MemoryHost) if getattr(getattr(MemoryHost, name), "is_write", False)}
    # A guest is thawed only after a run that was cut off while it was frozen: "snapshot" has that.
    assert writes - told == {"thaw"}
