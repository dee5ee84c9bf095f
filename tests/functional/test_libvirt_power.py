# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a guest that obeys at once, late, not at all, or does something else; with events and without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_power
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.samples import ID, vm_config
from support.test_driver import driver_host

SOON = 0.02
LONG = 30  # never waited for: what is expected comes first


class StubbornGuest:
    """A domain of the test driver between us and it: `obey` says what the guest does with which press."""

    def __init__(self, domain: Any) -> None:
        self.domain = domain
        self.presses: list[str] = []
        self.obey: Callable[[int], None] = lambda count: None

    def _press(self, kind: str) -> int:
        self.presses.append(kind)
        self.obey(len(self.presses))
        return 0

    def shutdown(self) -> int:
        return self._press("shutdown")

    def shutdownFlags(self, flags: int) -> int:  # noqa: N802
        return self._press(f"button {flags}")

    def reboot(self, flags: int) -> int:
        return self._press(f"reboot {flags}")

    def off(self) -> None:
        self.domain.destroy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.domain, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_power, "CHECK_EVERY", SOON)
    monkeypatch.setattr(libvirt_power, "PRESS_EVERY", SOON)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    with driver_host(tmp_path) as connected:
        connected.define(vm_config(virt_type="test"))
        connected.start(ID)
        connected._domains[ID] = StubbornGuest(connected._domains[ID])
        yield connected


@pytest.fixture
def guest(host: Any) -> StubbornGuest:
    found: StubbornGuest = host._domains[ID]
    return found


class AtOnce:
    """In place of a thread: begun is done, so that presses are counted in their order on a machine that stalls, too."""

    def __init__(self, target: Callable[[], None], **_name: Any) -> None:
        self.start = target


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_power, "Thread", AtOnce)


def no_events(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise libvirt.libvirtError("no events")

    monkeypatch.setattr(host._connection, "domainEventRegisterAny", refuse)


def test_one_request_to_a_guest_that_obeys(host: Any, guest: StubbornGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_power, "CHECK_EVERY", LONG)  # the event must do
    guest.obey = lambda count: guest.off()
    assert host.shutdown(ID, LONG)
    assert guest.presses == ["shutdown"]


@pytest.mark.usefixtures("one_thread")
def test_a_guest_that_was_still_booting_gets_the_button_again(host: Any, guest: StubbornGuest) -> None:
    guest.obey = lambda count: guest.off() if count == 3 else None
    assert host.shutdown(ID, LONG)
    assert guest.presses == ["shutdown", "button 1", "button 1"]


def test_an_event_that_is_lost_is_made_up_for(host: Any, guest: StubbornGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    no_events(host, monkeypatch)
    guest.obey = lambda count: guest.off()
    assert host.shutdown(ID, LONG)


def test_a_guest_that_does_not_care_keeps_its_power(host: Any, guest: StubbornGuest) -> None:
    assert host.shutdown(ID, 5 * SOON) is False
    assert guest.isActive()
    assert host.shutdown(ID, 0) is False


def test_an_agent_that_holds_the_request_does_not_hold_us(host: Any, guest: StubbornGuest) -> None:
    release = threading.Event()
    guest.obey = lambda count: release.wait(LONG) and None
    try:
        assert host.shutdown(ID, 5 * SOON) is False
    finally:
        release.set()


def refuse(count: int) -> None:
    error = libvirt.libvirtError("")
    error.err = (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_FROM_QEMU, "no way", 2, "", None, None, 0, 0)
    raise error


def test_a_request_that_is_refused_is_told(host: Any, guest: StubbornGuest) -> None:
    guest.obey = refuse
    for call in (host.shutdown, host.reboot):
        with pytest.raises(AblestackError, match="VM 'web1'") as raised:
            call(ID, LONG)
        assert raised.value.code is Code.UNSUPPORTED


def test_a_button_that_is_refused_later_is_not(host: Any, guest: StubbornGuest) -> None:
    def obey(count: int) -> None:
        if count == 4:
            guest.off()
        elif count > 1:
            refuse(count)

    guest.obey = obey
    assert host.shutdown(ID, LONG)


def test_what_is_off_is_shut_down_already(host: Any, guest: StubbornGuest) -> None:
    guest.off()
    guest.obey = refuse
    assert host.shutdown(ID, LONG)


def tell(host: Any, what: str) -> None:
    host._events._tell(ID, what)


@pytest.mark.usefixtures("one_thread")
def test_a_reboot_is_believed_by_its_event(host: Any, guest: StubbornGuest) -> None:
    guest.obey = lambda count: tell(host, libvirt_power.REBOOTED) if count == 2 else None
    assert host.reboot(ID, LONG)
    assert guest.presses == ["reboot 0", "reboot 1"]


def test_a_guest_that_does_not_reboot(host: Any, guest: StubbornGuest) -> None:
    assert host.reboot(ID, 5 * SOON) is False
    assert guest.isActive()


def test_a_guest_that_goes_down_instead(host: Any, guest: StubbornGuest) -> None:
    guest.obey = lambda count: guest.off()
    with pytest.raises(AblestackError, match="went down instead of rebooting") as raised:
        host.reboot(ID, LONG)
    assert raised.value.code is Code.INVALID_STATE


@pytest.mark.usefixtures("one_thread")
def test_a_reboot_on_the_way_down_is_no_shutdown(host: Any, guest: StubbornGuest) -> None:
    def obey(count: int) -> None:
        tell(host, libvirt_power.REBOOTED) if count == 1 else guest.off()

    guest.obey = obey
    assert host.shutdown(ID, LONG)
    assert len(guest.presses) == 2


def test_the_events_of_others_are_theirs(host: Any, guest: StubbornGuest) -> None:
    guest.obey = lambda count: host._events._tell("somebody", libvirt_power.STOPPED)
    assert host.shutdown(ID, 5 * SOON) is False


def test_a_closed_connection_has_no_callbacks_left(host: Any, guest: StubbornGuest) -> None:
    guest.obey = lambda count: guest.off()
    host.shutdown(ID, LONG)
    assert len(host._connection.domainEventCallbackID) == 2
    host._events.close()
    assert len(host._connection.domainEventCallbackID) == 0


def test_saved_memory_is_told_and_given_up(host: Any) -> None:
    def saved() -> tuple[bool, bool]:
        by_listing = next(ref for ref in host.domains() if ref.id == ID)
        by_id = host.domain(ID)
        assert by_id is not None
        return host.vm(by_listing).saved, host.vm(by_id).saved

    assert saved() == (False, False)
    host.start(ID)
    host._domains[ID].managedSave(0)
    assert saved() == (True, True)
    host.drop_saved(ID)
    assert saved() == (False, False)
    host.drop_saved(ID)
    host.start(ID)
    host._domains[ID].managedSave(0)
    assert saved() == (True, True)
    host.start(ID)
    assert saved() == (False, False)
