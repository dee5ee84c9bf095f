# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the calls of libvirt that go over the wire, by wrapping the C functions the Python binding is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import libvirt
import libvirt_qemu

# Answered from what the handle carries, or without any host.
LOCAL = re.compile(
    r"vir(Domain|DomainSnapshot|Network|StoragePool|StorageVol)Get(Name|UUID|UUIDString|ID|Key|Connect)"
    r"|vir\w+(Free|Ref|Unref)|virGetLastError|virResetLastError|virEvent\w+|virStreamNew|virStreamSend|virStreamRecv|virStreamEvent\w+"
    r"|virRegisterErrorHandler|virInitialize|virConnectOpen\w*|virConnectClose|virConnectSetKeepAlive"
)


class Trips(list[str]):
    """The names of the functions called, in order."""

    def take(self) -> list[str]:
        """What was called since the last time."""
        taken = list(self)
        self.clear()
        return taken


@contextmanager
def counted_round_trips() -> Iterator[Trips]:
    """Every call inside is noted; a packet of a stream is no round trip, for nothing answers it."""
    trips = Trips()
    wrapped: list[tuple[Any, str, Callable[..., Any]]] = []
    for module in (libvirt.libvirtmod, libvirt_qemu.libvirtmod_qemu):
        for name, function in list(vars(module).items()):
            if name.startswith("vir") and callable(function) and not LOCAL.fullmatch(name):
                wrapped.append((module, name, function))
                setattr(module, name, _noting(trips, name, function))
    try:
        yield trips
    finally:
        for module, name, function in wrapped:
            setattr(module, name, function)


def _noting(trips: Trips, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        trips.append(name)
        return function(*arguments)

    return call
