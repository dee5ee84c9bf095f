# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: every operation, disturbed by every kind of fault, at every step; then the same task again.

None is skipped. Its summary is printed at the end of the run (./dev faults).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from support.fake_time import FakeTime
from support.faults import FAULTS, Undisturbed, play, undisturbed
from support.memory_calls import Killed
from support.memory_host import MemoryHost
from support.operations import OPERATIONS, prepared_site
from support.site_audit import essence
from support.tasks import template

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


@pytest.mark.parametrize("fault", ["call raises", "process killed", "connection drops", "daemon restarts", "power cut"])
def test_an_extracted_template_is_whole_or_not_there(fault: str, tmp_path: Path, record_property: Record) -> None:
    """It writes nothing on a host, but a file here; so it is disturbed at what it reads. No call needs room there."""
    calm = prepared_site(1, ()).controller()
    template("tiny", state="extracted", dest=str(tmp_path / "calm")).run(calm)
    wanted = (tmp_path / "calm").read_bytes()
    calls = [name for name, _args in calm.hosts["kvm01"].calls]
    steps = [(name, calls[:at].count(name) + 1) for at, name in enumerate(calls)]
    for number, (name, nth) in enumerate(steps):
        for when in ("before", "after"):
            world, folder = prepared_site(1, ()), tmp_path / f"{number} {when}"
            folder.mkdir()
            dest = folder / "image.qcow2"
            dest.write_bytes(b"what was there")
            task = template("tiny", state="extracted", dest=str(dest))
            controller = world.controller()
            host = controller.hosts["kvm01"]
            host.act_at(name, lambda host=host: FAULTS[fault].strike(host), when, nth=nth)
            failed = False
            try:
                task.run(controller)
            except (AblestackError, Killed):
                failed = True
            assert host.traps[0].when == "sprung"
            # it can do without a listing of what runs, and asks one by one
            assert failed or (fault, name) == ("call raises", "glance")
            assert dest.read_bytes() == (b"what was there" if failed else wanted), (name, when)
            before = essence(world)
            assert task.run(world.controller()).changed is failed
            assert (dest.read_bytes(), [*folder.iterdir()]) == (wanted, [dest])
            assert not task.run(world.controller()).changed
            assert essence(world) == before
    record_property("faults", ["extract a template", fault, len(steps), 2 * len(steps), 0])


def test_no_kind_of_step_is_left_out() -> None:
    """Whatever a host can be told to do is a step of some operation."""
    told = {name for one in OPERATIONS for calls in whole(one).calls.values() for name, is_write in calls if is_write}
    writes = {name for name in dir(MemoryHost) if getattr(getattr(MemoryHost, name), "is_write", False)}
    # A guest is thawed only after a run that was cut off while it was frozen: "snapshot" has that.
    assert writes - told == {"thaw"}
