"""A template that is to be there: made, kept, described, replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import UNKNOWN
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import template_claim
from support.memory_state import MemoryVolume, qcow2_bytes
from support.templates import IMAGE, OTHER, contents, put_overlay, put_vm, run, sha256, without_created
from support.worlds import World, make_world, put_template

VM_ID = "11111111-2222-4333-8444-555555555555"
ISO = bytes(0x8001) + b"CD001" + bytes(4096)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    path.write_bytes(IMAGE)
    return path


@pytest.fixture
def world() -> World:
    return make_world(template=False)


def test_a_file_becomes_a_template(world: World, image: Path) -> None:
    done = run(world, name="debian", src=str(image), display_text="Debian 12", os_type="debian12", labels={"a": "b"})
    assert done.changed
    created = done.template.pop("created")
    assert created.startswith("20")
    assert done.template == {
        "name": "debian",
        "display_text": "Debian 12",
        "format": "qcow2",
        "size_gib": 2,
        "checksum": sha256(IMAGE),
        "os_type": "debian12",
        "boot_type": "",
        "boot_mode": "",
        "ssh_key_enabled": True,
        "dynamic_scaling": False,
        "featured": False,
        "labels": {"a": "b"},
        "source": str(image),
        "state": "Ready",
        "hosts": ["kvm01"],
        "problems": [],
        "used_by": [],
    }
    assert contents(world)["kvm01"]["default/tmpl-debian.qcow2"] == IMAGE
    assert set(world.pool.volumes) == {"tmpl-debian.qcow2", "tmpl-debian.json"}
    assert {volume.mode for volume in world.pool.volumes.values()} == {0o600}


@pytest.mark.parametrize(
    ("content", "options", "size_gib"),
    [
        (IMAGE, {"format": "qcow2"}, 2),
        (b"a boot sector, then data".ljust(2**20, b"\0"), {"format": "raw"}, 0.001),
        (ISO, {"format": "iso"}, 0),
        (ISO, {}, 0),
        # what hybrid images look like, that are written on disks as they are
        (ISO, {"format": "raw"}, 0),
    ],
)
def test_every_format_is_kept_byte_for_byte_and_a_second_run_writes_nothing(
    world: World, tmp_path: Path, content: bytes, options: dict[str, Any], size_gib: float
) -> None:
    source = tmp_path / "image"
    source.write_bytes(content)
    first = run(world, name="t", src=str(source), **options)
    assert first.changed
    assert first.template["size_gib"] == pytest.approx(size_gib, abs=0.001)
    assert content in contents(world)["kvm01"].values()
    second = run(world, name="t", src=str(source), **options)
    assert (second.changed, second.controller.writes) == (False, [])
    assert second.template == first.template


def test_check_mode_predicts_without_a_write(world: World, image: Path) -> None:
    options = {"name": "t", "src": str(image), "featured": True}
    predicted = run(world, check=True, **options)
    assert (predicted.controller.writes, contents(world)) == ([], {"kvm01": {}})
    real = run(world, **options)
    assert (predicted.changed, predicted.template["created"]) == (True, UNKNOWN)
    assert without_created(predicted.template) == without_created(real.template)
    assert predicted.outcome.after == real.outcome.after
    assert predicted.outcome.before == real.outcome.before == {}


def test_all_hosts_get_it_and_a_new_host_gets_it_later(image: Path) -> None:
    world = make_world(hosts=3, template=False)
    first = run(world, name="t", src=str(image), hosts=["kvm01", "kvm03"], display_text="words")
    assert first.template["hosts"] == ["kvm01", "kvm03"]
    second = run(world, name="t", src=str(image))
    assert second.changed
    assert [host.spec.name for host in second.controller.hosts.values() if host.writes] == ["kvm02"]
    assert second.template["hosts"] == ["kvm01", "kvm02", "kvm03"]
    # what the other copies say of it is true of this one too
    copies = [content for host in contents(world).values() for name, content in host.items() if name.endswith("json")]
    assert len(copies) == 3
    assert len(set(copies)) == 1


def test_hosts_that_share_a_pool_get_one_copy(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_claim, "PAUSE", 0.001)
    monkeypatch.setattr(template_claim, "PATIENCE", 10000)
    world = make_world(hosts=2, template=False)
    world.states["kvm02"].pools = world.states["kvm01"].pools
    world.states["kvm02"].lock = world.states["kvm01"].lock
    done = run(world, name="t", src=str(image))
    assert done.template["hosts"] == ["kvm01", "kvm02"]
    uploads = [args for host in done.controller.hosts.values() for name, args in host.writes if name == "upload"]
    assert [args[1] for args in uploads].count("tmpl-t.qcow2") == 1


def test_a_zone_is_a_selection_of_hosts(image: Path) -> None:
    world = make_world(hosts=2, template=False, host_values={"kvm02": {"zone": "busan"}})
    assert run(world, name="t", src=str(image), zone="busan").template["hosts"] == ["kvm02"]
    assert run(world, name="t", src=str(image), zone="nowhere").code == "NotFound"


def test_templates_live_in_their_own_pool(image: Path) -> None:
    world = make_world(template=False, host_values={"kvm01": {"template_pool": "library"}})
    run(world, name="t", src=str(image))
    assert set(contents(world)["kvm01"]) == {"library/tmpl-t.qcow2", "library/tmpl-t.json"}


# What it says can change; what it holds cannot, unless forced.


def test_a_description_is_rewritten_and_the_image_left_alone(world: World, image: Path) -> None:
    run(world, name="t", src=str(image), display_text="a long description of it", labels={"k": "v"})
    options = {"name": "t", "display_text": "short", "boot_type": "uefi", "boot_mode": "secure", "labels": {}}
    predicted = run(world, check=True, **options)
    done = run(world, **options)
    assert done.changed
    assert predicted.template == done.template
    assert predicted.controller.writes == []
    assert done.controller.writes == ["upload"]
    changed = {key for key in done.outcome.after if done.outcome.before[key] != done.outcome.after[key]}
    assert changed == {"display_text", "boot_type", "boot_mode", "labels"}
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == IMAGE
    again = run(world, **options)
    assert (again.changed, again.controller.writes) == (False, [])
    assert again.template["labels"] == {}


def test_what_is_left_out_is_not_managed(world: World, image: Path) -> None:
    run(world, name="t", src=str(image), display_text="words", featured=True)
    done = run(world, name="t")
    assert not done.changed
    assert (done.template["display_text"], done.template["featured"]) == ("words", True)


def test_a_file_that_moved_or_was_touched_is_compared_by_content(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    os.utime(image, (1, 1))
    assert not run(world, name="t", src=str(image)).changed
    moved = image.rename(image.with_name("moved.qcow2"))
    assert not run(world, name="t", src=str(moved)).changed


def test_a_file_that_is_gone_is_a_warning_while_the_template_is_ready(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    image.unlink()
    done = run(world, name="t", src=str(image), display_text="new words")
    assert done.changed
    assert done.template["display_text"] == "new words"
    assert [str(image) in warning for warning in done.outcome.warnings] == [True]


def test_another_image_is_a_conflict_and_replaces_only_when_forced(world: World, image: Path) -> None:
    run(world, name="t", src=str(image), display_text="words")
    image.write_bytes(OTHER)
    before = contents(world)
    refused = run(world, name="t", src=str(image))
    assert (refused.code, refused.controller.writes) == ("Conflict", [])
    assert "forced" in refused.error.sentence if refused.error else False
    assert run(world, check=True, name="t", src=str(image)).code == "Conflict"
    assert contents(world) == before
    predicted = run(world, check=True, name="t", src=str(image), forced=True)
    done = run(world, name="t", src=str(image), forced=True)
    assert done.changed
    assert without_created(predicted.template) == without_created(done.template)
    assert (done.template["checksum"], done.template["size_gib"]) == (sha256(OTHER), 3)
    assert done.template["display_text"] == "words"
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == OTHER
    assert not run(world, name="t", src=str(image), forced=True).changed


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("user", ["record", "overlay", "destroyed"])
def test_an_image_in_use_is_never_replaced(world: World, image: Path, user: str, forced: bool) -> None:
    run(world, name="t", src=str(image))
    host = world.controller().hosts["kvm01"]
    if user == "overlay":
        put_overlay(world.pool, "disk-of-somebody.qcow2", "/pools/default/tmpl-t.qcow2")
    else:
        name = "web.destroyed-11111111" if user == "destroyed" else "web"
        put_vm(host, name, VM_ID, template="t")
    image.write_bytes(OTHER)
    before = contents(world)
    refused = run(world, name="t", src=str(image), forced=forced)
    if user == "overlay" and not forced:
        assert refused.code == "Conflict"  # nothing is deleted, so nobody looked for what stands on it
    else:
        assert refused.code == "InUse"
        assert refused.error
        assert ("disk-of-somebody" if user == "overlay" else "web") in refused.error.message
    assert refused.controller.writes == []
    assert contents(world) == before


def test_a_forced_replacement_proves_the_new_image_before_it_deletes_the_old_one(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    before = contents(world)
    image.write_bytes(OTHER)
    refused = run(world, name="t", src=str(image), checksum=sha256(b"something else"), forced=True)
    assert refused.code == "ChecksumMismatch"
    assert contents(world) == before


# Checksums


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
def test_a_checksum_is_verified_and_found_again(world: World, image: Path, algorithm: str) -> None:
    import hashlib

    right = f"{algorithm}:{hashlib.new(algorithm, IMAGE).hexdigest()}"
    wrong = f"{algorithm}:{hashlib.new(algorithm, OTHER).hexdigest()}"
    refused = run(world, name="t", src=str(image), checksum=wrong)
    assert refused.code == "ChecksumMismatch"
    assert refused.error
    assert (refused.error.details["expected"], refused.error.details["found"]) == (wrong, right)
    assert contents(world) == {"kvm01": {}}
    assert run(world, check=True, name="t", src=str(image), checksum=wrong).code == "ChecksumMismatch"
    assert run(world, name="t", src=str(image), checksum=right.upper().replace(algorithm.upper(), algorithm)).changed
    image.unlink()  # what follows needs no look at the file
    again = run(world, name="t", src=str(image), checksum=right)
    assert (again.changed, again.controller.writes) == (False, [])
    assert again.template["checksum"] == sha256(IMAGE)


def test_a_pinned_checksum_that_no_longer_fits_is_a_conflict(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    assert run(world, name="t", src=str(image), checksum=sha256(OTHER)).code == "Conflict"
    assert run(world, name="t", checksum=sha256(OTHER)).code == "Conflict"
    assert not run(world, name="t", checksum=sha256(IMAGE)).changed


# What cannot be


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"", {"format": "raw"}),
        (b"plain bytes", {}),
        (b"plain bytes", {"format": "qcow2"}),
        (b"plain bytes", {"format": "iso"}),
        (IMAGE, {"format": "raw"}),
        (IMAGE, {"format": "iso"}),
        (ISO, {"format": "qcow2"}),
        (b"\x1f\x8b and so on", {"format": "raw"}),
        (qcow2_bytes(1024**3, backing="/etc/shadow"), {}),
        (IMAGE[:32] + b"\0\0\0\1" + IMAGE[36:], {}),
    ],
)
def test_bad_images_reach_no_host(world: World, tmp_path: Path, content: bytes, options: dict[str, Any]) -> None:
    source = tmp_path / "image"
    source.write_bytes(content)
    for check in (True, False):
        refused = run(world, check=check, name="t", src=str(source), **options)
        assert (refused.code, refused.controller.writes) == ("InvalidInput", [])
        assert refused.error
        assert str(source) in refused.error.message


def test_bad_paths(world: World, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/null")):
        refused = run(world, name="t", src=str(path))
        assert (refused.code, refused.controller.writes) == ("InvalidInput", [])


def test_without_a_source_there_is_nothing_to_make_it_from(world: World) -> None:
    refused = run(world, name="t")
    assert refused.code == "NotFound"
    assert refused.error
    assert "src" in refused.error.hint


def test_a_format_that_contradicts_the_template(world: World, image: Path) -> None:
    run(world, name="t", src=str(image))
    assert run(world, name="t", format="raw").code == "InvalidInput"


def test_secure_boot_without_uefi(world: World, image: Path) -> None:
    assert run(world, name="t", src=str(image), boot_type="bios", boot_mode="secure").code == "InvalidInput"
    assert run(world, name="t", src=str(image), boot_mode="secure").changed
    assert run(world, name="t", boot_type="bios").code == "InvalidInput"
    assert run(world, name="t", boot_type="uefi").changed


def test_a_full_pool(world: World, image: Path) -> None:
    world.pool.capacity = len(IMAGE) // 2
    refused = run(world, name="t", src=str(image))
    assert refused.code == "InsufficientCapacity"
    assert contents(world) == {"kvm01": {}}


def test_a_pool_that_fills_up_meanwhile(world: World, image: Path) -> None:
    controller = world.controller()

    def fill() -> None:
        world.pool.capacity = 5000

    controller.hosts["kvm01"].act_at("upload", fill, when="before", nth=2)
    assert run(world, controller=controller, name="t", src=str(image)).code == "InsufficientCapacity"
    assert contents(world) == {"kvm01": {}}


# Hosts that are down


def test_an_unreachable_host_fails_only_itself(image: Path) -> None:
    world = make_world(hosts=3, template=False)
    world.down = {"kvm02"}
    refused = run(world, name="t", src=str(image))
    assert refused.code == "HostUnavailable"
    assert refused.error
    assert "kvm02" in refused.error.message
    assert [name for name, volumes in contents(world).items() if volumes] == ["kvm01", "kvm03"]
    world.down = set()
    assert run(world, name="t", src=str(image)).template["hosts"] == ["kvm01", "kvm02", "kvm03"]


def test_a_host_in_maintenance_may_be_down(image: Path) -> None:
    world = make_world(hosts=2, template=False, host_values={"kvm02": {"state": "maintenance"}})
    world.down = {"kvm02"}
    done = run(world, name="t", src=str(image))
    assert done.template["hosts"] == ["kvm01"]
    assert ["kvm02" in warning for warning in done.outcome.warnings] == [True]


# What others left


def test_a_half_copied_image_is_copied_again(world: World, image: Path) -> None:
    world.pool.volumes["tmpl-t.qcow2"] = MemoryVolume(IMAGE[: len(IMAGE) // 2])
    done = run(world, name="t", src=str(image))
    assert done.changed
    assert done.outcome.before["state"] == "NotReady"
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == IMAGE


def test_what_stands_on_an_image_without_descriptor_protects_it(world: World, image: Path) -> None:
    world.pool.volumes["tmpl-t.qcow2"] = MemoryVolume(IMAGE)
    put_overlay(world.pool, "root.qcow2", "/pools/default/tmpl-t.qcow2")
    before = contents(world)
    for options in ({"src": str(image)}, {"src": str(image), "forced": True}, {"state": "absent"}):
        assert run(world, name="t", **options).code == "InUse"
    assert contents(world) == before


def test_an_image_that_went_missing_comes_back_under_its_vms(world: World, image: Path) -> None:
    run(world, name="t", src=str(image), display_text="words")
    put_vm(world.controller().hosts["kvm01"], "web", VM_ID, template="t")
    del world.pool.volumes["tmpl-t.qcow2"]
    done = run(world, name="t", src=str(image))
    assert done.changed
    assert (done.template["display_text"], done.template["used_by"]) == ("words", ["web"])
    assert contents(world)["kvm01"]["default/tmpl-t.qcow2"] == image.read_bytes()


def test_a_descriptor_of_a_newer_version_is_left_alone(world: World, image: Path) -> None:
    put_template(world.pool, "t")
    volume = world.pool.volumes["tmpl-t.json"]
    volume.content = volume.content.replace(b'"schema": 1', b'"schema": 9')
    before = contents(world)
    for options in ({"src": str(image), "forced": True}, {"state": "absent"}, {"display_text": "x"}):
        assert run(world, name="t", **options).code == "Unsupported"
    assert contents(world) == before


def test_names_that_begin_alike_are_different_templates(world: World, image: Path) -> None:
    for name in ("t", "t.qcow2", "t.json", "t-2"):
        assert run(world, name=name, src=str(image)).changed
    assert run(world, name="t", state="absent").changed
    assert run(world, name="t.qcow2").template["state"] == "Ready"
    assert len(world.pool.volumes) == 6
