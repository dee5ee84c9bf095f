# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process killed or failing at any write of any task on snapshots: the same task again ends it, all content stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.memory_calls import Killed
from support.memory_snapshots import content_at
from support.snapshots import audit, fill, make_web, reads, run, snap, the_domain, vm
from support.worlds import World


@dataclass(frozen=True)
class Case:
    """A task on a VM that has s1 (A) with the branches s2 (B) and s3 (D, current), and reads E."""

    name: str
    state: str
    reads: str = "E"
    running: bool = False
    options: tuple[tuple[str, Any], ...] = ()


CASES = {
    f"{what}, {'running' if running else 'stopped'}": Case(name, state, text, running)
    for running in (False, True)
    for what, name, state, text in (
        ("take", "s4", "present", "E"),
        ("delete the branching one", "s1", "absent", "E"),
        ("delete a leaf beside", "s2", "absent", "E"),
        ("delete the current one", "s3", "absent", "E"),
    )
}
CASES["restore the root"] = Case("s1", "reverted", "A")
CASES["restore a branch"] = Case("s2", "reverted", "B")
CASES["restore the current one"] = Case("s3", "reverted", "D")
CONTENT = {"s1": "A", "s2": "B", "s3": "D", "s4": "E"}


def prepared(case: Case) -> World:
    world = make_web(start=False)
    for name, text in (("s1", "A"), ("s2", "B")):
        fill(world, text)
        run(world.controller(), name)
    run(world.controller(), "s1", "reverted")
    fill(world, "D")
    run(world.controller(), "s3")
    fill(world, "E")
    if case.running:
        vm(world, name="web1", state="started")
    return world


def in_the_end(world: World, case: Case) -> None:
    audit(world)
    assert reads(world) == {case.reads}
    kept = the_domain(world).kept
    assert [row.facts.name for row in kept] == [
        name
        for name in CONTENT
        if (name != case.name or case.state != "absent") and (name != "s4" or case.name == "s4")
    ]
    for row in kept:
        read = {content_at(world.state, path).decode() for _target, path in row.facts.images}
        assert read == {CONTENT[row.facts.name]}, f"snapshot {row.facts.name} has changed"
    again = world.controller()
    assert not run(again, case.name, case.state).changed
    assert again.writes == []


def writes_of(case: Case) -> int:
    world = prepared(case)
    controller = world.controller()
    run(controller, case.name, case.state)
    in_the_end(world, case)
    return len(controller.writes)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_the_same_task_again_ends_it(name: str, when: str) -> None:
    case = CASES[name]
    for position in range(1, writes_of(case) + 1):
        world = prepared(case)
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, Killed(), when)
        with pytest.raises(Killed):
            run(controller, case.name, case.state)
        assert reads(world) == {case.reads} or reads(world) == {"E"}, "a disk is of another moment than the others"
        run(world.controller(), case.name, case.state)
        in_the_end(world, case)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_failing_at_any_write_the_same_task_again_ends_it(name: str, when: str) -> None:
    case = CASES[name]
    for position in range(1, writes_of(case) + 1):
        world = prepared(case)
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, AblestackError(Code.INTERNAL, "injected"), when)
        with pytest.raises(AblestackError, match="injected"):
            run(controller, case.name, case.state)
        audit_after_failure(world)
        run(world.controller(), case.name, case.state)
        in_the_end(world, case)


def audit_after_failure(world: World) -> None:
    """A failed task cleans up behind itself: no mark, no frozen guest, no image that nobody needs."""
    domain = the_domain(world)
    assert not domain.guest.frozen
    record = domain.config.record
    assert record is not None
    assert record.mark.owner is None
    assert set(record.snapshots) == {row.facts.name for row in domain.kept}


@pytest.mark.parametrize("position", range(1, 30))
def test_an_expunge_killed_anywhere_leaves_the_kept_disk_whole_in_the_end(position: int) -> None:
    world = prepared(CASES["take, stopped"])
    task = {"name": "web1", "state": "expunged", "delete_data_disks": ("drop",)}
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(position, Killed())
    try:
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm

        with controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(wait="none", **task))
    except Killed:
        vm(world, **task)
    left = sorted(name for name in world.pool.volumes if not name.startswith("tmpl-"))
    assert left == ["vol-keep.qcow2"]
    assert content_at(world.state, f"{world.pool.path}/vol-keep.qcow2") == b"E"


def test_a_failed_freeze_leaves_nothing_behind() -> None:
    world = make_web()
    guest = the_domain(world).guest
    controller = world.controller()
    controller.hosts["kvm01"].act_at("take_snapshot", lambda: setattr(guest, "agent", "hung"))
    with pytest.raises(AblestackError) as error:
        run(controller, "s1", quiesce="true")
    assert error.value.code is Code.AGENT_UNAVAILABLE
    audit(world)
    guest.agent = "present"
    snap(world, "s1")
