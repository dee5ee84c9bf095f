# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests through libvirt: their addresses, their agents, and what they say on the serial console."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from threading import Lock
from time import monotonic, sleep
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.vm import VmFacts
from .guest_answer import Answer
from .libvirt_power import LibvirtPower
from .libvirt_shell import LibvirtShell
from .port import SOURCES
from .translate import libvirt, translate

OUTPUT_LIMIT = 4096
TAIL_LINES = 20
SHELL_SECONDS = 10
"""For one answer of the agent while it works for us: it is slow when the guest is busy."""
_TAIL_BYTES = 64 * 1024
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(raw: bytes) -> str:
    """A guest's bytes as text for people: terminal sequences and control characters are left out."""
    return _CONTROL.sub("", raw.decode("utf-8", "replace").replace("\r\n", "\n"))


class LibvirtGuests(LibvirtPower):
    """port.Guests, and the addresses of port.Domains."""

    def addresses(self, vm: VmFacts, sources: tuple[str, ...] = SOURCES) -> Mapping[str, tuple[str, ...]]:
        if vm.live is None:
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for source in sources:
            missing = [nic for nic in vm.live.nics if nic.mac not in found]
            if source == "reservation":
                found = {**vm.requested_addresses(sure=True), **found}
                continue
            if source == "lease":
                missing = [nic for nic in missing if nic.leased]
            elif source == "agent" and self.read_only:
                continue  # it is asked by writing to it
            if missing:
                answers = self._interfaces(vm.id, source)
                found.update({nic.mac: answers[nic.mac] for nic in missing if answers.get(nic.mac)})
        if "reservation" in sources:
            found = {**vm.requested_addresses(sure=False), **found}
        present = {nic.mac for nic in vm.live.nics}
        return {mac: found[mac] for mac in found if mac in present}

    def _interfaces(self, vm_id: str, source: str) -> dict[str, tuple[str, ...]]:
        """Addresses by MAC from one source; nothing where it does not answer."""
        kind = {
            "lease": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
            "agent": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
            "arp": libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
        }.get(source)
        if kind is None:
            return {}
        domain = self._domain(vm_id)
        if source == "agent":
            self._bound_agent(vm_id)
        try:
            with self._asks(f"read the addresses of {self._vm(vm_id)}"):
                interfaces = domain.interfaceAddresses(kind, 0)
        except AblestackError as error:
            if error.code is Code.HOST_UNAVAILABLE:
                raise
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for interface in interfaces.values():
            mac = (interface.get("hwaddr") or "").lower()
            found[mac] = found.get(mac, ()) + _usable(interface.get("addrs") or ())
        return {mac: tuple(dict.fromkeys(addresses)) for mac, addresses in found.items()}

    def agent_ping(self, vm_id: str, timeout: float) -> bool:
        try:
            self._agent(vm_id, {"execute": "guest-ping"}, timeout)
        except AblestackError as error:
            if error.code in (Code.AGENT_UNAVAILABLE, Code.UNSUPPORTED):
                return False
            raise
        return True

    def agent_run(self, vm_id: str, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        until = monotonic() + timeout
        arguments = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
        pid = self._agent(vm_id, {"execute": "guest-exec", "arguments": arguments}, timeout).number("pid")
        pause = 0.1
        while True:
            asked = {"execute": "guest-exec-status", "arguments": {"pid": pid}}
            status = self._agent(vm_id, asked, max(until - monotonic(), 1))
            if status.flag("exited"):
                output = status.data("out-data") or status.data("err-data")
                code = status.number("exitcode") if status.has("exitcode") else -1
                return code, plain(output[:OUTPUT_LIMIT])
            if monotonic() + pause > until:
                raise AblestackError(
                    Code.AGENT_UNAVAILABLE,
                    f"'{command[0]}' in {self._vm(vm_id)} was not done within {timeout:g} seconds",
                    "see what keeps the guest busy, and try again",
                )
            sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def guest_shell(self, vm_id: str, timeout: float) -> LibvirtShell:
        def ask(verb: str, **arguments: Any) -> Answer:
            return self._agent(vm_id, {"execute": verb, "arguments": arguments}, SHELL_SECONDS)

        return LibvirtShell(ask, self._vm(vm_id), timeout)

    def _agent(self, vm_id: str, message: Mapping[str, Any], timeout: float) -> Answer:
        """What the agent returns; AgentUnavailable where none answers in time, or no sense is in it."""
        import libvirt_qemu

        self._bound_agent(vm_id)
        domain = self._domain(vm_id)
        doing = f"have {message['execute']} done by the guest agent of {self._vm(vm_id)}"
        try:
            answer = libvirt_qemu.qemuAgentCommand(domain, json.dumps(message), max(int(timeout), 1), 0)
        except libvirt.libvirtError as error:
            told = translate(error, doing, self.spec.name)
            if told.code is Code.INTERNAL:  # before libvirt 9.2 an agent's own refusal has no code
                told.code = Code.AGENT_UNAVAILABLE
            raise told from None
        return Answer.of(answer, self._vm(vm_id))

    def console_tail(self, vm_id: str) -> Tail:
        with self._asks(f"listen to the console of {self._vm(vm_id)}"):
            tail = Tail(self._connection)
        with suppress(libvirt.libvirtError):  # somebody else may have the console
            tail.open(self._domain(vm_id))
        return tail


def _usable(addresses: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Addresses another machine can use, IPv4 first."""
    parsed = []
    for entry in addresses:
        with suppress(ValueError):
            parsed.append(ip_address(str(entry.get("addr")).partition("%")[0]))
    useful = [one for one in parsed if not one.is_loopback and not one.is_link_local]
    return tuple(str(one) for one in sorted(useful, key=lambda one: one.version))


class Tail:
    """port.ConsoleTail over a stream that the event loop reads; empty where the console could not be had."""

    def __init__(self, connection: Any) -> None:
        self._stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        self._lock = Lock()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._open = False

    def open(self, domain: Any) -> None:
        domain.openConsole(None, self._stream, 0)
        events = libvirt.VIR_STREAM_EVENT_READABLE | libvirt.VIR_STREAM_EVENT_HANGUP | libvirt.VIR_STREAM_EVENT_ERROR
        self._open = True
        self._stream.eventAddCallback(events, self._on_data, None)

    def _on_data(self, stream: Any, events: int, _opaque: Any) -> None:
        try:
            data = stream.recv(65536)
        except libvirt.libvirtError:
            data = b""
        if data == -2:  # nothing yet
            return
        with self._lock:
            if not data:  # the guest went away
                self._end(stream.abort)
                return
            self._pieces.append(data)
            self._size += len(data)
            while self._size - len(self._pieces[0]) > _TAIL_BYTES:
                self._size -= len(self._pieces.popleft())

    def _end(self, how: Any) -> None:
        if self._open:
            self._open = False
            with suppress(libvirt.libvirtError):
                self._stream.eventRemoveCallback()
            with suppress(libvirt.libvirtError):
                how()

    def lines(self) -> tuple[str, ...]:
        with self._lock:
            text = plain(b"".join(self._pieces))
        return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-TAIL_LINES:]

    def close(self) -> None:
        with self._lock:
            self._end(self._stream.finish)
