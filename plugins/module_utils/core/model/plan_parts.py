# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan is made of: changes for people, steps for the hypervisor, refusals for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import AblestackError

Facts = TypeVar("Facts")

LIVE = "live"  # done now, and in the stored definition
NEXT_BOOT = "next_boot"  # stored now, seen by the guest when it next starts
RESTART = "restart"  # needs the VM to be off


@dataclass(frozen=True)
class Change:
    """One difference between what is wanted and what is; `impact` says what it costs."""

    path: str
    before: Any
    after: Any
    impact: str = LIVE

    def as_dict(self) -> dict[str, Any]:
        """As `changes` of a result shows it."""
        return {"path": self.path, "before": self.before, "after": self.after, "impact": self.impact}


@dataclass(frozen=True)
class Step:
    """One small verb; each kind is a class of its own in plan/steps.py."""


@dataclass(frozen=True)
class Plan(Generic[Facts]):
    """All that is to be done; `predicted` is what will be found afterwards, None where nothing will."""

    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    refusals: tuple[AblestackError, ...] = ()
    predicted: Facts | None = None
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything would be done."""
        return bool(self.steps)
