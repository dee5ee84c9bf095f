# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting: within a time limit, without asking anybody anything; and libvirt's errors in our words."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import connection, translate
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import event_loop, open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import GuestNeeds
from support.test_driver import driver_host


def refused(uri: str, timeout: float = 5) -> AblestackError:
    with pytest.raises(AblestackError) as raised:
        open_host(HostSpec("kvm01", uri), timeout=timeout)
    return raised.value


@pytest.fixture
def silent_socket(tmp_path: Path) -> Iterator[str]:
    """A daemon that takes connections and never says a word."""
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        yield path


def loop_ended() -> None:
    """Waits until it is no longer turning, as it does where nobody is connected."""
    end = time.monotonic() + 10
    while event_loop.turns:
        assert time.monotonic() < end, "nobody is connected, and the loop goes on"
        time.sleep(0.01)


def test_a_host_that_is_not_there() -> None:
    error = refused("qemu+unix:///system?socket=/nowhere/sock")
    assert error.code is Code.HOST_UNAVAILABLE
    assert error.message == "host 'kvm01' cannot be reached at qemu+unix:///system?socket=/nowhere/sock"
    assert "/nowhere/sock" in error.hint
    assert "\n" not in error.sentence


def test_a_uri_nobody_understands() -> None:
    assert refused("nonsense://host/").code is Code.HOST_UNAVAILABLE
    assert refused("test:///nowhere.xml").code is Code.HOST_UNAVAILABLE


def test_a_host_that_never_answers_is_given_up(silent_socket: str) -> None:
    error = refused(f"qemu+unix:///system?socket={silent_socket}", timeout=0.2)
    assert error.code is Code.HOST_UNAVAILABLE
    assert "did not answer within 0.2 seconds" in error.message


def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, closed = threading.Event(), threading.Event()

    class Late:
        def close(self) -> None:
            closed.set()

    def slow(uri: str) -> Late:
        opening.wait(10)
        return Late()

    monkeypatch.setattr(libvirt, "open", slow)
    assert refused("test:///default", timeout=0.05).code is Code.HOST_UNAVAILABLE
    opening.set()
    assert closed.wait(10)


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("qemu+ssh://root@kvm01/system", "qemu+ssh://root@kvm01/system?no_tty=1"),
        ("qemu+ssh://kvm01/system?keyfile=/k", "qemu+ssh://kvm01/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://kvm01/system?no_tty=0", "qemu+ssh://kvm01/system?no_tty=0"),
        ("qemu+tls://kvm01/system", "qemu+tls://kvm01/system"),
        ("qemu:///system", "qemu:///system"),
    ],
)
def test_ssh_asks_nobody_for_a_password(uri: str, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uris: list[str] = []

    def open_read_only(uri: str) -> Any:
        uris.append(uri)
        return libvirt.open("test:///default")

    monkeypatch.setattr(libvirt, "openReadOnly", open_read_only)
    open_host(HostSpec("kvm01", uri), read_only=True).close()
    assert uris == [opened]


def test_without_the_binding_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    loop_ended()  # that of an earlier test has the binding
    monkeypatch.setattr(connection, "libvirt", None)
    error = refused("qemu:///system")
    assert error.code is Code.UNSUPPORTED
    assert "python3-libvirt" in error.sentence
    assert "libvirt-python" in error.sentence


def test_libvirt_prints_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with driver_host(tmp_path) as host, pytest.raises(AblestackError):
        host.start("aaaaaaaa-0000-4000-8000-00000000000f")
    assert capfd.readouterr().err == ""


def raised_error(name: str, text: str = "words", source: str = "VIR_FROM_QEMU") -> Any:
    """As the binding raises it."""
    error = libvirt.libvirtError("")
    number = getattr(libvirt, f"VIR_ERR_{name}")
    error.err = (number, getattr(libvirt, source), text, 2, text, None, None, -1, -1)
    error.args = (text,)
    return error


CODES = {
    "NO_DOMAIN": Code.NOT_FOUND,
    "NO_STORAGE_POOL": Code.NOT_FOUND,
    "NO_STORAGE_VOL": Code.NOT_FOUND,
    "NO_NETWORK": Code.NOT_FOUND,
    "NO_DOMAIN_SNAPSHOT": Code.NOT_FOUND,
    "STORAGE_VOL_EXIST": Code.ALREADY_EXISTS,
    "OPERATION_INVALID": Code.INVALID_STATE,
    "RESOURCE_BUSY": Code.CONFLICT,
    "OPERATION_TIMEOUT": Code.CONFLICT,
    "AGENT_UNRESPONSIVE": Code.AGENT_UNAVAILABLE,
    "AUTH_FAILED": Code.HOST_UNAVAILABLE,
    "ACCESS_DENIED": Code.HOST_UNAVAILABLE,
    "RPC": Code.HOST_UNAVAILABLE,
    "OPERATION_DENIED": Code.INTERNAL,
    "CONFIG_UNSUPPORTED": Code.UNSUPPORTED,
    "NO_SUPPORT": Code.UNSUPPORTED,
    "XML_ERROR": Code.INTERNAL,
    "INTERNAL_ERROR": Code.INTERNAL,
    "OPERATION_FAILED": Code.INTERNAL,
}


@pytest.mark.parametrize("name", CODES)
def test_an_error_by_its_code(name: str) -> None:
    error = translate.translate(raised_error(name, "first line\nsecond line"), "start VM 'web'", "kvm01")
    assert error.code is CODES[name]
    assert error.message == "host 'kvm01' could not start VM 'web'"
    assert error.hint
    assert "\n" not in error.sentence
    assert error.details["libvirt"] == "first line\nsecond line"
    assert error.details["libvirt_code"] == getattr(libvirt, f"VIR_ERR_{name}")


def test_every_code_we_name_is_libvirts() -> None:
    """A misspelt name would never match anything; two are newer than the oldest libvirt we run on."""
    unknown = {name for name in translate._CODES if not hasattr(libvirt, f"VIR_ERR_{name}")}
    assert unknown <= {"AGENT_COMMAND_TIMEOUT", "AGENT_COMMAND_FAILED"}


def test_an_error_without_a_code_is_none_of_the_unknown_ones() -> None:
    bare = libvirt.libvirtError("words")
    bare.err = None
    assert translate.translate(bare, "do", "kvm01").code is Code.INTERNAL


@pytest.mark.parametrize("name", ["INTERNAL_ERROR", "SYSTEM_ERROR", "OPERATION_FAILED"])
def test_errors_libvirt_has_no_code_for(name: str) -> None:
    for text, code in (
        ("qemu-img: x.qcow2: No space left on device", Code.INSUFFICIENT_CAPACITY),
        ("Error: Error while writing VM state: Input/output error\r\n", Code.INSUFFICIENT_CAPACITY),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", Code.INSUFFICIENT_CAPACITY),
        ("Network is already in use by interface eth0", Code.CONFLICT),
        (
            "internal error: process exited while connecting to monitor: Could not access KVM kernel module: Permission"
            " denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied",
            Code.UNSUPPORTED,
        ),
        ("Unable to access credentials /etc/pki/qemu/ca-cert.pem: No such file or directory", Code.UNSUPPORTED),
    ):
        assert translate.translate(raised_error(name, text), "do", "kvm01").code is code


def test_an_error_of_the_wire_means_the_host_is_gone() -> None:
    error = raised_error("INTERNAL_ERROR", "client socket is closed", "VIR_FROM_RPC")
    assert translate.translate(error, "do", "kvm01").code is Code.HOST_UNAVAILABLE


def test_an_endless_text_is_cut() -> None:
    error = translate.translate(raised_error("INTERNAL_ERROR", "x" * 100_000), "do", "kvm01")
    assert len(error.sentence) < 500
    assert len(error.details["libvirt"]) == 1000


def test_an_error_without_words() -> None:
    assert translate.translate(raised_error("INTERNAL_ERROR", ""), "do", "kvm01").code is Code.INTERNAL


@pytest.mark.parametrize(
    ("code", "text", "refuses"),
    [
        ("CPU_INCOMPATIBLE", "the CPU is incompatible with host CPU: missing features: avx2", True),
        ("INTERNAL_ERROR", "internal error: Unknown CPU feature vaes-next", True),
        ("INTERNAL_ERROR", "internal error: Unknown CPU model Newest-Server", True),
        ("INTERNAL_ERROR", "internal error: out of luck", False),
    ],
)
def test_a_processor_that_a_host_lacks_or_has_never_heard_of(
    code: str, text: str, refuses: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Reader:
        def getDomainCapabilities(self, *_where: Any) -> str:  # noqa: N802 - libvirt's
            return "<domainCapabilities/>"

        def compareHypervisorCPU(self, *_what: Any) -> int:  # noqa: N802
            raise raised_error(code, text)

    needs = GuestNeeds("pc-q35-7.2", "qemu", "<cpu/>")
    with driver_host(tmp_path) as host:
        monkeypatch.setattr(host, "_for_reading", Reader)
        if refuses:
            assert host.refuses_guest(needs) == text
            return
        with pytest.raises(AblestackError) as raised:
            host.refuses_guest(needs)
    assert raised.value.code is Code.INTERNAL


def seen_stopping(folder: Path) -> bool:
    """Whether the event of a domain that is destroyed comes."""
    seen = threading.Event()
    with driver_host(folder) as host:
        connection = host._connection
        number = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *_arguments: seen.set(), None
        )
        connection.lookupByName("others").destroy()
        came = seen.wait(10)
        connection.domainEventDeregisterAny(number)
    return came


def test_events_come_in_a_fork_as_well(tmp_path: Path) -> None:
    """Ansible forks after the inventory plugin has read its hosts."""
    assert seen_stopping(tmp_path)
    loop_ended()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if seen_stopping(tmp_path) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seen_stopping(tmp_path)
