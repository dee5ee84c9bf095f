# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power through libvirt: start, graceful stop and reboot told by events, and the hard ways."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Callable

from ..model.errors import AblestackError, Code
from .connection import Session
from .translate import libvirt

STOPPED = "stopped"
REBOOTED = "rebooted"
PRESS_EVERY = 10.0
"""Seconds between two presses of the power button: a guest that is still booting does not feel the first."""
CHECK_EVERY = 5.0
"""Seconds between two looks at the state, for events can be lost and some drivers send none."""
AGENT_RESPONSE = 2
"""Seconds an agent may take. Without a limit one that hangs blocks its caller for ever, and all callers after it."""


class Watch:
    """What happens to one VM from now on; entered before the request, so that nothing is missed."""

    def __init__(self, events: Events, vm_id: str) -> None:
        self.vm_id = vm_id
        self.news: SimpleQueue[Any] = SimpleQueue()
        self._events = events

    def __enter__(self) -> Watch:
        self._events.add(self)
        return self

    def __exit__(self, *_error: object) -> None:
        self._events.remove(self)

    def request(self, call: Callable[[], Any], quiet: bool = False) -> None:
        """Makes a call that may block for long; its libvirtError becomes news, unless `quiet`."""

        def run() -> None:
            try:
                call()
            except libvirt.libvirtError as error:
                if not quiet:
                    self.news.put(error)

        Thread(target=run, name=f"request {self.vm_id}", daemon=True).start()

    def next(self, seconds: float) -> Any:
        """STOPPED, REBOOTED, a libvirtError of the request, or None when nothing happened in that time."""
        try:
            return self.news.get(timeout=max(seconds, 0))
        except Empty:
            return None


class Events:
    """The events of a connection: registered once for all its domains, when first wanted."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = Lock()
        self._registered: list[int] | None = None
        self._watches: list[Watch] = []

    def add(self, watch: Watch) -> None:
        with self._lock:
            if self._registered is None:
                self._registered = []
                for kind, callback in (
                    (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
                    (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
                ):
                    with suppress(libvirt.libvirtError):  # then the looks at the state must do
                        number = self._connection.domainEventRegisterAny(None, kind, callback, None)
                        self._registered.append(number)
            self._watches.append(watch)

    def remove(self, watch: Watch) -> None:
        with self._lock:
            self._watches.remove(watch)

    def close(self) -> None:
        """Lets the connection go: a registered callback would keep it open."""
        with self._lock:
            for number in self._registered or ():
                with suppress(libvirt.libvirtError):
                    self._connection.domainEventDeregisterAny(number)
            self._registered = None

    def _on_lifecycle(self, _connection: Any, domain: Any, event: int, _detail: int, _opaque: Any) -> None:
        if event in (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_CRASHED):
            self._tell(domain.UUIDString(), STOPPED)

    def _on_reboot(self, _connection: Any, domain: Any, _opaque: Any) -> None:
        self._tell(domain.UUIDString(), REBOOTED)

    def _tell(self, vm_id: str, what: str) -> None:
        with self._lock:
            watches = [watch for watch in self._watches if watch.vm_id == vm_id]
        for watch in watches:
            watch.news.put(what)


class LibvirtPower(Session):
    """The power half of port.Domains."""

    _events: Events

    def start(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"start {self._vm(vm_id)}"):
            try:
                domain.create()
            except libvirt.libvirtError:
                if not self._power_is_on(vm_id):
                    raise
        self._running[vm_id] = True
        self._bounded.discard(vm_id)  # the limit ends with the process

    def drop_saved(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"give up the saved memory of {self._vm(vm_id)}"):
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove()
        self._alone.add(vm_id)

    def resume(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"resume {self._vm(vm_id)}"):
            try:
                domain.resume()
            except libvirt.libvirtError:
                if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                    raise

    def _bound_agent(self, vm_id: str) -> None:
        """Before the first call of a guest's agent: see AGENT_RESPONSE."""
        if vm_id in self._bounded:
            return
        with suppress(libvirt.libvirtError):  # not every driver has agents
            self._domain(vm_id).agentSetResponseTimeout(AGENT_RESPONSE, 0)
        self._bounded.add(vm_id)

    def shutdown(self, vm_id: str, timeout: float) -> bool:
        domain = self._domain(vm_id)
        until = monotonic() + timeout
        with Watch(self._events, vm_id) as watch, self._asks(f"shut down {self._vm(vm_id)}"):
            self._bound_agent(vm_id)
            # Without flags libvirt asks the agent, and the power button where none answers. It waits for the agent
            # to be done, which may take longer than our own time.
            watch.request(domain.shutdown)
            button = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
            return self._wait(watch, until, lambda: domain.shutdownFlags(button))

    def reboot(self, vm_id: str, timeout: float) -> bool:
        domain = self._domain(vm_id)
        until = monotonic() + timeout
        with Watch(self._events, vm_id) as watch, self._asks(f"reboot {self._vm(vm_id)}"):
            self._bound_agent(vm_id)
            watch.request(lambda: domain.reboot(0))
            button = libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN
            if self._wait(watch, until, lambda: domain.reboot(button), rebooting=True):
                return True
        if self._running[vm_id]:
            return False
        raise AblestackError(
            Code.INVALID_STATE, f"{self._vm(vm_id)} went down instead of rebooting", "start it, and look at its log"
        )

    def _wait(self, watch: Watch, until: float, press: Callable[[], Any], rebooting: bool = False) -> bool:
        """Waits for the guest to do as it was asked; False when it did something else, or the time is up."""
        pressed = monotonic()
        while True:
            news = watch.next(min(until - monotonic(), CHECK_EVERY))
            if news == REBOOTED and rebooting:
                return True
            if news == STOPPED or not self._power_is_on(watch.vm_id):
                self._running[watch.vm_id] = False
                return not rebooting
            if isinstance(news, libvirt.libvirtError):
                raise news
            if monotonic() >= until:
                return False
            if monotonic() >= pressed + PRESS_EVERY:
                pressed = monotonic()
                watch.request(press, quiet=True)

    def power_off(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"cut the power of {self._vm(vm_id)}"):
            try:
                domain.destroy()
            except libvirt.libvirtError:
                if self._power_is_on(vm_id):
                    raise
        self._running[vm_id] = False

    def reset(self, vm_id: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"reset {self._vm(vm_id)}"):
            domain.reset(0)
