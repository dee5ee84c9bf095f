# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a memory host lends of its guests: a shell through the agent, and the console."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code

from .memory_state import Guest, MemoryDomain


class MemoryShell:
    """Commands and files in a guest in memory: its answers, and a dictionary of files."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def run(self, command: tuple[str, ...], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        if self._guest.agent != "present":
            raise AblestackError(Code.AGENT_UNAVAILABLE, "the guest agent does not answer")
        code, output = self._guest.answers.get(command, (0, ""))
        return code, output.encode(), b""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        self._guest.files[path] = b"".join(chunks)

    def read(self, path: str) -> Iterator[bytes]:
        return iter([self._guest.files[path]])


class MemoryConsole:
    """The serial console of a guest in memory."""

    def __init__(self, domain: MemoryDomain) -> None:
        self._domain = domain
        self.closed = False

    def lines(self) -> tuple[str, ...]:
        return self._domain.guest.console

    def close(self) -> None:
        self.closed = True
