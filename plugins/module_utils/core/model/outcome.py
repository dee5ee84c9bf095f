# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a use case gives back to whoever called it, whole or in part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import AblestackError, Code


@dataclass(frozen=True)
class Outcome:
    """`before` and `after` are what the diff shows; `result` is everything else a module returns.

    `plan` are lines for people that a diff shows beside them.
    """

    changed: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()


class Incomplete(AblestackError):  # noqa: N818 - it is not only an error: it carries a result
    """A part failed: the task fails, and still returns in `outcome` what was done."""

    def __init__(self, outcome: Outcome, code: Code, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(code, message, hint, **details)
        self.outcome = outcome
