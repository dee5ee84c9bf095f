# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage pools over hosts in memory and on libvirt's test driver: every case, twice, predicted, and killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import PoolState
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.pool import apply_pool
from ansible_collections.ablestack.kvm.plugins.module_utils.face.pool_options import pool_spec
from support.memory_calls import Killed
from support.test_driver import driver_host
from support.worlds import Controller, World, make_world

NEW: dict[str, Any] = {"name": "vms", "path": "/srv/vms"}


def run(controller: Controller, **options: Any) -> Outcome:
    with controller.infrastructure as infrastructure:
        return apply_pool(infrastructure, pool_spec(options))


def thrice(world: World, **options: Any) -> Outcome:
    predicted = run(world.controller(check=True), **options)
    done = run(world.controller(), **options)
    assert (predicted.changed, predicted.before, predicted.after) == (done.changed, done.before, done.after)
    assert predicted.result == done.result
    again = world.controller()
    second = run(again, **options)
    assert not second.changed
    assert (second.result["changes"], again.writes) == ([], [])
    assert second.before == second.after == done.after
    return done


def refused(world: World, **options: Any) -> AblestackError:
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as error:
            run(controller, **options)
        assert controller.writes == []
    return error.value


def test_every_host_gets_the_pool() -> None:
    world = make_world(hosts=3)
    for name, active in (("kvm02", False), ("kvm03", True)):
        pool = world.states[name].add_pool("vms")
        pool.path, pool.active = "/srv/vms", active
    done = thrice(world, **NEW)
    row = {"name": "vms", "type": "dir", "path": "/srv/vms", "active": True}
    assert done.result["pools"] == [
        {"host": "kvm01", **row, "autostart": True},
        {"host": "kvm02", **row, "autostart": True},
        {"host": "kvm03", **row, "autostart": False},  # left out is not managed
    ]
    changed = [(change["host"], change["path"]) for change in done.result["changes"]]
    started = [("kvm02", "autostart"), ("kvm02", "active")]
    assert changed == [("kvm01", "path"), ("kvm01", "autostart"), ("kvm01", "active"), *started]
    assert thrice(world, name="vms", autostart=True).result["changes"][0]["host"] == "kvm03"
    assert thrice(world, name="vms", autostart=False, hosts=["kvm01"]).before["kvm01"]["autostart"] is True


def test_a_new_pool_may_stay_off_at_boot() -> None:
    assert thrice(make_world(), **NEW, autostart=False).result["pools"][0]["autostart"] is False


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "nothing"}, Code.INVALID_INPUT),
        ({"name": "default", "path": "/elsewhere"}, Code.ALREADY_EXISTS),
        ({"name": "nfs", "path": "/pools/nfs"}, Code.ALREADY_EXISTS),
        ({**NEW, "path": "srv/vms"}, Code.INVALID_INPUT),
        ({**NEW, "path": "/"}, Code.INVALID_INPUT),
        ({**NEW, "path": " "}, Code.INVALID_INPUT),
        *(
            ({**NEW, "path": path}, Code.INVALID_INPUT)
            for path in ("/etc", "//etc/pools", "/dev/shm/vms", "/proc/self", "/srv/../etc", "/var/lib", "/var/run/x")
        ),
        ({**NEW, "name": "a/b"}, Code.INVALID_INPUT),
        ({**NEW, "hosts": ["kvm09"]}, Code.NOT_FOUND),
        ({**NEW, "zone": "moon"}, Code.NOT_FOUND),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(options: dict[str, Any], code: Code) -> None:
    world = make_world(hosts=2)
    world.states["kvm02"].add_pool("nfs").type = "netfs"
    assert refused(world, **options).code is code


def test_a_pool_of_another_kind_is_started_and_otherwise_left_alone() -> None:
    world = make_world()
    pool = world.state.add_pool("nfs")
    pool.type, pool.active = "netfs", False
    (row,) = thrice(world, name="nfs").result["pools"]
    assert (row["active"], row["autostart"]) == (True, False)  # what the task does not give stays as it is
    assert thrice(world, name="nfs", autostart=True).result["pools"][0]["autostart"] is True


def test_a_host_that_is_down_fails_the_task_before_anything_is_done() -> None:
    world = make_world(hosts=2)
    world.down.add("kvm02")
    assert refused(world, **NEW).code is Code.HOST_UNAVAILABLE


def test_a_path_is_written_as_libvirt_does() -> None:
    world = make_world()
    thrice(world, **NEW)
    assert not run(world.controller(), name="vms", path="//srv/./vms/").changed


def test_of_two_who_make_it_one_is_told() -> None:
    world = make_world()
    controller = world.controller()
    controller.hosts["kvm01"].act_at("define_pool", lambda: run(world.controller(), **NEW) and None)
    with pytest.raises(AblestackError) as error:
        run(controller, **NEW)
    assert error.value.code is Code.CONFLICT


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_at_any_write_the_next_run_ends_it(at: int, when: str) -> None:
    world = make_world()
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(at, Killed(), when)
    with pytest.raises(Killed):
        run(controller, **NEW)
    thrice(world, **NEW)
    assert world.state.pools["vms"].active
    assert world.state.pools["vms"].autostart


def test_libvirt_defines_and_starts_it(tmp_path: Path) -> None:
    with driver_host(tmp_path) as host:
        assert host.pool_state("vms") is None
        host.define_pool("vms", "/srv/vms")
        assert host.pool_state("vms") == PoolState("vms", "dir", "/srv/vms", active=False, autostart=False)
        host.set_pool_autostart("vms", True)
        host.start_pool("vms")
        host.start_pool("vms")
        assert host.pool_state("vms") == PoolState("vms", "dir", "/srv/vms", active=True, autostart=True)
        assert host.pool("vms").path == "/srv/vms"
        for again in ("vms", "lvm"):
            with pytest.raises(AblestackError) as error:
                host.define_pool(again, "/srv/vms")
            assert error.value.code is Code.ALREADY_EXISTS
        with pytest.raises(AblestackError) as error:
            host.start_pool("nothing")
        assert error.value.code is Code.NOT_FOUND
    with driver_host(tmp_path, read_only=True) as host:
        assert host.pool_state("lvm").type == "logical"
        with pytest.raises(AblestackError):
            host.define_pool("vms", "/srv/vms")
