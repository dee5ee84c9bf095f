# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_vm_snapshot`'s own options, and the specification they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.model.errors import invalid
from ..core.model.snapshot import SnapshotSpec
from ..core.model.values import check_file_stem, check_vm_name, is_uuid
from .checks import filled, flag, one_of, short_text

STATES = ("present", "absent", "reverted")
QUIESCE = ("auto", "true", "false")
MAX_NAME = 64
SNAPSHOT_OPTIONS: dict[str, dict[str, Any]] = {
    "vm": {"type": "str", "required": True},
    "name": {"type": "str"},
    "state": {"type": "str", "default": "present", "choices": [*STATES]},
    "description": {"type": "str"},
    "memory": {"type": "bool", "default": False},
    "quiesce": {"type": "str", "default": "auto", "choices": [*QUIESCE]},
}
NAMED = [("state", "absent", ("name",)), ("state", "reverted", ("name",))]


def snapshot_spec(options: Mapping[str, Any]) -> SnapshotSpec:
    """The specification that a task describes; None counts as left out. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    name, vm_id = vm_of(given.get("vm", ""))
    description = given.get("description")
    spec = SnapshotSpec(
        vm=name,
        vm_id=vm_id,
        name=snapshot_name(given["name"]) if "name" in given else "",
        state=one_of(STATES)(given.get("state", "present"), "state"),
        description=None if description is None else short_text(description, "description").strip(),
        memory=flag(given.get("memory", False), "memory"),
        quiesce=one_of(QUIESCE)(str(given.get("quiesce", "auto")).lower(), "quiesce"),
    )
    if not spec.name and spec.state != "present":
        raise invalid(
            f"state {spec.state} needs the name of a snapshot", "see ablestack_vm_snapshot_info for the names"
        )
    if spec.memory and spec.quiesce == "true":
        raise invalid("memory and quiesce exclude each other", "with its memory the guest goes on where it was")
    return spec


def vm_of(value: Any) -> tuple[str, str]:
    """The name and the id that a VM is named by; one of them is empty."""
    text = filled(value, "vm")
    return ("", text.lower()) if is_uuid(text) else (check_vm_name(text), "")


def snapshot_name(value: Any) -> str:
    """A name that becomes part of images' names."""
    name = check_file_stem(value, "snapshot")
    if len(name) > MAX_NAME:
        raise invalid(f"snapshot name '{name}' has {len(name)} characters", f"use at most {MAX_NAME}")
    return name
