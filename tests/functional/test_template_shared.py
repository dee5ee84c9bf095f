# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates on hosts that share storage: the work is done once, and only where the storage really is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.templates import IMAGE, OTHER, contents, put_overlay, put_vm, run, without_created
from support.worlds import World, make_world, put_template

VM_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    path.write_bytes(IMAGE)
    return path


@pytest.fixture
def world() -> World:
    """kvm01 and kvm02 have one pool, kvm03 has its own."""
    world = make_world(hosts=3, template=False)
    world.states["kvm02"].pools = world.states["kvm01"].pools
    world.states["kvm02"].lock = world.states["kvm01"].lock
    return world


def twins() -> World:
    """Two hosts set up from one image: their pools have one UUID, and nothing else in common."""
    world = make_world(hosts=2, template=False)
    for state in world.states.values():
        state.pools["default"].id = "2ee55b59-b931-4db8-86ec-18b1340f3512"
    return world


def rows(done: Any) -> list[tuple[str, str, str]]:
    return [(row["host"], row["action"], row["shared_with"]) for row in done.outcome.result["actions"]]


def writers(done: Any) -> list[str]:
    """The hosts that something was written through."""
    return [host.spec.name for host in done.controller.hosts.values() if host.writes]


def thrice(world: World, **options: Any) -> Any:
    """Check, run, run again; the result of the run."""
    predicted = run(world, check=True, **options)
    done = run(world, **options)
    assert (predicted.changed, rows(predicted)) == (True, rows(done))
    assert without_created(predicted.template) == without_created(done.template)
    again = run(world, **options)
    assert (again.changed, again.controller.writes) == (False, [])
    assert {action for _host, action, _with in rows(again)} == {"none"}
    return done


def test_an_image_is_copied_once_into_storage_that_hosts_share(world: World, image: Path) -> None:
    done = thrice(world, name="t", src=str(image))
    assert rows(done) == [("kvm01", "copied", ""), ("kvm02", "shared", "kvm01"), ("kvm03", "copied", "")]
    assert done.template["hosts"] == ["kvm01", "kvm02", "kvm03"]
    assert writers(done) == ["kvm01", "kvm03"]


def test_a_description_is_changed_once(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    done = thrice(world, name="t", display_text="words")
    assert rows(done) == [("kvm01", "described", ""), ("kvm02", "shared", "kvm01"), ("kvm03", "described", "")]
    assert writers(done) == ["kvm01", "kvm03"]


def test_an_image_is_replaced_once(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    image.write_bytes(OTHER)
    done = thrice(world, name="t", src=str(image), forced=True)
    assert rows(done) == [("kvm01", "replaced", ""), ("kvm02", "shared", "kvm01"), ("kvm03", "replaced", "")]
    assert writers(done) == ["kvm01", "kvm03"]
    assert contents(world)["kvm02"]["default/tmpl-t.qcow2"] == OTHER


def test_it_is_removed_once(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    done = thrice(world, name="t", state="absent")
    assert rows(done) == [("kvm01", "removed", ""), ("kvm02", "shared", "kvm01"), ("kvm03", "removed", "")]
    assert writers(done) == ["kvm01", "kvm03"]
    assert contents(world) == {"kvm01": {}, "kvm02": {}, "kvm03": {}}


def test_a_user_on_any_host_of_the_storage_keeps_it(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    put_vm(world.controller().hosts["kvm02"], "web", VM_ID, template="t")
    assert run(world, name="t", state="absent", hosts=["kvm01", "kvm02"]).code == "InUse"


def test_a_user_that_comes_meanwhile_on_another_host_keeps_it(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    before, controller = contents(world), world.controller()
    other = world.controller().hosts["kvm02"]
    controller.hosts["kvm01"].act_at("create_volume", lambda: put_vm(other, "web", VM_ID, template="t"), when="before")
    refused = run(world, controller=controller, name="t", state="absent", hosts=["kvm01", "kvm02"])
    assert refused.code == "InUse"
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == before["kvm01"]["default/tmpl-t.qcow2"]
    assert run(world, name="t").template["state"] == "Ready"


@pytest.mark.parametrize("task", ["copy", "replace", "describe", "remove"])
def test_hosts_that_share_nothing_but_a_uuid_each_do_their_own(task: str, image: Path) -> None:
    world = twins()
    options: dict[str, Any] = {"name": "t", "src": str(image)}
    if task != "copy":
        run(world, **options)
    if task == "replace":
        image.write_bytes(OTHER)
        options["forced"] = True
    elif task == "describe":
        options = {"name": "t", "display_text": "words"}
    elif task == "remove":
        options = {"name": "t", "state": "absent"}
    done = run(world, **options)
    assert done.changed
    assert writers(done) == ["kvm01", "kvm02"]
    assert {with_ for _host, _action, with_ in rows(done)} == {""}
    found = contents(world)
    assert set(found["kvm01"]) == set(found["kvm02"])
    if task != "remove":
        images = [volumes["default/tmpl-t.qcow2"] for volumes in found.values()]
        assert images == [OTHER if task == "replace" else IMAGE] * 2
    again = run(world, **options)
    assert (again.changed, again.controller.writes) == (False, [])


def test_a_host_that_cannot_look_anew_is_told_by_one_that_has_it(image: Path) -> None:
    # Check mode's read-only connection refreshes no pool: the host lists what it saw at its last refresh.
    world = twins()
    run(world, name="t", src=str(image), hosts=["kvm01"])
    predicted = run(world, check=True, name="t", src=str(image))
    assert (predicted.changed, predicted.template["hosts"]) == (False, ["kvm01", "kvm02"])


def test_when_the_leader_fails_another_does_its_work(world: World, image: Path) -> None:
    controller = world.controller()
    broken = AblestackError(Code.HOST_UNAVAILABLE, "the connection to 'kvm01' is broken")
    controller.hosts["kvm01"].fail_at("upload", broken, when="during", nth=2)
    refused = run(world, controller=controller, name="t", src=str(image))
    assert refused.code == "HostUnavailable"
    assert refused.error
    assert refused.error.details["actions"] == [
        {"host": "kvm02", "action": "copied", "shared_with": ""},
        {"host": "kvm03", "action": "copied", "shared_with": ""},
    ]
    again = run(world, name="t", src=str(image))
    assert (again.changed, again.template["hosts"]) == (False, ["kvm01", "kvm02", "kvm03"])


# What is missing or damaged comes back where it lacks, and there alone.


@pytest.mark.parametrize("damage", ["missing", "short", "empty", "long", "no descriptor", "half a descriptor"])
def test_a_damaged_copy_is_repaired_on_its_own_host(damage: str, image: Path) -> None:
    world = make_world(hosts=3, template=False)
    run(world, name="t", src=str(image), display_text="words")
    good = contents(world)["kvm01"]
    volumes = world.states["kvm02"].pools["default"].volumes
    if damage == "missing":
        del volumes["tmpl-t.qcow2"]
    elif damage == "no descriptor":
        del volumes["tmpl-t.json"]
    elif damage == "half a descriptor":
        volumes["tmpl-t.json"].content = volumes["tmpl-t.json"].content[:100]
    else:
        volumes["tmpl-t.qcow2"].content = {"short": IMAGE[:-1], "empty": b"", "long": IMAGE + b"\0"}[damage]
    assert run(world, check=True, name="t", src=str(image)).outcome.before["state"] == "NotReady"
    done = thrice(world, name="t", src=str(image))
    assert rows(done) == [("kvm01", "none", ""), ("kvm02", "repaired", ""), ("kvm03", "none", "")]
    assert writers(done) == ["kvm02"]
    found = contents(world)["kvm02"]
    assert set(found) == set(good)
    assert found["default/tmpl-t.qcow2"] == good["default/tmpl-t.qcow2"]
    told = [{**json.loads(copy["default/tmpl-t.json"]), "created": ""} for copy in (found, good)]
    assert told[0] == told[1]


def test_a_damaged_copy_that_something_stands_on_is_not_pulled_from_under_it(image: Path) -> None:
    world = make_world(hosts=2, template=False)
    run(world, name="t", src=str(image))
    pool = world.states["kvm02"].pools["default"]
    pool.volumes["tmpl-t.qcow2"].content = IMAGE[:-1]
    put_overlay(pool, "root.qcow2", "/pools/default/tmpl-t.qcow2")
    refused = run(world, name="t", src=str(image))
    assert (refused.code, refused.controller.writes) == ("InUse", [])


def test_no_vm_is_made_from_a_damaged_copy(image: Path) -> None:
    from support.fleets import fleet

    world = make_world(hosts=2, template=False)
    for state in world.states.values():
        put_template(state.pools["default"])
    world.states["kvm01"].pools["default"].volumes["tmpl-tiny.qcow2"].content += b"\0"
    (row,) = fleet(world.controller(), ["web"]).result["results"]
    assert row["placement"]["host"] == "kvm02"
    assert "damaged" in row["placement"]["rejected"][0]["reason"]
