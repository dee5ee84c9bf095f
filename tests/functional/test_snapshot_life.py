# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots over hosts in memory: every task checked, run and run again, and what the disks read afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import UNKNOWN
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot_query import list_snapshots
from support.memory_calls import Killed
from support.snapshots import WEB, audit, fill, make_web, paths, reads, run, snap, the_domain, vm
from support.worlds import World, put_template


def refused(world: World, name: str = "", state: str = "present", **options: Any) -> AblestackError:
    """The error of a task that must be refused, with nothing written."""
    controller = world.controller()
    with pytest.raises(AblestackError) as error:
        run(controller, name, state, **options)
    assert controller.writes == []
    return error.value


def restored(world: World, name: str) -> set[str]:
    """What the disks read after a restore, of a VM that is stopped for it and started again afterwards."""
    running = the_domain(world).active
    if running:
        vm(world, name="web1", state="stopped")
    snap(world, name, "reverted")
    if running:
        vm(world, name="web1", state="started")
    return reads(world)


@pytest.mark.parametrize("running", [True, False])
def test_a_tree_with_a_branch_restores_each_snapshot_whatever_is_deleted(running: bool) -> None:
    world = make_web(start=running)
    fill(world, "A")
    snap(world, "s1")
    fill(world, "B")
    snap(world, "s2")
    fill(world, "C")
    assert restored(world, "s1") == {"A"}
    assert restored(world, "s2") == {"B"}
    assert restored(world, "s1") == {"A"}
    fill(world, "D")
    done = snap(world, "s3")
    assert [(row["name"], row["parent"], row["current"]) for row in done.result["snapshots"]] == [
        ("s1", "", False),
        ("s2", "s1", False),
        ("s3", "s1", True),
    ]
    fill(world, "E")
    snap(world, "s1", "absent")
    assert reads(world) == {"E"}
    assert restored(world, "s2") == {"B"}
    assert restored(world, "s3") == {"D"}
    fill(world, "F")
    snap(world, "s2", "absent")
    assert restored(world, "s3") == {"D"}
    snap(world, "s3", "absent")
    assert reads(world) == {"D"}


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("order", [("s1", "s2", "s3"), ("s3", "s2", "s1"), ("s2", "s1", "s3"), ("s2", "s3", "s1")])
def test_a_line_of_snapshots_is_merged_in_any_order(running: bool, order: tuple[str, ...]) -> None:
    world = make_web(start=running)
    for text in ("1", "2", "3"):
        fill(world, text)
        snap(world, f"s{text}")
    fill(world, "4")
    left = {"s1", "s2", "s3"}
    for name in order:
        snap(world, name, "absent")
        left.discard(name)
        assert reads(world) == {"4"}
    assert the_domain(world).config.record.snapshots == ()  # type: ignore[union-attr]


def test_a_guest_is_frozen_where_its_agent_can_and_never_left_so() -> None:
    world = make_web()
    guest = the_domain(world).guest
    assert snap(world, "s1").result["snapshot"]["quiesced"] is True
    assert guest.freezes == 1
    assert snap(world, "s2", quiesce="false").result["snapshot"]["quiesced"] is False
    for number, version in enumerate(("1.5.3", "1.\u00b2", "\u0661")):  # a guest says what it likes
        guest.agent_version = version
        assert snap(world, f"s3-{number}").result["snapshot"]["quiesced"] is False
    assert refused(world, "s4", quiesce="true").code is Code.AGENT_UNAVAILABLE
    guest.agent = "hung"
    assert refused(world, "s4", quiesce="true").code is Code.AGENT_UNAVAILABLE
    assert snap(world, "s4").result["snapshot"]["quiesced"] is False
    assert guest.freezes == 1
    guest.agent, guest.agent_version, guest.frozen = "present", "8.0", True
    thawed = world.controller()
    assert run(thawed, "s4").changed
    assert "thaw" in thawed.writes
    assert not guest.frozen
    vm(world, name="web1", state="stopped")
    assert snap(world, "s5", quiesce="true").result["snapshot"]["quiesced"] is False


def test_a_slow_agent_has_the_time_to_say_that_it_can_freeze() -> None:
    """A guest under load would else be kept as after a power cut, and `auto` would not say why."""
    world = make_web()
    guest = the_domain(world).guest
    guest.agent = "slow"
    assert snap(world, "s1").result["snapshot"]["quiesced"] is True
    assert snap(world, "s2", quiesce="true").result["snapshot"]["quiesced"] is True
    assert guest.freezes == 2


def test_a_restore_brings_processors_memory_and_offering_back() -> None:
    world = make_web(start=False)
    snap(world, "small")
    vm(world, name="web1", compute_offering="medium")
    done = snap(world, "small", "reverted")
    paths_of = [change["path"] for change in done.result["changes"]]
    assert paths_of == ["cpu", "memory", "compute_offering", "dynamic_scaling"]
    found = vm(world, name="web1").result["vm"]
    assert (found["cpu"], found["memory"], found["compute_offering"]) == (1, 512, "small")


def test_memory_comes_back_running_and_kinds_are_not_mixed() -> None:
    world = make_web()
    fill(world, "A")
    snap(world, "m1", memory=True)
    assert refused(world, "s1").code is Code.INVALID_STATE
    fill(world, "B")
    assert refused(world, "m1", "reverted").code is Code.INVALID_STATE
    vm(world, name="web1", state="stopped")
    assert refused(world, "m2", memory=True).code is Code.INVALID_STATE
    done = snap(world, "m1", "reverted")
    assert done.result["snapshot"]["type"] == "DiskAndMemory"
    assert done.after["state"] == "Running"
    assert reads(world) == {"A"}
    snap(world, "m1", "absent")
    snap(world, "s1")
    assert refused(world, "m1", memory=True).code is Code.INVALID_STATE
    assert refused(world, "s1", memory=True).code is Code.ALREADY_EXISTS


def test_memory_of_a_vm_with_uefi_is_refused_with_the_version_that_is_needed() -> None:
    world = make_web(boot_type="uefi")
    error = refused(world, "m1", memory=True)
    assert error.code is Code.UNSUPPORTED
    assert "10.10" in error.sentence
    snap(world, "s1")


def test_what_is_refused() -> None:
    world = make_web()
    assert refused(world, "s1", "reverted").code is Code.NOT_FOUND
    snap(world, "s1")
    error = refused(world, "s1", "reverted")
    assert error.code is Code.INVALID_STATE
    assert "stop it first" in error.sentence
    assert refused(world, "s1", vm="other").code is Code.NOT_FOUND
    assert refused(world, "s1", "reverted", vm="other").code is Code.NOT_FOUND
    assert not run(world.controller(), "s1", "absent", vm="other").changed
    for number in range(2, 11):
        run(world.controller(), f"s{number}")
    assert refused(world, "s11").code is Code.INVALID_STATE
    assert len(the_domain(world).kept) == 10


@pytest.mark.parametrize("memory", [False, True])
def test_a_disk_in_one_of_the_two_definitions_is_refused(memory: bool) -> None:
    """The guest let go of it after we gave up, or a killed task plugged it in: a snapshot would have it by half."""
    world = make_web()
    domain = the_domain(world)
    stored, running = domain.config, domain.live
    assert running is not None
    domain.live = replace(running, disks=tuple(disk for disk in running.disks if disk.target != "vdb"))
    error = refused(world, "s1", memory=memory)
    assert error.code is Code.INVALID_STATE
    assert "vdb" in error.sentence
    domain.live = replace(running, disks=(*running.disks, DiskConfig("vdx", "/pools/default/vol-new.qcow2")))
    assert "vdx" in refused(world, "s1", memory=memory).sentence
    domain.config, domain.live = stored, running
    snap(world, "s1", memory=memory)
    domain.live = replace(running, disks=running.disks[:1])
    assert refused(world, "s1", "absent").code is Code.INVALID_STATE


def test_a_name_is_generated_and_a_description_can_change() -> None:
    world = make_web()
    done = snap(world, description="first")
    name = done.result["snapshot"]["name"]
    assert name.startswith("snap-")
    changed = snap(world, name, description="second")
    assert [change["path"] for change in changed.result["changes"]] == [f"snapshots[{name}].description"]
    assert changed.result["snapshot"]["description"] == "second"


class _Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> _Noon:
        return cls(2026, 11, 28, 12, 0, 0, tzinfo=tz)


def test_names_of_one_second_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another controller draws its name between our plan and our turn."""
    monkeypatch.setattr(snapshot, "datetime", _Noon)
    world = make_web()
    assert [run(world.controller()).result["snapshot"]["name"] for _turn in range(2)] == [
        "snap-20261128-120000",
        "snap-20261128-120000-2",
    ]
    controller = world.controller()
    controller.hosts["kvm01"].act_at("_ask_agent", lambda: run(world.controller()))
    done = run(controller)
    assert done.changed
    assert done.result["snapshot"]["name"] == "snap-20261128-120000-4"
    assert [row["name"] for row in done.after["snapshots"]][-2:] == ["snap-20261128-120000-3", UNKNOWN]
    audit(world)


def test_memory_comes_back_with_what_was_in_the_drive() -> None:
    world = make_web()
    put_template(world.pool, "rescue", b"\0" * 0x8001 + b"CD001" + b"\0" * 1000, format="iso")
    snap(world, "empty", memory=True)
    vm(world, name="web1", attached_iso="rescue")
    snap(world, "inserted", memory=True)
    for name, other, iso in (("empty", "rescue", ""), ("inserted", "", "rescue")):
        vm(world, name="web1", state="stopped", forced=True)
        changes = snap(world, name, "reverted").result["changes"]
        assert {"path": "attached_iso", "before": other, "after": iso} in [
            {key: change[key] for key in ("path", "before", "after")} for change in changes
        ]
        found = vm(world, name="web1")
        assert not found.changed
        assert found.result["vm"]["iso"] == iso
        path = f"{world.pool.path}/tmpl-rescue.iso" if iso else ""
        drives = [disk.path for disk in the_domain(world).config.disks if disk.kind == "cdrom"]
        assert path in drives
        assert any(drive.endswith("-seed.iso") for drive in drives)


def test_the_tree_as_data_and_as_text() -> None:
    world = make_web(start=False)
    snap(world, "base", description="clean install")
    snap(world, "one")
    snap(world, "base", "reverted")
    snap(world, "two")
    with world.controller().infrastructure as infrastructure:
        found = list_snapshots(infrastructure, vm="WEB1").result
        assert list_snapshots(infrastructure).result["trees"] == found["trees"]
        with pytest.raises(AblestackError) as error:
            list_snapshots(infrastructure, vm="nope")
    assert error.value.code is Code.NOT_FOUND
    (tree,) = found["trees"]
    assert [row["name"] for row in tree["tree"][0]["children"]] == ["one", "two"]
    lines = tree["text"].splitlines()
    assert lines[0] == "web1"
    assert lines[1].startswith("└── base  2026")
    assert lines[1].endswith("clean install")
    assert lines[2].startswith("    ├── one  ")
    assert lines[3].startswith("    └── two *  ")


def test_a_vm_that_cannot_be_read_is_not_said_to_be_missing_and_one_that_goes_hides_no_other() -> None:
    world = make_web(start=False)
    snap(world, "base")
    controller = world.controller()
    host = controller.hosts["kvm01"]
    errors = {"vm": (Code.UNSUPPORTED, "its record is of a newer version")}

    def refusing(verb: str) -> Any:
        real = getattr(host, verb)

        def call(*arguments: Any) -> Any:
            if verb in errors:
                raise AblestackError(*errors[verb])
            return real(*arguments)

        return call

    for verb in ("vm", "snapshot_facts"):
        setattr(host, verb, refusing(verb))
    with controller.infrastructure as infrastructure:
        assert "newer version" in " ".join(list_snapshots(infrastructure).warnings)
        with pytest.raises(AblestackError, match="newer version") as error:
            list_snapshots(infrastructure, vm="web1")
        assert error.value.code is Code.INVALID_STATE
        errors = {"snapshot_facts": (Code.NOT_FOUND, "it is gone")}
        assert list_snapshots(infrastructure).result["trees"] == []
        errors = {}
        assert len(list_snapshots(infrastructure).result["trees"]) == 1


def test_disks_that_are_kept_are_whole_after_an_expunge() -> None:
    world = make_web()
    fill(world, "A")
    snap(world, "s1")
    fill(world, "B")
    snap(world, "s2")
    fill(world, "C")
    assert restored(world, "s1") == {"A"}
    fill(world, "D")
    vm(world, name="web1", state="destroyed", delete_data_disks=("drop",))
    with pytest.raises(AblestackError) as error:
        vm(world, **{**WEB, "name": "web2", "data_disks": (WEB["data_disks"][0],)})
    assert error.value.code in (Code.SNAPSHOTS_EXIST, Code.INSUFFICIENT_CAPACITY)
    vm(world, name="web1", state="expunged")
    left = sorted(name for name in world.pool.volumes if not name.startswith("tmpl-"))
    assert left == ["vol-keep.qcow2"]
    vm(world, **{**WEB, "name": "web2", "data_disks": (WEB["data_disks"][0],)})
    path = paths(world)[1]
    assert path.endswith("vol-keep.qcow2")
    from support.memory_snapshots import content_at

    assert content_at(world.state, path) == b"D"


def test_a_snapshot_that_was_never_taken_keeps_no_disk_from_another_vm() -> None:
    """Its name is in the record of the VM, which was killed just before, and never had another task on snapshots."""
    world = make_web(start=False)
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("take_snapshot", Killed())
    with pytest.raises(Killed):
        run(controller, "s1")
    vm(world, name="web1", state="destroyed")
    assert vm(world, **{**WEB, "name": "web2", "data_disks": (WEB["data_disks"][0],)}).changed


def test_recovered_with_its_snapshots() -> None:
    world = make_web(start=False)
    fill(world, "A")
    snap(world, "s1")
    fill(world, "B")
    vm(world, name="web1", state="destroyed")
    assert not run(world.controller(), "s1", "absent").changed  # of a VM that is gone
    vm(world, name="web1", state="recovered")
    assert restored(world, "s1") == {"A"}


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
