# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What storage does when libvirt is busy, takes less than it is given, or fails half way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_storage
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import VolumeSpec
from support.test_driver import driver_host


def raised(name: str, text: str) -> Any:
    """As the binding raises it."""
    error = libvirt.libvirtError("")
    error.err = (getattr(libvirt, f"VIR_ERR_{name}"), libvirt.VIR_FROM_STORAGE, text, 2, text, None, None, -1, -1)
    error.args = (text,)
    return error


BUSY = ("INTERNAL_ERROR", "internal error: pool 'default' has asynchronous jobs running.")


class Pool:
    """The handle of a pool whose refresh fails as often as there are errors."""

    def __init__(self, handle: Any, *errors: Any) -> None:
        self.handle, self.errors, self.refreshed = handle, list(errors), 0

    def refresh(self, _flags: int) -> None:
        self.refreshed += 1
        if self.errors:
            raise self.errors.pop(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(libvirt_storage, "sleep", lambda seconds: None)
    with driver_host(tmp_path) as connected:
        connected.pool("default")
        yield connected


def pool_of(host: Any, *errors: Any) -> Pool:
    pool = Pool(host._pools["default"], *errors)
    host._pools["default"] = pool
    return pool


def test_a_pool_that_is_busy_is_asked_again(host: Any) -> None:
    pool = pool_of(host, raised(*BUSY), raised(*BUSY))
    assert host.volume("default", "gone") is None
    assert pool.refreshed == 3


def test_a_pool_that_stays_busy_is_told(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_storage, "BUSY_TIMEOUT", -1)
    pool_of(host, raised(*BUSY))
    with pytest.raises(AblestackError, match="could not read volume 'gone' of pool 'default'"):
        host.volume("default", "gone")


def test_another_failure_of_a_refresh_is_no_reason_to_wait(host: Any) -> None:
    pool = pool_of(host, raised("SYSTEM_ERROR", "cannot open path '/srv/default'"))
    with pytest.raises(AblestackError):
        host.volume("default", "gone")
    assert pool.refreshed == 1


def test_a_volume_that_is_known_costs_no_refresh(host: Any) -> None:
    host.create_volume(VolumeSpec("default", "here", 1))
    pool = pool_of(host)
    assert host.volume("default", "here")
    assert host.delete_volume("default", "here")
    assert pool.refreshed == 0
    assert not host.delete_volume("default", "here")
    assert pool.refreshed == 1


class Stream:
    """Takes a few bytes at a time, and notes how it ended."""

    def __init__(self, takes: int = 1 << 30) -> None:
        self.takes, self.got, self.ended = takes, b"", ""

    def send(self, data: bytes) -> int:
        self.got += data[: self.takes]
        return min(len(data), self.takes)

    def finish(self) -> None:
        self.ended = "finished"

    def abort(self) -> None:
        self.ended = "aborted"


class Volume:
    def __init__(self, info: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.size, self.deleted = info, False

    def upload(self, *_arguments: Any) -> int:
        return 0

    download = upload

    def info(self) -> tuple[int, int, int]:
        return self.size

    def resize(self, _size: int, _flags: int) -> int:
        raise raised("OPERATION_FAILED", "no way")

    def delete(self, _flags: int) -> int:
        self.deleted = True
        return 0


@pytest.fixture
def stream(host: Any, monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    monkeypatch.setattr(host._connection, "newStream", lambda flags: stream)
    host._volumes["default", "up"] = Volume()
    return stream


def test_what_libvirt_did_not_take_is_sent_again(host: Any, stream: Stream) -> None:
    stream.takes = 7
    host.upload("default", "up", [b"0123456789", b"", b"abcdefghijklmnop"])
    assert (stream.got, stream.ended) == (b"0123456789abcdefghijklmnop", "finished")


@pytest.mark.parametrize(("content", "refreshes"), [(b"QFI\xfb\0\0\0\3", 1), (b"CD001", 0), (b"", 0)])
def test_an_image_is_recognised_after_its_upload(host: Any, stream: Stream, content: bytes, refreshes: int) -> None:
    pool = pool_of(host)
    host.upload("default", "up", [content[:1], content[1:]])
    assert pool.refreshed == refreshes


def test_a_source_that_fails_ends_the_stream(host: Any, stream: Stream) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise AblestackError(Code.CHECKSUM_MISMATCH, "the source is not what it was")

    with pytest.raises(AblestackError, match="not what it was"):
        host.upload("default", "up", broken())
    assert stream.ended == "aborted"


@pytest.mark.parametrize("broken", [False, True])
def test_a_download_is_whole_only_when_libvirt_says_so(
    host: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    def finish() -> None:
        raise raised("INTERNAL_ERROR", "the file could not be read to its end")

    pieces = iter([b"one", b"two", b""])
    monkeypatch.setattr(stream, "recv", lambda size: next(pieces), raising=False)
    if broken:
        monkeypatch.setattr(stream, "finish", finish)
        with pytest.raises(AblestackError, match="could not read the content of volume 'up'"):
            list(host.download("default", "up"))
    else:
        assert list(host.download("default", "up")) == [b"one", b"two"]
    assert stream.ended == ("aborted" if broken else "finished")


def test_a_download_that_nobody_wants_any_more_is_given_up(
    host: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "recv", lambda size: b"more", raising=False)
    content = host.download("default", "up")
    assert next(content) == b"more"
    content.close()
    assert stream.ended == "aborted"


def test_a_clone_that_cannot_be_given_its_size_is_not_left_behind(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.create_volume(VolumeSpec("default", "source", 1))
    small = Volume((0, 1, 0))
    monkeypatch.setattr(host._pools["default"], "createXMLFrom", lambda *_arguments: small)
    with pytest.raises(AblestackError, match="could not resize volume 'clone'"):
        host.clone_volume(VolumeSpec("default", "clone", 1 << 30), "default/source")
    assert small.deleted


def test_a_pool_read_anew_is_looked_at_first(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(type(host), "_refresh", staticmethod(lambda handle: looked.append(handle.name())))
    assert host.pool("default").available
    assert looked == []
    assert host.pool("default", anew=True).available
    assert looked == ["default"]
