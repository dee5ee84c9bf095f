# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until a started VM is as far as the task wants: running, agent, ip, ssh, cloud_init."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from typing import Callable

from ..hypervisor.port import SOURCES, Host
from ..model.errors import AblestackError, Code
from ..model.vm import VmFacts
from .seeding import told_of_console
from .staying import has_left, staying_on

PAUSE = 0.5  # seconds between two looks
AT_ONCE = ("none", "running")  # what a started VM has reached already
_CALL = 3.0  # seconds a single question to the guest may take
_PROOFS = ("lease", "agent")  # that the guest took its address: a reservation alone does not tell
_SSH_PORT = 22
_LISTENING_SSH = f":{_SSH_PORT:04X} "

Look = Callable[[Host, VmFacts], bool]


class Wait:
    """One VM's wait, made of looks that somebody takes from time to time; close it when done."""

    def __init__(self, host: Host, vm: VmFacts, rung: str, timeout: float) -> None:
        self.vm = vm
        self._host, self._rung, self._timeout = host, rung, timeout
        self._deadline = time.monotonic() + timeout
        with staying_on(host, vm):
            self._tail = host.console_tail(vm.id)

    def look(self) -> VmFacts | None:
        """The VM with its addresses once it got that far, None where it has not; Timeout ends with its console."""
        with staying_on(self._host, self.vm):
            if _RUNGS[self._rung](self._host, self.vm):
                return with_addresses(self._host, self.vm)
        if time.monotonic() >= self._deadline:
            raise _too_late(self.vm, self._rung, self._timeout, self._console())
        _still_there(self._host, self.vm, self._rung, self._console)
        return None

    def _console(self) -> tuple[str, ...]:
        return told_of_console(self._host, self.vm, self._tail.lines())

    def close(self) -> None:
        """Stops listening to the console."""
        self._tail.close()


def wait_for(host: Host, vm: VmFacts, rung: str, timeout: float) -> VmFacts:
    """Returns the VM with its addresses once it got that far; Timeout ends with the last lines of its console."""
    if rung in AT_ONCE:
        return vm
    wait = Wait(host, vm, rung, timeout)
    try:
        while (found := wait.look()) is None:
            time.sleep(PAUSE)
        return found
    finally:
        wait.close()


def with_addresses(host: Host, vm: VmFacts) -> VmFacts:
    """The VM with the addresses its NICs have now."""
    return replace(vm, addresses=host.addresses(vm))


def _still_there(host: Host, vm: VmFacts, rung: str, console: Callable[[], tuple[str, ...]]) -> None:
    """A guest that powers off will never get there: say so at once."""
    ref = host.domain(vm.id)
    if ref is None:
        raise has_left(vm)
    if ref.power.value in ("off", "crashed"):
        lines = console()
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' went down while waiting for {rung}{_quoted(lines)}",
            "look at its console",
            console=list(lines),
        )


def _too_late(vm: VmFacts, rung: str, timeout: float, console: tuple[str, ...]) -> AblestackError:
    return AblestackError(
        Code.TIMEOUT,
        f"VM '{vm.name}' runs but did not reach '{rung}' within {timeout:g} s",
        f"raise wait_timeout, or wait for less{_quoted(console)}",
        console=list(console),
    )


def _quoted(console: tuple[str, ...]) -> str:
    return f"; the end of its console: {' | '.join(console[-5:])}" if console else ""


def _agent(host: Host, vm: VmFacts) -> bool:
    return host.agent_ping(vm.id, _CALL)


def _address(host: Host, vm: VmFacts, sources: tuple[str, ...] = _PROOFS) -> str:
    found = host.addresses(vm, sources).get(_default_nic(vm), ())
    return next((ip for ip in found if ":" not in ip), found[0] if found else "")


def _default_nic(vm: VmFacts) -> str:
    """The MAC of the first NIC in the record: a running definition has them as they were plugged in."""
    there = [nic.mac for nic in (vm.live or vm.config).nics]
    recorded = [nic.mac for nic in vm.record.nics] if vm.record else []
    return next((mac for mac in (*recorded, *there) if mac in there), "")


def _ip(host: Host, vm: VmFacts) -> bool:
    return bool(_address(host, vm))


def _ssh(host: Host, vm: VmFacts) -> bool:
    """By network where there is a route from here, else by asking the guest whether something listens on port 22.

    Who answers with SSH's banner has the address: so one that it was given without any DHCP is tried, too.
    """
    address = _address(host, vm, SOURCES)
    if not address:
        return False
    try:
        with socket.create_connection((address, _SSH_PORT), timeout=_CALL) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        pass
    try:
        _code, table = host.agent_run(vm.id, ("cat", "/proc/net/tcp", "/proc/net/tcp6"), _CALL)
    except AblestackError:
        return False
    return _ip(host, vm) and any(_LISTENING_SSH in line and " 0A " in line for line in table.splitlines())


def _cloud_init(host: Host, vm: VmFacts) -> bool:
    """Its result file is of this boot and appears last; to ask cloud-init itself costs a slow guest too much."""
    try:
        code, text = host.agent_run(vm.id, ("cat", "/run/cloud-init/result.json"), _CALL)
        result = json.loads(text) if code == 0 else None
    except (AblestackError, ValueError, RecursionError):  # a guest may say anything
        return False
    if not isinstance(result, dict):
        return False
    first = result.get("v1")
    if isinstance(first, dict) and first.get("errors"):
        raise AblestackError(
            Code.INVALID_STATE,
            f"cloud-init failed in VM '{vm.name}'",
            "look at /var/log/cloud-init-output.log in the guest",
        )
    return True


_RUNGS: dict[str, Look] = {"agent": _agent, "ip": _ip, "ssh": _ssh, "cloud_init": _cloud_init}
