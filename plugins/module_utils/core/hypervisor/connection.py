# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting to a host within a time limit, the loop behind it, and what every part of a connected host shares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from threading import Lock, Thread
from time import sleep
from typing import Any

from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code
from .port import Host
from .translate import code_of, libvirt, translate, translated

OPEN_TIMEOUT = 15.0
KEEPALIVE = (5, 6)
"""Seconds between two signs of life, and how many may be missed: a host that dies is noticed in half a minute."""

_REST = 0.002
"""Seconds between two turns. While threads take turns on a connection, the loop has something to look at all the time:
it would take the processor, and Python's lock, from the very calls it serves."""
_LAST_TURNS = 5
"""Milliseconds in which the loop frees what the last connection leaves to it."""


def open_host(spec: HostSpec, read_only: bool = False, timeout: float = OPEN_TIMEOUT) -> Host:
    """Connects a host. A read-only connection refuses every write by itself, as check mode wants it.

    Some reads libvirt grants to writers only (a volume's content, what a host's QEMU can do). For those, and
    nothing else, a read-only host opens a second connection when the first of them is asked.
    HostUnavailable when it cannot be reached within `timeout` seconds, Unsupported without libvirt-python.
    """
    if libvirt is None:
        raise AblestackError(
            Code.UNSUPPORTED,
            "the Python binding of libvirt is missing where this module runs",
            "install the package python3-libvirt there, or libvirt-python from PyPI",
        )
    from .libvirt_host import LibvirtHost  # needs the binding

    return LibvirtHost(
        spec, _open_in_time(spec, read_only, timeout), read_only, lambda: _open_in_time(spec, False, timeout)
    )


def _open_in_time(spec: HostSpec, read_only: bool, timeout: float) -> Any:
    """Opens in a thread of its own, since libvirt cannot be told to give up. `close_connection` ends it."""
    event_loop.enter()  # the loop has to be there before the connection
    try:
        connection = _tried(spec, read_only, timeout)
    except AblestackError:
        event_loop.leave()
        raise
    with suppress(libvirt.libvirtError):  # not every driver has it
        connection.setKeepAlive(*KEEPALIVE)
    return connection


def close_connection(connection: Any) -> None:
    with suppress(libvirt.libvirtError):
        connection.close()
    event_loop.leave()


def _tried(spec: HostSpec, read_only: bool, timeout: float) -> Any:
    attempt = _Attempt(_quiet(spec.uri), read_only)
    attempt.thread.start()
    attempt.thread.join(timeout)
    connection, error = attempt.take()
    if error is not None:
        raise _unavailable(spec, error)
    if connection is None:
        raise AblestackError(
            Code.HOST_UNAVAILABLE,
            f"host '{spec.name}' did not answer within {timeout:g} seconds",
            f"check that {spec.uri} can be reached from where this module runs",
            host=spec.name,
        )
    return connection


class _Attempt:
    """One try to open a connection; whatever comes after it was given up is closed."""

    def __init__(self, uri: str, read_only: bool) -> None:
        self.thread = Thread(target=self._open, args=(uri, read_only), name="libvirt open", daemon=True)
        self._lock = Lock()
        self._taken = False
        self._connection: Any = None
        self._error: Any = None

    def _open(self, uri: str, read_only: bool) -> None:
        connection = error = None
        try:
            connection = libvirt.openReadOnly(uri) if read_only else libvirt.open(uri)
        except libvirt.libvirtError as raised:
            error = raised
        with self._lock:
            self._connection, self._error = connection, error
            late = self._taken
        if late and connection is not None:
            connection.close()

    def take(self) -> tuple[Any, Any]:
        """The connection or the error, neither where there is none yet."""
        with self._lock:
            self._taken = True
            return self._connection, self._error


def _quiet(uri: str) -> str:
    """Ssh must not ask for a password or a host key on somebody's terminal."""
    scheme, _colon, rest = uri.partition("://")
    if not scheme.endswith("+ssh") or "no_tty=" in rest:
        return uri
    return f"{uri}{'&' if '?' in rest else '?'}no_tty=1"


def _unavailable(spec: HostSpec, error: Any) -> AblestackError:
    told = translate(error, "be connected", spec.name)
    lines = [line.strip() for line in str(told.details["libvirt"]).splitlines() if line.strip()]
    return AblestackError(
        Code.HOST_UNAVAILABLE,
        f"host '{spec.name}' cannot be reached at {spec.uri}",
        f"libvirt says: {lines[0][:200] if lines else 'nothing'}",
        **told.details,
    )


class EventLoop:
    """Turns while somebody is in it: `enter` before a connection is opened, `leave` after it is closed.

    Not longer, for Ansible forks once the inventory has read its hosts: libvirt's loop belongs to the thread that waits
    in it, a fork has the loop without that thread, and it would never turn there: no event, no keepalive.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._registered = False
        self._ending = False
        self._thread: Thread | None = None

    @property
    def turns(self) -> bool:
        with self._lock:
            return self._thread is not None and self._thread.is_alive()  # of a thread, a fork has only the memory

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            self._ending = False
            if not self._registered:
                # libvirt would print every error to stderr, on top of raising it
                libvirt.registerErrorHandler(lambda _context, _error: None, None)
                libvirt.virEventRegisterDefaultImpl()
                self._registered = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._turn, name="libvirt events", daemon=True)
                self._thread.start()

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                libvirt.virEventAddTimeout(_LAST_TURNS, self._end, None)

    def _end(self, timer: int, _opaque: Any) -> None:
        libvirt.virEventRemoveTimeout(timer)
        with self._lock:
            self._ending = self._inside == 0

    def _turn(self) -> None:
        while True:
            with suppress(libvirt.libvirtError):
                libvirt.virEventRunDefaultImpl()
            with self._lock:
                if self._ending:
                    self._thread = None
                    return
            sleep(_REST)


event_loop = EventLoop()


class Session:
    """The connection, and the handles of what was seen through it: a look-up is a round trip, so none is made twice."""

    def __init__(self, spec: HostSpec, connection: Any, read_only: bool, open_reader: Callable[[], Any]) -> None:
        self.spec = spec
        self._open_reader = open_reader
        self._reader: Any = None
        self._reader_lock = Lock()
        self.read_only = read_only
        self._connection = connection
        self._domains: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # by id; a handle does not learn of a rename
        self._running: dict[str, bool] = {}  # by id, as last seen
        self._saved: frozenset[str] | None = None  # ids of those whose memory is saved, as of the last listing
        self._alone: set[str] = set()  # ids of those that were looked up one by one since
        self._bounded: set[str] = set()  # whose guest agent cannot hang us

    def _for_reading(self) -> Any:
        """The connection for reads that libvirt grants to writers only; callers must not write through it."""
        if not self.read_only:
            return self._connection
        with self._reader_lock:
            if self._reader is None:
                self._reader = self._open_reader()
        return self._reader

    def _asks(self, doing: str) -> AbstractContextManager[None]:
        """Around calls of libvirt: its errors become ours, saying what could not be done."""
        return translated(doing, self.spec.name)

    def _domain(self, vm_id: str) -> Any:
        """The domain's handle; NotFound where there is no such domain."""
        if vm_id not in self._domains:
            with self._asks(f"find the domain {vm_id}"):
                self._keep(self._connection.lookupByUUIDString(vm_id))
        return self._domains[vm_id]

    def _keep(self, domain: Any) -> str:
        vm_id: str = domain.UUIDString()
        self._domains[vm_id] = domain
        self._names[vm_id] = domain.name()
        return vm_id

    def _vm(self, vm_id: str) -> str:
        """The VM as errors name it."""
        return f"VM '{self._names.get(vm_id, vm_id)}'"

    def _forget(self, vm_id: str) -> None:
        self._domains.pop(vm_id, None)
        self._running.pop(vm_id, None)
        self._bounded.discard(vm_id)

    def _power_is_on(self, vm_id: str) -> bool:
        """Asks the host whether it runs, paused or not; a domain that is gone does not."""
        domain = self._domain(vm_id)
        with self._asks(f"look at the power of {self._vm(vm_id)}"):
            try:
                self._running[vm_id] = bool(domain.isActive())
            except libvirt.libvirtError as error:
                if not code_of(error, "NO_DOMAIN"):
                    raise
                self._running[vm_id] = False
        return self._running[vm_id]
