"""Templates from web servers, from VMs and from volumes."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import UNKNOWN
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import download
from support.memory_state import MemoryVolume, qcow2_bytes
from support.templates import IMAGE, OTHER, contents, put_overlay, put_vm, run, sha256
from support.web import Web, serving
from support.worlds import World, make_world, put_template

VM_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as web:
        yield web


@pytest.fixture
def world() -> World:
    return make_world(template=False)


def test_a_download_becomes_a_template_on_all_hosts_and_is_fetched_once(web: Web) -> None:
    world = make_world(hosts=2, template=False)
    url = web.file("/image.qcow2", IMAGE)
    done = run(world, name="t", url=url, checksum=sha256(IMAGE))
    assert (done.template["hosts"], done.template["source"]) == (["kvm01", "kvm02"], url)
    assert [host["default/tmpl-t.qcow2"] for host in contents(world).values()] == [IMAGE, IMAGE]
    for options in ({"checksum": sha256(IMAGE)}, {}):
        again = run(world, name="t", url=url, **options)
        assert (again.changed, again.controller.writes) == (False, [])
    assert len(web.asked) == 1


def test_check_mode_downloads_nothing_that_it_need_not(web: Web, world: World) -> None:
    url = web.file("/image.qcow2", IMAGE)
    predicted = run(world, check=True, name="t", url=url, checksum=sha256(IMAGE), format="qcow2")
    assert (predicted.changed, web.asked, predicted.controller.writes) == (True, [], [])
    real = run(world, name="t", url=url, checksum=sha256(IMAGE), format="qcow2")
    for key, value in predicted.template.items():
        assert value in (UNKNOWN, real.template[key])
    assert predicted.template["checksum"] == sha256(IMAGE)


def test_another_address_is_compared_by_content(web: Web, world: World) -> None:
    run(world, name="t", url=web.file("/old", IMAGE))
    assert not run(world, name="t", url=web.file("/same", IMAGE)).changed
    for check in (True, False):
        assert run(world, check=check, name="t", url=web.file("/new", OTHER)).code == "Conflict"
    assert run(world, name="t", url=web.file("/new", OTHER), forced=True).template["checksum"] == sha256(OTHER)


def test_a_mismatch_touches_no_host(web: Web, world: World) -> None:
    refused = run(world, name="t", url=web.file("/image", IMAGE), checksum=sha256(OTHER))
    assert (refused.code, refused.controller.writes) == ("ChecksumMismatch", [])


def test_what_is_no_image_touches_no_host(web: Web, world: World) -> None:
    refused = run(world, name="t", url=web.file("/image", b"<html>log in first</html>"), format="raw")
    assert (refused.code, refused.controller.writes) == ("InvalidInput", [])
    assert refused.error
    assert "web page" in refused.error.message


def test_redirects_are_followed_to_web_servers_only(web: Web, world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(IMAGE)
    web.file("/there", IMAGE)
    assert run(world, name="t", url=web.redirect("/here", f"http://{web.address}/there")).changed
    for target in (f"file://{secret}", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"):
        assert run(world, name="u", url=web.redirect("/away", target)).code == "NotFound"


def test_failures_of_the_server(web: Web, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL", 2.0)
    ended = threading.Event()
    cases = {
        web.error("/nothing", 404): ("NotFound", "404"),
        web.error("/broken", 500): ("NotFound", "500"),
        web.file("/short", IMAGE, len(IMAGE) + 10): ("NotFound", "ended after"),
        web.silence("/silent", ended): ("Timeout", "no data"),
        "http://127.0.0.1:1/x": ("NotFound", "refused"),
    }
    for url, (code, words) in cases.items():
        refused = run(world, name="t", url=url)
        assert (refused.code, refused.controller.writes) == (code, []), url
        assert refused.error
        assert words in refused.error.message
    ended.set()


def test_more_than_a_pool_has_room_for_is_not_fetched(web: Web) -> None:
    world = make_world(hosts=2, template=False)
    world.states["kvm02"].pools["default"].capacity = len(IMAGE) - 1
    url = web.file("/image", IMAGE)
    refused = run(world, name="t", url=url)
    assert (refused.code, refused.controller.writes) == ("InsufficientCapacity", [])
    assert refused.error
    assert refused.error.message == (
        f"{url} has {len(IMAGE)} bytes, and pool 'default' on host 'kvm02' has room for {len(IMAGE) - 1}"
    )
    assert run(world, name="t", url=url, hosts=["kvm01"]).changed


def test_a_server_that_never_ends_is_given_up_when_the_room_is(web: Web, world: World) -> None:
    room = world.pool.capacity = 20 * 1024 * 1024
    before = contents(world)
    refused = run(world, name="t", url=web.endless("/zeros"))
    assert (refused.code, refused.controller.writes) == ("InsufficientCapacity", [])
    assert refused.error
    assert f"/zeros goes on after {room} bytes" in refused.error.message
    assert contents(world) == before


def test_what_is_there_of_an_image_makes_room_for_it(web: Web, world: World) -> None:
    """Killed half way, the same task again finds its pool almost full, of what it takes away first."""
    torn = MemoryVolume(IMAGE[:-10])
    world.pool.volumes["tmpl-t.qcow2"] = torn
    world.pool.capacity = len(IMAGE) + 5000
    assert run(world, name="t", url=web.file("/image", IMAGE)).changed
    # the same content from elsewhere is compared, however full the pool is
    world.pool.capacity = 0
    assert not run(world, name="t", url=web.file("/mirror", IMAGE)).changed


def test_a_file_url_is_a_file(world: World, tmp_path: Path) -> None:
    image = tmp_path / "an image"
    image.write_bytes(IMAGE)
    url = f"file://{tmp_path}/an%20image"
    assert run(world, check=True, name="t", url=url).template["checksum"] == sha256(IMAGE)
    assert run(world, name="t", url=url).changed
    assert not run(world, name="t", url=url).changed


@pytest.mark.parametrize("url", ["ftp://h/x", "image.qcow2", "http:///x", "file://elsewhere/x", "http://[x", ""])
def test_other_urls(world: World, url: str) -> None:
    with pytest.raises(AblestackError) as caught:
        raise run(world, name="t", url=url).error or AssertionError
    assert caught.value.code is Code.INVALID_INPUT


def test_a_password_goes_to_its_server_and_nowhere_else(web: Web, world: World) -> None:
    with serving(Web()) as other:
        target = other.file("/image", IMAGE)
        web.redirect("/image", target)
        done = run(world, name="t", url=f"http://me:top%20secret@{web.address}/image?token=hidden")
    login = base64.b64encode(b"me:top secret").decode()
    assert web.asked == [("/image?token=hidden", f"Basic {login}")]
    assert other.asked == [("/image", "")]
    everything = f"{done.outcome} {contents(world)}"
    assert "secret" not in everything
    assert "hidden" not in everything


# VMs and volumes


def with_vm(world: World, host: str = "kvm01") -> Any:
    """A VM that is off, a linked clone of the template `base`."""
    pool = world.states[host].pools["default"]
    put_template(pool, "base", IMAGE)
    put_overlay(pool, "vm-web-root.qcow2", "/pools/default/tmpl-base.qcow2")
    pool.volumes["vm-web-root.qcow2"].content += b"its own data"
    controller = world.controller()
    return put_vm(controller.hosts[host], "web", VM_ID, template="base", root="/pools/default/vm-web-root.qcow2")


def test_a_stopped_vm_becomes_a_template_that_stands_alone(world: World) -> None:
    with_vm(world)
    predicted = run(world, check=True, name="golden", vm="web")
    assert predicted.controller.writes == []
    done = run(world, name="golden", vm="web", display_text="Golden")
    assert done.changed
    made = world.pool.volumes["tmpl-golden.qcow2"]
    assert (made.backing, b"its own data" in made.content, made.mode) == ("", True, 0o600)
    assert done.template["checksum"] == sha256(made.content)
    assert (done.template["size_gib"], done.template["source"]) == (predicted.template["size_gib"], "vm:web")
    # the VM may change or go: the template stays as it is
    world.state.domains.clear()
    again = run(world, name="golden", vm="web")
    assert (again.changed, again.controller.writes) == (False, [])


def test_the_copy_of_a_vm_goes_to_all_hosts() -> None:
    world = make_world(hosts=3, template=False)
    with_vm(world, "kvm02")
    done = run(world, name="golden", vm="web", hosts=["kvm01", "kvm02"])
    assert done.template["hosts"] == ["kvm01", "kvm02"]
    world.states["kvm02"].domains.clear()
    later = run(world, name="golden", vm="web")
    assert (later.template["hosts"], later.template["problems"]) == (["kvm01", "kvm02", "kvm03"], [])
    images = {host["default/tmpl-golden.qcow2"] for host in contents(world).values()}
    assert len(images) == 1


def test_a_vm_that_is_not_at_rest(world: World) -> None:
    domain = with_vm(world)
    world.controller().hosts["kvm01"].start(domain.config.id)
    refused = run(world, name="golden", vm="web")
    assert (refused.code, refused.controller.writes) == ("InvalidState", [])
    assert run(world, name="golden", vm="nobody").code == "NotFound"


def test_the_host_of_the_vm_has_to_be_one_of_the_templates() -> None:
    world = make_world(hosts=2, template=False)
    with_vm(world, "kvm02")
    assert run(world, name="golden", vm="web", hosts=["kvm01"]).code == "InvalidInput"


def test_another_source_is_a_conflict(world: World, tmp_path: Path) -> None:
    with_vm(world)
    put_template(world.pool, "golden", OTHER)
    assert run(world, name="golden", vm="web").code == "Conflict"
    assert run(world, name="golden", vm="web", forced=True).changed
    assert not run(world, name="golden", vm="web", forced=True).changed


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_a_volume_becomes_a_template(world: World, image_format: str) -> None:
    volume = MemoryVolume(qcow2_bytes(1024**3, b"data"))
    volume.probe()
    world.pool.volumes["vol-data.qcow2"] = volume
    done = run(world, name="data", volume="default/vol-data.qcow2", format=image_format)
    assert (done.template["state"], done.template["format"]) == ("Ready", image_format)
    assert not run(world, name="data", volume="default/vol-data.qcow2").changed


def test_a_volume_in_use_or_missing(world: World) -> None:
    domain = with_vm(world)
    world.controller().hosts["kvm01"].start(domain.config.id)
    assert run(world, name="x", volume="default/vm-web-root.qcow2").code == "InvalidState"
    assert run(world, name="x", volume="default/nothing").code == "NotFound"
    assert run(world, name="x", volume="nowhere/nothing").code == "NotFound"
