# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan for each VM of a fleet comes to, in a word and in a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.plan_parts import Plan
from ..model.vm import VmFacts
from .steps import Reboot, Reset, Start

MADE, CHANGED, RESTARTED, REMOVED, UNCHANGED = "made", "changed", "restarted", "removed", "unchanged"
FAILED, NOT_BEGUN = "failed", "not_begun"
ACTIONS = (MADE, CHANGED, RESTARTED, REMOVED, UNCHANGED, FAILED, NOT_BEGUN)


def action_of(before: VmFacts | None, plan: Plan[VmFacts]) -> str:
    """What a plan does to its VM, one of ACTIONS."""
    after = plan.predicted
    if not plan.steps:
        return UNCHANGED
    if after is None or (before is not None and not after.exists):
        return REMOVED
    if before is None:
        return MADE
    restarts = any(isinstance(step, (Reboot, Reset, Start)) for step in plan.steps)
    return RESTARTED if restarts and before.is_active else CHANGED


def plan_line(name: str, result: Mapping[str, Any]) -> str:
    """One line of the plan as people read it; empty for a VM that stays as it is. `result` is that of one VM."""
    action = result["action"]
    if action == UNCHANGED:
        return ""
    vm = result.get("vm") or {}
    host = f" on {vm['host']}" if vm.get("host") else ""
    if action == MADE:
        origin = vm.get("template") or vm.get("iso") or "nothing"
        return f"+ {name}: made{host} from {origin}, {vm.get('cpu')} CPU, {vm.get('memory')} MiB, {vm.get('state')}"
    if action == REMOVED:
        return f"- {name}: {str(vm.get('state') or 'expunged').lower()}{host}"
    if action in (FAILED, NOT_BEGUN):
        return f"! {name}: {result.get('msg', '')}"
    changes = ", ".join(_change(change) for change in result.get("changes", ()))
    return f"{'^' if action == RESTARTED else '~'} {name}: {action}{host}{': ' if changes else ''}{changes}"


def _change(change: Mapping[str, Any]) -> str:
    return f"{change['path']} {_short(change['before'])} -> {_short(change['after'])}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
