"""Templates made or removed by two at once, or cut off over what was half made before (all else: test_faults.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import encode_claim
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import template_claim, tombstone
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import current_owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template_lookup import find_template
from support.memory_calls import Killed
from support.memory_state import MemoryVolume
from support.templates import IMAGE, OTHER, contents, put_vm, run
from support.worlds import World, make_world, put_template

VM_ID = "11111111-2222-4333-8444-555555555555"
OPTIONS: dict[str, dict[str, Any]] = {
    "make": {"display_text": "new words"},
    "repair": {},
    "describe": {"display_text": "new words"},
    "replace": {"forced": True},
    "remove": {"state": "absent"},
    "clear": {"state": "absent"},
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


def prepared(task: str, image: Path) -> tuple[World, dict[str, Any]]:
    """A world in which the task has something to do, and its options."""
    world = make_world(template=False)
    image.write_bytes(IMAGE)
    if task in ("repair", "clear"):
        world.pool.volumes["tmpl-t.qcow2"] = MemoryVolume(IMAGE[:100])
    elif task != "make":
        put_template(world.pool, "t", OTHER if task == "replace" else IMAGE)
    options = {"name": "t", **OPTIONS[task]}
    return world, options if options.get("state") == "absent" else {**options, "src": str(image)}


def is_as_wanted(world: World, task: str) -> bool:
    found = contents(world)["kvm01"]
    if task in ("remove", "clear"):
        return found == {}
    return set(found) == {"default/tmpl-t.qcow2", "default/tmpl-t.json"} and found["default/tmpl-t.qcow2"] == IMAGE


def never_half(world: World) -> None:
    """Whatever happened: a template that is Ready holds all that it says it holds."""
    copy = find_template(world.controller().hosts["kvm01"], "t")
    if copy.ready:
        assert world.pool.volumes["tmpl-t.qcow2"].content in (IMAGE, OTHER)


FAULTS: dict[str, Callable[[], BaseException]] = {
    "killed": Killed,
    "error": lambda: AblestackError(Code.HOST_UNAVAILABLE, "the connection is broken"),
}


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("task", ["repair", "clear"])
def test_the_same_task_again_finishes_what_was_cut_off_at_any_write(
    task: str, fault: str, when: str, tmp_path: Path
) -> None:
    world, options = prepared(task, tmp_path / "image")
    writes = len(run(world, **options).controller.writes)
    assert is_as_wanted(world, task)
    assert writes
    cut_off = 0
    for number in range(1, writes + 1):
        world, options = prepared(task, tmp_path / "image")
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(number, FAULTS[fault](), when)
        try:
            cut_off += run(world, controller=controller, **options).error is not None
        except Killed:
            cut_off += 1
        never_half(world)
        again = run(world, **options)
        assert again.error is None, f"write {number}: {again.error}"
        assert is_as_wanted(world, task), f"write {number}: {list(world.pool.volumes)}"
        third = run(world, **options)
        assert (third.changed, third.controller.writes) == (False, []), f"write {number}"
    # only uploads can be cut off half way
    assert cut_off == (writes if when != "during" else sum(name == "upload" for name in again_names(task, tmp_path)))


def again_names(task: str, tmp_path: Path) -> list[str]:
    world, options = prepared(task, tmp_path / "image")
    return run(world, **options).controller.writes


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (1, "before"),
        (2, "before"),
        (2, "during"),
        (2, "after"),
        (3, "before"),
        (3, "after"),
        (4, "before"),
        (4, "during"),
        (4, "after"),
        (5, "before"),
    ],
)
def test_a_failure_leaves_nothing_behind(number: int, when: str, tmp_path: Path) -> None:
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(number, AblestackError(Code.INTERNAL, "no luck"), when)
    assert run(world, controller=controller, **options).code == "Internal"
    assert contents(world)["kvm01"] == {}


# Two at once


def test_a_template_that_somebody_else_finishes_first_is_taken_as_it_is(tmp_path: Path) -> None:
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()
    controller.hosts["kvm01"].act_at(1, lambda: run(world, **options).changed)
    done = run(world, controller=controller, **options)
    assert done.template["state"] == "Ready"
    assert done.controller.writes == ["create_volume"]
    assert is_as_wanted(world, "make")


def test_another_image_that_somebody_else_finishes_first_is_a_conflict(tmp_path: Path) -> None:
    world, options = prepared("make", tmp_path / "image")
    other = tmp_path / "other"
    other.write_bytes(OTHER)
    controller = world.controller()
    controller.hosts["kvm01"].act_at(1, lambda: run(world, name="t", src=str(other)).changed)
    assert run(world, controller=controller, **options).code == "Conflict"
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == OTHER


def test_a_living_process_is_not_disturbed(tmp_path: Path) -> None:
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()
    codes = []
    # the upload of the image: this process lives, and stands still as long as the other one is at work
    controller.hosts["kvm01"].act_at("upload", lambda: codes.append(run(world, **options).code), when="during", nth=2)
    assert run(world, controller=controller, **options).changed
    assert codes == ["Conflict"]
    assert is_as_wanted(world, "make")


@pytest.mark.parametrize("nth", [1, 2])
def test_a_process_that_was_taken_for_dead_does_no_harm(
    nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()

    def from_another_machine() -> None:
        """It cannot see the process, sees no progress, and so takes over."""
        elsewhere = replace(current_owner(), machine="another")
        with monkeypatch.context() as patch:
            patch.setattr(template_claim, "current_owner", lambda: elsewhere)
            assert run(world, **options).changed

    controller.hosts["kvm01"].act_at("upload", from_another_machine, when="during", nth=nth)
    first = run(world, controller=controller, **options)
    never_half(world)
    assert first.error is None or first.code in ("Conflict", "NotFound")
    assert run(world, **options).error is None
    assert is_as_wanted(world, "make")


def test_signs_of_life_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine copies slowly; it is waited for until it is done, however long that takes."""
    world, options = prepared("make", tmp_path / "image")
    finished = make_world(template=False)
    run(finished, **options)
    elsewhere = Mark(Phase.DEPLOYING, "2026-01-01T00:00:00Z", owner=replace(current_owner(), machine="another"))
    world.pool.volumes["tmpl-t.json"] = MemoryVolume(encode_claim(elsewhere))
    pauses = 0

    def pass_time(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses % 20 == 0:
            world.pool.volumes["tmpl-t.json"].content = encode_claim(elsewhere, pauses)
        if pauses == 200:
            world.pool.volumes.update(finished.pool.volumes)

    monkeypatch.setattr("time.sleep", pass_time)
    done = run(world, **options)
    assert done.template["state"] == "Ready"
    assert pauses == 200
    assert "upload" not in done.controller.writes


def test_a_volume_that_libvirt_is_still_making_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has just begun; a moment later the claim is written, and then the template complete."""
    world, options = prepared("make", tmp_path / "image")
    finished = make_world(template=False)
    run(finished, **options)
    world.pool.volumes["tmpl-t.json"] = MemoryVolume(bytes(4096), building=True)
    pauses = iter([{"building": True}, {"building": False}, {"content": b"{"}])

    def pass_time(_seconds: float) -> None:
        step = next(pauses, None)
        if step is None:
            world.pool.volumes.update(finished.pool.volumes)
        for name, value in (step or {}).items():
            setattr(world.pool.volumes["tmpl-t.json"], name, value)

    monkeypatch.setattr("time.sleep", pass_time)
    done = run(world, **options)
    assert done.template["state"] == "Ready"
    assert "upload" not in done.controller.writes


def test_a_process_gives_signs_of_life_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_claim, "BEAT", 0.001)
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()
    seen = set()

    def wait_for_beats() -> None:
        end = monotonic() + 20
        while len(seen) < 3 and monotonic() < end:
            seen.add(world.pool.volumes["tmpl-t.json"].content)

    controller.hosts["kvm01"].act_at("create_volume", wait_for_beats, nth=2)
    assert run(world, controller=controller, **options).changed
    assert len(seen) >= 3
    assert is_as_wanted(world, "make")
    assert not run(world, **options).changed


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
def test_one_that_removes_it_and_is_taken_for_dead_does_no_harm(
    nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one took the first one for dead, and deleted its claim."""
    world, options = prepared("remove", tmp_path / "image")
    controller = world.controller()

    def take_over() -> None:
        world.pool.volumes.pop("tmpl-t.json", None)
        with monkeypatch.context() as patch:
            for module in (template_claim, tombstone):
                patch.setattr(module, "_active", set())
            assert run(world, **options).error is None

    controller.hosts["kvm01"].act_at(nth, take_over)
    first = run(world, controller=controller, **options)
    assert first.error is None or first.code == "Conflict"
    assert run(world, **options).error is None
    assert contents(world)["kvm01"] == {}


def test_a_vm_deployed_in_the_last_moment_saves_its_template(tmp_path: Path) -> None:
    world, options = prepared("remove", tmp_path / "image")
    before = find_template(world.controller().hosts["kvm01"], "t")
    controller = world.controller()
    host = controller.hosts["kvm01"]
    host.act_at(1, lambda: put_vm(world.controller().hosts["kvm01"], "web", VM_ID, template="t"), when="after")
    refused = run(world, controller=controller, **options)
    assert refused.code == "InUse"
    assert find_template(world.controller().hosts["kvm01"], "t") == before
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == IMAGE


def test_a_file_that_changes_while_it_is_read_makes_no_template(tmp_path: Path) -> None:
    world, options = prepared("make", tmp_path / "image")
    controller = world.controller()
    controller.hosts["kvm01"].act_at(
        "upload", lambda: (tmp_path / "image").write_bytes(IMAGE + b"more"), when="during", nth=2
    )
    assert run(world, controller=controller, **options).code == "Conflict"
    assert contents(world)["kvm01"] == {}
