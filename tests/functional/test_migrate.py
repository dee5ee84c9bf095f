# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations on hosts in memory: what is predicted comes true, twice is once, and what stands in the way is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Reservation
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import time_text
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    Hold,
    Mark,
    Owner,
    Phase,
    Power,
    VmConfig,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.migrate import At, DropCopy
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import holding
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.moving import execute_at, is_same_file
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import VmFilter, list_vms
from support.memory_state import MemoryDomain, MemoryVolume
from support.migrations import (
    audit_settled,
    deploy,
    disabled,
    migrate,
    rows,
    site,
    vm,
    without_host,
)
from support.worlds import World, put_template

TO_SECOND = {"host": "kvm02"}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "live": ({}, TO_SECOND, True),
    "live with storage": ({"shared": False}, {**TO_SECOND, "copy_storage": True}, True),
    "off": ({"start": False}, TO_SECOND, False),
    "off with storage": ({"shared": False, "start": False}, {**TO_SECOND, "copy_storage": True}, False),
    "stopped for it": ({}, {**TO_SECOND, "live": False}, True),
}


def refusal(world: World, **options: Any) -> AblestackError:
    """What a migration is refused with, having changed nothing."""
    controller = world.controller()
    with pytest.raises(AblestackError) as refused:
        migrate(controller, **{**TO_SECOND, **options})
    assert controller.writes == []
    return refused.value


def test_a_vm_that_somebody_works_on_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_PATIENCE", 0.0)
    world = site()
    now = time_text(datetime.now(timezone.utc))
    rows(world)["kvm01"].holds["aa"] = Hold(Owner("another", 1, 2, "aa"), now)
    with pytest.raises(AblestackError, match="another controller is working on VM 'web1'") as refused:
        migrate(world.controller(), **TO_SECOND)
    assert refused.value.code is Code.CONFLICT
    rows(world)["kvm01"].holds.clear()
    audit_settled(world, "kvm01", True)


@pytest.mark.parametrize("way", WAYS)
def test_check_mode_predicts_the_run_and_a_second_run_changes_nothing(way: str) -> None:
    options, task, running = WAYS[way]
    world = site(**options)
    before = vm(world.controller(), name="web1").result["vm"]
    predicted = migrate(world.controller(check=True), **task)
    done = migrate(world.controller(), **task)
    assert (predicted.changed, predicted.before, predicted.after) == (done.changed, done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    assert done.result["changes"][0]["before"] == "kvm01"
    assert (predicted.before["host"], done.after["host"]) == ("kvm01", "kvm02")
    audit_settled(world, "kvm02", running)
    now = vm(world.controller(), name="web1").result["vm"]
    assert {**without_host(now), "nics": []} == {**without_host(before), "nics": []}
    assert [nic["mac"] for nic in now["nics"]] == [nic["mac"] for nic in before["nics"]]
    again = world.controller()
    assert migrate(again, **task).changed is False
    assert again.writes == []


def test_a_running_guest_is_not_rebooted_and_one_that_is_stopped_for_it_is() -> None:
    world = site()
    migrate(world.controller(), host="kvm02")
    assert rows(world)["kvm02"].guest.boots == 1
    moved = migrate(world.controller(), host="kvm01", live=False)
    assert rows(world)["kvm01"].guest.boots == 2
    assert [change["impact"] for change in moved.result["changes"]] == ["restart"]


def test_it_goes_there_and_back() -> None:
    world = site(shared=False)
    for host in ("kvm02", "kvm01", "kvm02"):
        migrate(world.controller(), host=host, copy_storage=True)
        audit_settled(world, host, running=True)


def test_without_a_host_it_leaves_only_one_that_is_to_be_emptied() -> None:
    world = site(hosts=3)
    assert migrate(world.controller()).changed is False
    emptied = disabled(world, "kvm01")
    moved = migrate(emptied.controller())
    placement = moved.result["placement"]
    assert placement["host"] == "kvm02"
    assert [row["host"] for row in placement["rejected"]] == ["kvm01", "kvm03"]
    assert migrate(emptied.controller()).changed is False


def test_affinity_groups_and_capacity_hold_for_a_move() -> None:
    world = site(hosts=3, affinity_groups=("apart",))
    deploy(world, name="web2", host="kvm02", affinity_groups=("apart",), data_disks=(), networks=(NicSpec("default"),))
    error = refusal(world)
    assert error.code is Code.AFFINITY_CONFLICT
    world.states["kvm02"].facts = {**world.states["kvm02"].facts, "memory": 600}
    crowded = site()
    crowded.states["kvm02"].facts = {**crowded.states["kvm02"].facts, "memory": 600}
    assert refusal(crowded).code is Code.INSUFFICIENT_CAPACITY


@pytest.mark.parametrize("host", ["kvm02", ""])
def test_a_group_that_has_left_the_catalog_holds_nothing_back(host: str) -> None:
    world = site(affinity_groups=("apart",))
    groups = {name: group for name, group in world.catalog.affinity_groups.items() if name != "apart"}
    world.catalog = replace(disabled(world, "kvm01").catalog, affinity_groups=groups)
    assert migrate(world.controller(), host=host).result["vm"]["host"] == "kvm02"


def test_a_host_in_maintenance_takes_nothing() -> None:
    error = refusal(disabled(site(), "kvm02"))
    assert error.code is Code.INVALID_STATE
    assert "in maintenance" in error.message


def test_what_stands_in_the_way_is_told_before_anything_is_done() -> None:
    def lacks(world: World) -> None:
        world.states["kvm02"].lacks = "the processor has no feature amx"

    def no_network(world: World) -> None:
        del world.states["kvm02"].networks["lan"]

    def other_range(world: World) -> None:
        network = world.states["kvm02"].networks["lan"]
        network.facts = replace(network.facts, cidr="10.77.0.0/24")

    def taken(world: World) -> None:
        network = world.states["kvm02"].networks["lan"]
        network.facts = replace(network.facts, reservations=(Reservation("52:54:00:00:00:99", "10.10.10.50"),))

    def no_firmware(world: World) -> None:
        world.states["kvm02"].facts = {**world.states["kvm02"].facts, "firmware": ()}

    def snapshot(world: World) -> None:
        rows(world)["kvm01"].snapshots = ("before",)

    def paused(world: World) -> None:
        rows(world)["kvm01"].power = Power.PAUSED

    cases = {
        lacks: (Code.UNSUPPORTED, "has no feature amx"),
        no_network: (Code.NOT_FOUND, "network 'lan'"),
        other_range: (Code.INVALID_STATE, "10.77.0.0/24"),
        taken: (Code.IN_USE, "10.10.10.50"),
        no_firmware: (Code.UNSUPPORTED, "firmware"),
        snapshot: (Code.SNAPSHOTS_EXIST, "not moved"),
        paused: (Code.INVALID_STATE, "paused"),
    }
    for spoil, (code, words) in cases.items():
        world = site()
        spoil(world)
        error = refusal(world)
        assert (error.code, words in error.message) == (code, True), error


def test_a_processor_that_lacks_something_is_no_matter_for_one_that_is_off() -> None:
    world = site()
    world.states["kvm02"].lacks = "the processor has no feature amx"
    migrate(world.controller(), host="kvm02", live=False)
    audit_settled(world, "kvm02", running=True)


def test_storage_is_copied_only_when_asked_and_only_to_where_it_fits() -> None:
    assert "copy_storage: true" in refusal(site(shared=False)).hint

    world = site(shared=False)
    world.states["kvm02"].pools["default"].path = "/elsewhere"
    assert refusal(world, copy_storage=True).code in (Code.UNSUPPORTED, Code.NOT_FOUND)

    world = site(shared=False)
    world.states["kvm02"].pools["default"].volumes["vol-data.qcow2"] = MemoryVolume(b"somebody's")
    assert refusal(world, copy_storage=True).code is Code.IN_USE
    assert world.states["kvm02"].pools["default"].volumes["vol-data.qcow2"].content == b"somebody's"

    world = site(shared=False)
    world.states["kvm02"].pools["default"].volumes["full"] = MemoryVolume(
        reserved=world.states["kvm02"].pools["default"].available
    )
    assert refusal(world, copy_storage=True).code is Code.INSUFFICIENT_CAPACITY


def test_a_linked_clone_needs_the_same_template_there() -> None:
    world = site(shared=False)
    pool = world.states["kvm02"].pools["default"]
    put_template(pool, content=pool.volumes["tmpl-tiny.qcow2"].content + b"another")
    assert refusal(world, copy_storage=True).code is Code.CHECKSUM_MISMATCH
    for name in [name for name in pool.volumes if name.startswith("tmpl-")]:
        del pool.volumes[name]
    assert refusal(world, copy_storage=True).code is Code.NOT_FOUND


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_nobody_knows_holds_it_back(way: str) -> None:
    options, task, _runs = WAYS[way]
    world = site(**options)
    domain = rows(world)["kvm01"]
    domain.config = replace(domain.config, disks=(*domain.config.disks, DiskConfig("vdz", "/elsewhere/theirs.qcow2")))
    error = refusal(world, **task)
    assert error.code is Code.UNSUPPORTED
    assert "disk vdz" in error.message


def test_what_is_not_ours_stays() -> None:
    world = site()
    foreign = VmConfig("99999999-0000-4000-8000-000000000000", "theirs", None, 1, 256, 1, 256)
    world.state.domains[foreign.id] = MemoryDomain(foreign)
    assert refusal(world, name="theirs").code is Code.NOT_MANAGED
    assert refusal(world, name="nobody").code is Code.NOT_FOUND


def test_a_host_that_is_down_is_no_target_and_an_unknown_one_neither() -> None:
    world = site()
    world.down.add("kvm02")
    assert refusal(world).code is Code.HOST_UNAVAILABLE
    assert refusal(site(), host="kvm09").code is Code.NOT_FOUND


def test_a_move_that_the_daemons_go_on_with_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = site()
    mark(world, Mark(Phase.MIGRATING, "2026-01-01T00:00:00Z", source="kvm01", target="kvm02"))
    (domain,) = rows(world).values()
    domain.moves_for = 3
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    migrate(world.controller(), host="kvm02")
    assert len(naps) == 3
    audit_settled(world, "kvm02", running=True)


def mark(world: World, value: Mark) -> None:
    """Leaves that mark in the VM."""
    for domain in rows(world).values():
        record = domain.config.record
        assert record
        domain.config = replace(domain.config, record=replace(record, mark=value))
        domain.live = replace(domain.live, record=domain.config.record) if domain.live else None


def test_a_guest_that_a_lost_move_left_paused_goes_on() -> None:
    for host in ("kvm01", "kvm02"):
        world = site()
        mark(world, Mark(Phase.MIGRATING, "2026-01-01T00:00:00Z", source="kvm01", target="kvm02"))
        rows(world)["kvm01"].power = Power.PAUSED
        migrate(world.controller(), host=host)
        assert rows(world)[host].power is Power.RUNNING
        audit_settled(world, host, running=True)


def test_a_guest_that_was_cut_off_in_the_midst_of_its_start_goes_on() -> None:
    world = site()
    mark(world, Mark(Phase.STARTING, "2026-01-01T00:00:00Z"))
    rows(world)["kvm01"].power = Power.PAUSED
    assert migrate(world.controller(), host="kvm01").changed
    assert rows(world)["kvm01"].power is Power.RUNNING
    audit_settled(world, "kvm01", running=True)


def test_a_guest_that_is_to_start_and_goes_down_still_owes_its_start_where_there_is_no_move() -> None:
    world = site()
    left = Mark(Phase.STARTING, "2026-01-01T00:00:00Z")
    mark(world, left)
    rows(world)["kvm01"].power = Power.SHUTDOWN
    assert migrate(world.controller(), host="kvm01").changed is False
    record = rows(world)["kvm01"].config.record
    assert record
    assert record.mark == left


@pytest.mark.parametrize("phase", [Phase.DEPLOYING, Phase.RESTARTING, Phase.REINSTALLING])
def test_what_another_task_left_half_done_stays_so_where_there_is_no_move(phase: Phase) -> None:
    """It owes a start, or disks, which only that task knows; a move of it is refused."""
    world = site()
    left = Mark(phase, "2026-01-01T00:00:00Z", runs=True)
    mark(world, left)
    rows(world)["kvm01"].live, rows(world)["kvm01"].power = None, Power.OFF
    assert migrate(world.controller(), host="kvm01").changed is False
    record = rows(world)["kvm01"].config.record
    assert record
    assert record.mark == left


def test_a_volume_is_deleted_only_where_the_other_host_has_a_file_of_its_own() -> None:
    def drop(world: World) -> None:
        with world.controller().infrastructure as infrastructure:
            execute_at(infrastructure, [At("kvm01", DropCopy("kvm02", "default", "vol-data.qcow2"))])

    shared = site()
    drop(shared)
    assert "vol-data.qcow2" in shared.pool.volumes
    apart = site(shared=False)
    with pytest.raises(AblestackError, match=r"has no volume 'vol-data\.qcow2'"):
        drop(apart)
    assert "vol-data.qcow2" in apart.pool.volumes
    apart.states["kvm02"].pools["default"].volumes["vol-data.qcow2"] = MemoryVolume(b"the one that counts")
    drop(apart)
    assert "vol-data.qcow2" not in apart.pool.volumes


def test_a_file_that_changes_all_the_time_is_not_guessed_about() -> None:
    world = site()
    (spec, *_others) = world.catalog.hosts
    controller = world.controller()
    volume = world.pool.volumes["vol-data.qcow2"]
    other = replace(volume, changed="another")
    world.states["kvm02"].pools["default"] = replace(
        world.pool, volumes={**world.pool.volumes, "vol-data.qcow2": other}
    )

    def written() -> None:
        volume.changed += "."

    here = controller.hosts[spec.name]
    for nth in range(1, 12):
        here.act_at("fresh_volume", written, "after", nth)
    with pytest.raises(AblestackError, match="written to all the time"):
        is_same_file(here, controller.hosts["kvm02"], "default", "vol-data.qcow2")


def test_while_it_is_on_its_way_it_is_one_vm_and_takes_no_other_task() -> None:
    world = site()
    mark(world, Mark(Phase.MIGRATING, "2026-01-01T00:00:00Z", source="kvm01", target="kvm02"))
    (domain,) = rows(world).values()
    world.states["kvm02"].domains[domain.config.id] = replace(domain, power=Power.PAUSED, autostart=False)
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        listed = list_vms(infrastructure, VmFilter()).result["vms"]
    assert [(row["name"], row["host"], row["state"]) for row in listed] == [("web1", "kvm01", "Migrating")]
    for state in ("present", "started", "stopped", "destroyed", "expunged"):
        controller = world.controller()
        with pytest.raises(AblestackError, match="is being migrated to host 'kvm02'"):
            vm(controller, name="web1", state=state)
        assert controller.writes == []
    migrate(world.controller(), host="kvm02")
    audit_settled(world, "kvm02", running=True)


def test_a_vm_that_is_off_is_started_on_the_host_that_is_named() -> None:
    world = site(start=False)
    predicted = vm(world.controller(check=True), name="web1", state="started", host="kvm02", compute_offering="medium")
    done = vm(world.controller(), name="web1", state="started", host="kvm02", compute_offering="medium")
    assert (predicted.changed, predicted.before, predicted.after) == (True, done.before, done.after)
    assert {change["path"] for change in done.result["changes"]} >= {"cpu", "host", "state"}
    audit_settled(world, "kvm02", running=True)
    again = world.controller()
    assert vm(again, name="web1", state="started", host="kvm02").changed is False
    assert again.writes == []


@pytest.mark.parametrize("shared", [True, False])
def test_what_cannot_be_started_elsewhere_is_not_changed_before(shared: bool) -> None:
    world = site(shared=shared, start=False)
    if shared:
        rows(world)["kvm01"].snapshots = ("before",)
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError, match="not moved" if shared else "not storage that it shares"):
            vm(controller, name="web1", state="started", host="kvm02", group="other")
        assert controller.writes == []


def test_it_is_not_started_elsewhere_without_its_disks_nor_moved_while_it_runs() -> None:
    world = site(shared=False, start=False)
    controller = world.controller()
    with pytest.raises(AblestackError, match="not storage that it shares") as refused:
        vm(controller, name="web1", state="started", host="kvm02")
    assert "copy_storage" in refused.value.hint
    assert controller.writes == []
    with pytest.raises(AblestackError, match="is on host 'kvm01', not on 'kvm02'"):
        vm(site().controller(), name="web1", state="started", host="kvm02")
