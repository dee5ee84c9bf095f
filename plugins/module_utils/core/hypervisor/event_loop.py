# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's event loop: what events and keepalive need, in one thread for all connections of this process."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock, Thread
from time import sleep
from typing import Any

from .translate import libvirt

_REST = 0.002
"""Seconds between two turns. While threads take turns on a connection, the loop has something to look at all the time:
it would take the processor, and Python's lock, from the very calls it serves."""
_LAST_TURNS = 5
"""Milliseconds in which the loop frees what the last connection leaves to it."""


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
