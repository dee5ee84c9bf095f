# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks of processes at work: whoever comes second leaves the mark of the first alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from threading import Event

import pytest
from functional.test_vm_life import WEB, apply

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import MigrateSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import time_text
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Mark, Owner, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import holding, owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.migrate import apply_migrate
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_host import MemoryHost
from support.worlds import Controller, World, make_world

pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")
OTHER = Owner(owner._machine(), os.getppid(), owner._start_time(os.getppid()) or 0, "0ther")


def now() -> str:
    return ago(0)


def ago(minutes: int) -> str:
    return time_text(datetime.now(timezone.utc) - timedelta(minutes=minutes))


def test_who_does_not_get_hold_of_a_vm_leaves_the_mark_of_who_has() -> None:
    world = make_world()
    apply(world, **WEB)
    (domain,) = world.state.domains.values()
    mark = Mark(Phase.RESTARTING, now(), owner=OTHER)

    def other_comes_first() -> None:
        record = domain.config.record
        assert record is not None
        domain.config = replace(domain.config, record=replace(record, mark=mark))
        domain.holds[OTHER.token] = Hold(OTHER, now())

    controller = world.controller()
    controller.hosts["kvm01"].act_at("hold", other_comes_first)
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", wait="none", display_name="x"))
    assert refused.value.code is Code.CONFLICT
    assert domain.config.record is not None
    assert domain.config.record.mark == mark


def test_who_loses_the_claim_on_a_vm_leaves_the_mark_of_who_won() -> None:
    world = make_world()
    apply(world, **WEB)
    apply(world, name="web1", state="destroyed")
    (domain,) = world.state.domains.values()
    controller = world.controller()
    host = controller.hosts["kvm01"]

    def other_claims() -> None:
        record = domain.config.record
        assert record is not None
        mark = replace(record.mark, phase=Phase.EXPUNGING, since=now(), owner=OTHER)
        domain.config = replace(domain.config, record=replace(record, mark=mark))

    host.act_at("rename", other_claims)
    with pytest.raises(AblestackError, match="somebody else"), controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", state="recovered", wait="none"))
    assert domain.config.record is not None
    assert domain.config.record.mark.owner == OTHER


# --- long work: a process that others cannot see shows that it lives


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT", 0.005)


def until_beaten(world: World, controller: Controller, times: int) -> Callable[[], None]:
    """Work that takes until the VM's definition was told so many times of who is at it."""

    def work() -> None:
        beats = Event()
        host = controller.hosts["kvm01"]
        host.process.before_call = lambda: beats.set() if len(told(host)) > times else None
        assert beats.wait(60), "no sign of life"
        (domain,) = world.state.domains.values()
        assert [note.owner.same_process(owner.current_owner()) for note in domain.holds.values()] == [True]

    return work


def told(host: MemoryHost) -> list[str]:
    return [name for name, _args in host.writes if name == "hold"]


@pytest.mark.usefixtures("quick_heart")
def test_a_deploy_shows_that_it_lives_however_long_a_copy_takes() -> None:
    world = make_world()
    controller = world.controller()
    controller.hosts["kvm01"].act_at("clone_volume", until_beaten(world, controller, 2))
    with controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**WEB, clone="full", wait="none"))
    (domain,) = world.state.domains.values()
    assert domain.holds == {}
    assert not apply(world, name="web1").changed


@pytest.mark.usefixtures("quick_heart")
def test_so_does_a_change_however_long_a_guest_takes() -> None:
    world = make_world()
    apply(world, **WEB)
    controller = world.controller()
    controller.hosts["kvm01"].act_at("shutdown", until_beaten(world, controller, 3))
    with controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", state="destroyed"))
    (domain,) = world.state.domains.values()
    assert domain.holds == {}


@pytest.mark.usefixtures("quick_heart")
def test_so_does_a_move_on_both_hosts() -> None:
    world = make_world(hosts=2)
    apply(world, **WEB, host="kvm01", start=False)
    controller = world.controller()
    source, target = controller.hosts["kvm01"], controller.hosts["kvm02"]

    def copy_slowly() -> None:
        beats = Event()
        source.process.before_call = lambda: beats.set() if told(target) and len(told(source)) > 2 else None
        assert beats.wait(60), "no sign of life"

    target.act_at("upload", copy_slowly)
    with controller.infrastructure as infrastructure:
        apply_migrate(infrastructure, MigrateSpec(name="web1", host="kvm02", copy_storage=True))
    assert [domain.holds for state in world.states.values() for domain in state.domains.values()] == [{}]


FAR = Owner("another machine", 4711, 1, "far")


@pytest.mark.parametrize(("who", "minutes", "busy"), [(FAR, 1, True), (FAR, 20, False), (OTHER, 1, False)])
def test_a_mark_is_as_young_as_its_owners_last_sign_of_life(who: Owner, minutes: int, busy: bool) -> None:
    world = make_world()
    apply(world, **WEB, start=False)
    (domain,) = world.state.domains.values()
    record = domain.config.record
    assert record is not None
    mark = Mark(Phase.RESTARTING, ago(20), owner=FAR)
    domain.config = replace(domain.config, record=replace(record, mark=mark))
    domain.holds["note"] = Hold(replace(who, token="note"), ago(minutes))
    if busy:
        with pytest.raises(AblestackError, match="another controller") as refused:
            apply(world, name="web1", check=True)
        assert refused.value.code is Code.CONFLICT
    else:
        assert apply(world, name="web1", check=True).changed
