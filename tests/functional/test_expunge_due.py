# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is due, and what is so no more: a VM that is recovered, redeployed or damaged while others are expunged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete, Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Owner, Phase, Power
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import locate, owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.expunge import expunge_due
from support.fake_time import FakeTime
from support.memory_calls import EACH, Killed
from support.tasks import vm
from support.worlds import Controller, World, make_world

ELSEWHERE = Owner("another boot/4026531836", 1, 1, "abcdef123456")


def deploy(world: World, name: str = "web1") -> str:
    task = vm(name, template="tiny", compute_offering="small", networks=["default"])
    return str(task.run(world.controller()).result["vm"]["id"])


def destroyed(world: World, name: str = "web1") -> str:
    vm_id = deploy(world, name)
    vm(name, state="destroyed", expunge_delay=0).run(world.controller())
    return vm_id


def due(controller: Controller, days: int = 1) -> Outcome:
    """What was done, also where a part failed."""
    with controller.infrastructure as infrastructure:
        try:
            return expunge_due(infrastructure, datetime.now(timezone.utc) + timedelta(days=days))
        except Incomplete as failure:
            return failure.outcome


def mark(world: World, vm_id: str, **values: Any) -> None:
    domain = world.state.domains[vm_id]
    record = domain.config.record
    assert record
    domain.config = replace(domain.config, record=replace(record, mark=replace(record.mark, **values)))


def calls_of_an_expunge() -> int:
    world = make_world()
    destroyed(world)
    controller = world.controller()
    assert due(controller).changed
    return len(controller.hosts["kvm01"].calls)


@pytest.mark.parametrize("state", ["recovered", "started"])
def test_a_vm_that_is_recovered_at_any_call_is_not_expunged(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTime.install(monkeypatch)
    recovered, refused = 0, []
    for call in range(1, calls_of_an_expunge() + 1):
        world = make_world()
        vm_id = destroyed(world)
        controller, told = world.controller(), []

        def recover(world: World = world, tell: Callable[[Any], None] = told.append) -> None:
            try:
                with monkeypatch.context() as patch:
                    patch.setattr(owner.os, "getpid", lambda: 1)  # another process, which lives
                    tell(vm("web1", state="recovered").run(world.controller()))
                    if state == "started":
                        vm("web1", state="started").run(world.controller())
            except AblestackError as error:
                refused.append(error.code)

        controller.hosts["kvm01"].act_at(EACH, recover, nth=call)
        done = due(controller)
        if told and told[0].changed:
            recovered += 1
            assert done.result["expunged"] == [], call
            assert world.state.domains[vm_id].power is (Power.RUNNING if state == "started" else Power.OFF), call
            assert f"vm-web1-{vm_id[:8]}-root.qcow2" in world.pool.volumes, call
        else:
            assert [row["id"] for row in done.result["expunged"]] == [vm_id], call
    assert recovered > 3, "it was recovered at some calls at least"
    assert set(refused) <= {Code.CONFLICT, Code.NOT_FOUND, Code.INVALID_STATE}


def test_a_vm_that_was_recovered_since_it_was_listed_is_told_to_be_no_longer_due() -> None:
    world = make_world()
    vm_id = destroyed(world)
    other = destroyed(world, "web2")
    controller = world.controller()
    recover = vm("web1", state="started", id=vm_id)
    controller.hosts["kvm01"].act_at(
        "domains", lambda: (vm(id=vm_id, state="recovered").run(world.controller()), recover.run(world.controller())),
        nth=2,
    )  # fmt: skip
    done = due(controller)
    assert [row["id"] for row in done.result["expunged"]] == [other]
    assert done.warnings == (f"VM 'web1' ({vm_id}) is no longer due, and was left alone",)
    assert world.state.domains[vm_id].power is Power.RUNNING


def test_a_vm_whose_destroy_was_killed_before_the_rename_is_expunged_in_its_time() -> None:
    world = make_world()
    half, stays = deploy(world), deploy(world, "web2")
    vm("web2", state="stopped", forced=True).run(world.controller())
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("rename", Killed(), "before")
    with pytest.raises(Killed):
        vm("web1", state="destroyed").run(controller)
    assert world.state.domains[half].config.domain_name == "web1"
    assert due(world.controller(), days=0).result == {"expunged": [], "failed": []}
    foretold, done = (due(world.controller(check), days=30) for check in (True, False))
    assert foretold.result == done.result == {
        "expunged": [{"name": "web1", "id": half, "host": "kvm01"}],
        "failed": [],
    }  # fmt: skip
    assert list(world.state.domains) == [stays]
    assert not any(half[:8] in volume for volume in world.pool.volumes)


def test_looking_for_what_is_due_reads_no_vm_that_runs_and_minds_no_strange_one_that_is_off() -> None:
    world = make_world()
    deploy(world), destroyed(world, "web2"), deploy(world, "web3")
    off = deploy(world, "web4")
    vm("web4", state="stopped", forced=True).run(world.controller())
    controller = world.controller()
    host = controller.hosts["kvm01"]
    host.fail_at("glance", AblestackError(Code.INVALID_STATE, "the metadata of it is damaged"))
    assert due(controller, days=0).result["failed"] == []
    assert [args[0].id for name, args in host.calls if name == "glance"] == [off]


def test_a_damaged_time_fails_its_own_vm_alone() -> None:
    world = make_world()
    bad, good = destroyed(world, "web1"), destroyed(world, "web2")
    mark(world, bad, expunge_at="tomorrow")
    done = due(world.controller())
    assert [row["id"] for row in done.result["expunged"]] == [good]
    ((failed),) = done.result["failed"]
    assert (failed["name"], failed["id"], failed["host"]) == ("web1", bad, "kvm01")
    assert "'tomorrow' in its metadata is not a time" in failed["msg"]
    assert due(world.controller(check=True)).result["failed"] == [failed]
    assert vm("web1", state="recovered").run(world.controller()).changed


def test_a_vm_that_cannot_be_read_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(hosts=2)
    bad, good = destroyed(world, "web1"), destroyed(world, "web2")
    controller = world.controller()
    host = controller.hosts["kvm01"]
    read = host.vm

    def vm_or_error(ref: Any) -> Any:
        if ref.id == bad:
            raise AblestackError(Code.INVALID_STATE, "the metadata of it is damaged")
        return read(ref)

    monkeypatch.setattr(host, "vm", vm_or_error)
    world.down = {"kvm02"}
    with pytest.raises(Incomplete) as told, controller.infrastructure as infrastructure:
        expunge_due(infrastructure, datetime.now(timezone.utc) + timedelta(days=1))
    assert told.value.message == "1 could not be expunged, the first because the metadata of it is damaged"
    done = told.value.outcome
    assert [row["id"] for row in done.result["expunged"]] == [good]
    assert [row for row in done.result["failed"] if row["host"] == "kvm01"] == [
        {"name": "web1", "id": bad, "host": "kvm01", "msg": "the metadata of it is damaged."}
    ]


@pytest.mark.parametrize("since", ["", "yesterday", "2026-13-45T99:99:99Z"])
def test_a_mark_or_a_note_of_elsewhere_whose_time_cannot_be_read_counts_for_nothing(
    since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "_PATIENCE", 0)
    world = make_world()
    vm_id = deploy(world)
    mark(world, vm_id, phase=Phase.STARTING, since=since, owner=ELSEWHERE)
    world.state.domains[vm_id].holds[ELSEWHERE.token] = Hold(ELSEWHERE, since)
    assert vm("web1", labels={"a": "b"}).run(world.controller()).changed
    assert world.state.domains[vm_id].holds == {}
