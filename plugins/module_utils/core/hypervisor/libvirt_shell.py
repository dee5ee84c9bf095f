# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and files in a guest, by its agent's verbs: guest-exec and guest-file-*."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from time import monotonic, sleep
from typing import Any, Callable

from ..model.errors import AblestackError, Code
from .guest_answer import Answer

PIECE = 64 * 1024
"""Bytes in one message. An agent reads a message to its end before it answers, and a slow guest is slow at that."""
PAUSES = (0.01, 0.5)  # seconds between two looks whether a command has ended: the first, and the longest

Ask = Callable[..., Answer]
"""Asks the agent: a verb and its arguments; AgentUnavailable when there is no answer in time."""


class LibvirtShell:
    """port.GuestShell; `timeout` is the seconds that one command, or one file, may take."""

    def __init__(self, ask: Ask, vm: str, timeout: float) -> None:
        self._ask, self._vm, self._timeout = ask, vm, timeout

    def _in_time(self, until: float, what: str) -> None:
        if monotonic() > until:
            raise AblestackError(
                Code.TIMEOUT,
                f"{what} in {self._vm} was not done within {self._timeout:g} seconds",
                "see what the guest is at, or raise command_timeout",
            )

    def run(self, command: tuple[str, ...], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        if len(stdin) > PIECE:
            command, stdin = self._reading(stdin, command), b""
        arguments: dict[str, Any] = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
        if stdin:
            arguments["input-data"] = b64encode(stdin).decode()
        until = monotonic() + self._timeout
        pid = self._ask("guest-exec", **arguments).number("pid")
        pause, longest = PAUSES
        while not (status := self._ask("guest-exec-status", pid=pid)).flag("exited"):
            self._in_time(until, "a command")
            sleep(pause)
            pause = min(pause * 1.5, longest)
        if status.flag("out-truncated") or status.flag("err-truncated"):
            raise AblestackError(
                Code.UNSUPPORTED,
                f"a command in {self._vm} prints more than its guest agent can tell",
                "let it write to a file, and fetch that",
            )
        signal = status.number("signal") if status.has("signal") else 0
        code = status.number("exitcode") if status.has("exitcode") else 128 + signal
        return code, status.data("out-data"), status.data("err-data")

    def _reading(self, content: bytes, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command, reading from a file that is gone as soon as it is open."""
        code, output, errors = self.run(("/bin/sh", "-c", "umask 077 && mktemp"))
        path = output.decode("utf-8", "replace").strip()
        if code or not path:
            raise self._failed("a temporary file", errors)
        self.write(path, [content])
        return ("/bin/sh", "-c", 'exec <"$0" && rm -f "$0" && exec "$@"', path, *command)

    def _failed(self, what: str, errors: bytes) -> AblestackError:
        hint = errors.decode("utf-8", "replace").strip()[:200]
        return AblestackError(Code.INVALID_STATE, f"{what} in {self._vm} cannot be written", hint)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        # The agent would make it readable and writable for everyone.
        code, _out, errors = self.run(("/bin/sh", "-c", 'umask 077 && : >"$0"', path))
        if code:
            raise self._failed(f"'{path}'", errors)
        until = monotonic() + self._timeout
        with _File(self._ask, path, "w") as handle:
            for chunk in chunks:
                for start in range(0, len(chunk), PIECE):
                    self._write(handle, chunk[start : start + PIECE], until, f"writing '{path}'")

    def _write(self, handle: int, piece: bytes, until: float, what: str) -> None:
        while piece:
            self._in_time(until, what)  # each time: an agent may take it byte by byte
            answer = self._ask("guest-file-write", handle=handle, **{"buf-b64": b64encode(piece).decode()})
            # none at all would go on for ever
            piece = piece[answer.number("count", least=1, most=len(piece)) :]

    def read(self, path: str) -> Iterator[bytes]:
        until = monotonic() + self._timeout
        with _File(self._ask, path, "r") as handle:
            while True:
                self._in_time(until, f"reading '{path}'")
                answer = self._ask("guest-file-read", handle=handle, count=PIECE)
                count = answer.number("count", most=PIECE)
                if count:
                    yield answer.data("buf-b64")
                if answer.flag("eof") or not count:
                    return


class _File:
    """An open file in the guest."""

    def __init__(self, ask: Ask, path: str, mode: str) -> None:
        self._ask, self._path, self._mode = ask, path, mode
        self._handle = -1

    def __enter__(self) -> int:
        self._handle = self._ask("guest-file-open", path=self._path, mode=self._mode).number()
        return self._handle

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        with suppress(AblestackError) if kind else nullcontext():  # the first error is the one to tell
            self._ask("guest-file-close", handle=self._handle)
