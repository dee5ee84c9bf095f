"""Templates that are to go, to be fetched, to be listed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import VmFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template_query import list_all_templates
from support.memory_state import MemoryVolume
from support.templates import IMAGE, OTHER, contents, put_overlay, put_vm, run, sha256
from support.worlds import Controller, World, make_world, put_template

VM_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def world() -> World:
    world = make_world(template=False)
    put_template(world.pool, "t", IMAGE, display_text="words")
    return world


@pytest.mark.parametrize("text", ['{"schema": 1e999}', "[" * 200_000, "{", "\x00", '{"schema": 1, "claim": [[]]}'])
def test_a_descriptor_that_was_tampered_with_is_that_template_s_matter_alone(world: World, text: str) -> None:
    put_template(world.pool, "bad", OTHER)
    world.pool.volumes["tmpl-bad.json"].content = text.encode()
    with world.controller().infrastructure as infrastructure:
        listed = list_all_templates(infrastructure).result["templates"]
    assert {row["name"]: row["state"] for row in listed} == {"bad": "NotReady", "t": "Ready"}
    assert run(world, name="bad", state="absent").changed
    assert set(world.pool.volumes) == {"tmpl-t.qcow2", "tmpl-t.json"}


# absent


def test_it_goes_and_stays_away(world: World) -> None:
    put_template(world.pool, "other", OTHER)
    predicted = run(world, check=True, name="t", state="absent")
    done = run(world, name="t", state="absent")
    assert (predicted.changed, done.changed, predicted.controller.writes) == (True, True, [])
    assert done.outcome.before["name"] == "t"
    assert predicted.outcome.before == done.outcome.before
    assert (done.template, done.outcome.after) == ({}, {})
    assert set(world.pool.volumes) == {"tmpl-other.qcow2", "tmpl-other.json"}
    again = run(world, name="t", state="absent")
    assert (again.changed, again.controller.writes) == (False, [])


@pytest.mark.parametrize(
    "source",
    [
        {"src": "/nowhere/image.qcow2", "checksum": f"sha256:{'0' * 64}"},
        {"url": "https://images.example/image.qcow2"},
        {"vm": "gone"},
        {"volume": "default/gone.qcow2", "format": "raw", "os_type": "Debian"},
    ],
)
def test_what_it_was_made_of_does_not_matter_any_more(world: World, source: dict[str, str]) -> None:
    assert run(world, name="t", state="absent", **source).changed
    assert not run(world, name="t", state="absent", **source).changed
    assert not world.pool.volumes


def test_only_on_the_hosts_that_are_named() -> None:
    world = make_world(hosts=2)
    assert run(world, name="tiny", state="absent", hosts=["kvm02"]).changed
    assert run(world, name="tiny").code == "NotFound"
    assert run(world, name="tiny", hosts=["kvm01"]).template["hosts"] == ["kvm01"]


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_never_while_something_uses_it(world: World, forced: bool, check: bool) -> None:
    host = world.controller().hosts["kvm01"]
    users = {
        "a VM of ours": lambda: put_vm(host, "web", VM_ID, template="t"),
        "a destroyed VM": lambda: put_vm(host, "web.destroyed-11111111", VM_ID, template="t"),
        "an ISO in a drive": lambda: put_vm(host, "web", VM_ID, iso="t"),
        "an unmanaged VM": lambda: put_vm(host, "web", VM_ID, root="/pools/default/tmpl-t.qcow2"),
        "an unmanaged VM that names the volume": lambda: put_vm(host, "web", VM_ID, root="default/tmpl-t.qcow2"),
        "a volume of nobody's": lambda: put_overlay(world.pool, "web.qcow2", "/pools/default/tmpl-t.qcow2"),
    }
    for user, make in users.items():
        make()
        before = contents(world)
        refused = run(world, check=check, name="t", state="absent", forced=forced)
        assert (refused.code, refused.controller.writes) == ("InUse", []), user
        assert refused.error
        assert "web" in refused.error.message
        assert contents(world) == before
        host.state.domains.clear()
        world.pool.volumes.pop("web.qcow2", None)
    assert run(world, name="t", state="absent").changed


def test_a_domain_that_cannot_be_read_stands_in_the_way_of_nothing_but_deleting(world: World) -> None:
    put_vm(world.controller().hosts["kvm01"], "newer", VM_ID)

    def task() -> Controller:
        controller = world.controller()
        host = controller.hosts["kvm01"]

        def refused(_ref: object) -> VmFacts:
            raise AblestackError(Code.UNSUPPORTED, "the record of VM 'newer' is of a newer version")

        host.vm = host.glance = refused  # type: ignore[method-assign]
        return controller

    with task().infrastructure as infrastructure:
        listed = list_all_templates(infrastructure)
    assert [template["name"] for template in listed.result["templates"]] == ["t"]
    assert ["newer version" in warning for warning in listed.warnings] == [True]
    assert not run(world, controller=task(), name="t").changed
    refused = run(world, controller=task(), name="t", state="absent")
    assert (refused.code, refused.controller.writes) == ("InvalidState", [])


def test_a_volume_in_another_pool_counts(world: World) -> None:
    put_overlay(world.state.add_pool("fast"), "root.qcow2", "/pools/default/tmpl-t.qcow2")
    refused = run(world, name="t", state="absent")
    assert refused.error
    assert refused.error.details["volumes"] == ["fast/root.qcow2"]


def test_a_use_on_one_host_keeps_it_on_all() -> None:
    world = make_world(hosts=2)
    put_vm(world.controller().hosts["kvm02"], "web", VM_ID, template="tiny")
    before = contents(world)
    assert run(world, name="tiny", state="absent").code == "InUse"
    assert contents(world) == before


def test_an_unreachable_host_might_use_it() -> None:
    world = make_world(hosts=2)
    world.down = {"kvm02"}
    before = contents(world)
    assert run(world, name="tiny", state="absent").code == "HostUnavailable"
    assert contents(world) == before
    assert run(world, name="tiny", state="absent", hosts=["kvm01"]).changed


def test_half_a_template_goes_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    world.pool.volumes.clear()
    world.pool.volumes["tmpl-t.raw"] = MemoryVolume(b"half")
    world.pool.volumes["tmpl-t.json"] = MemoryVolume(b"")
    assert run(world, name="t", state="absent").changed
    assert world.pool.volumes == {}


# extracted


def test_the_image_comes_back_as_it_was(world: World, tmp_path: Path) -> None:
    dest = tmp_path / "copy.qcow2"
    predicted = run(world, check=True, name="t", state="extracted", dest=str(dest))
    assert predicted.changed
    assert not dest.exists()
    done = run(world, name="t", state="extracted", dest=str(dest))
    assert done.changed
    assert (dest.read_bytes(), dest.stat().st_mode & 0o777) == (IMAGE, 0o600)
    assert done.outcome.result["dest"] == str(dest)
    assert not run(world, name="t", state="extracted", dest=str(dest)).changed
    dest.write_bytes(OTHER)
    assert run(world, name="t", state="extracted", dest=str(dest)).changed
    assert dest.read_bytes() == IMAGE
    assert [path.name for path in tmp_path.iterdir()] == ["copy.qcow2"]


def test_what_a_killed_process_left_goes_and_nothing_else(world: World, tmp_path: Path) -> None:
    left, living, others = (tmp_path / f".copy.qcow2.{end}" for end in ("ablestack-1", "ablestack-2", "bak"))
    for path in (left, living, others):
        path.write_bytes(IMAGE[:-1])
    with living.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(world, name="t", state="extracted", dest=str(tmp_path / "copy.qcow2")).changed
    assert {path.name for path in tmp_path.iterdir()} == {"copy.qcow2", living.name, others.name}


def test_a_folder_gets_a_file_of_its_name(world: World, tmp_path: Path) -> None:
    run(world, name="t", state="extracted", dest=str(tmp_path))
    assert (tmp_path / "t.qcow2").read_bytes() == IMAGE


def test_an_image_that_is_not_what_its_descriptor_says_is_not_handed_out(world: World, tmp_path: Path) -> None:
    world.pool.volumes["tmpl-t.qcow2"].content = IMAGE[:-1] + b"!"
    dest = tmp_path / "copy"
    dest.write_bytes(b"what was there")
    assert run(world, name="t", state="extracted", dest=str(dest)).code == "ChecksumMismatch"
    assert dest.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_where_it_cannot_be_put(world: World, tmp_path: Path) -> None:
    assert run(world, name="t", state="extracted", dest=str(tmp_path / "no" / "folder")).code == "InvalidInput"
    assert run(world, name="t", state="extracted", dest="/dev/null").code == "InvalidInput"
    assert run(world, name="nothing", state="extracted", dest=str(tmp_path)).code == "NotFound"


# info


def test_all_templates_of_all_hosts() -> None:
    world = make_world(hosts=3, template=False)
    world.down = {"kvm03"}
    put_template(world.states["kvm01"].pools["default"], "a", IMAGE)
    put_template(world.states["kvm02"].pools["default"], "a", OTHER)
    put_template(world.states["kvm02"].pools["default"], "b", IMAGE)
    world.states["kvm02"].pools["default"].volumes["tmpl-c.iso"] = MemoryVolume(b"half")
    world.states["kvm02"].pools["default"].volumes["vol-data.qcow2"] = MemoryVolume(b"no template")
    put_vm(world.controller().hosts["kvm01"], "web", VM_ID, template="a")
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        outcome = list_all_templates(infrastructure)
        named = list_all_templates(infrastructure, ("a", "nothing"))
    rows = {row["name"]: row for row in outcome.result["templates"]}
    assert list(rows) == ["a", "b", "c"]
    assert [rows[name]["state"] for name in rows] == ["Ready", "Ready", "NotReady"]
    assert (rows["a"]["hosts"], rows["a"]["used_by"]) == (["kvm01", "kvm02"], ["web"])
    assert [problem["host"] for problem in rows["a"]["problems"]] == ["kvm02"]
    assert (rows["c"]["format"], rows["c"]["hosts"]) == (None, [])
    assert list(outcome.result["unreachable_hosts"]) == ["kvm03"]
    assert named.result["templates"] == [rows["a"]]
    assert (outcome.changed, controller.writes) == (False, [])


def test_no_host_at_all() -> None:
    world = make_world(hosts=2)
    world.down = {"kvm01", "kvm02"}
    with world.controller().infrastructure as infrastructure, pytest.raises(AblestackError) as caught:
        list_all_templates(infrastructure)
    assert caught.value.code.value == "HostUnavailable"


def test_a_ready_template_costs_two_calls(world: World) -> None:
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template_lookup import find_template

    host = world.controller().hosts["kvm01"]
    found = find_template(host, "t")
    assert (found.ready, found.path) == (True, "/pools/default/tmpl-t.qcow2")
    assert found.template
    assert found.template.checksum == sha256(IMAGE)
    assert [name for name, _args in host.calls] == ["download", "volume"]
