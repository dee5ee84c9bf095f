# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the core: an error code, one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Callable, TypeVar

T = TypeVar("T")


class Code(str, Enum):
    """What kind of failure it is; users branch on these (INTERFACE 10)."""

    INVALID_INPUT = "InvalidInput"
    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    INVALID_STATE = "InvalidState"
    NOT_MANAGED = "NotManaged"
    PROTECTED = "Protected"
    SNAPSHOTS_EXIST = "SnapshotsExist"
    IN_USE = "InUse"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    AFFINITY_CONFLICT = "AffinityConflict"
    UNSUPPORTED = "Unsupported"
    TIMEOUT = "Timeout"
    HOST_UNAVAILABLE = "HostUnavailable"
    AGENT_UNAVAILABLE = "AgentUnavailable"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    CONFLICT = "Conflict"
    INTERNAL = "Internal"


_REPORT = "this is a mistake in the collection, or a damaged host; please report it"
_LONGEST = 1000  # characters of a message: the reasons of many hosts fit, a pasted file does not


class AblestackError(Exception):
    """A failure told to the user: `message` says what is wrong, `hint` what to do, `details` is data."""

    def __init__(self, code: Code, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(_one_line(message))
        self.code = code
        self.message = _one_line(message)
        self.hint = _one_line(hint or (_REPORT if code is Code.INTERNAL else ""))
        self.details: Mapping[str, Any] = details

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, as one line."""
        text = self.message.rstrip(".")
        return f"{text}: {self.hint.rstrip('.')}." if self.hint else f"{text}."

    def as_dict(self) -> dict[str, Any]:
        """The `error` value of a module's result."""
        return {"code": self.code.value, "hint": self.hint, "details": dict(self.details)}


def _one_line(text: str) -> str:
    """Quoted input may hold anything: line breaks and control characters become spaces, the overlong is cut."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def answer_of(work: Callable[..., T], *arguments: Any) -> T | AblestackError:
    """What it returns or, in its place, the error of ours that it raises."""
    try:
        return work(*arguments)
    except AblestackError as error:
        return error


def invalid(message: str, hint: str = "", **details: Any) -> AblestackError:
    """Shorthand for the commonest error: something the user wrote cannot be right."""
    return AblestackError(Code.INVALID_INPUT, message, hint, **details)
