# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_vm_migrate`'s own options, and the specification they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.model.errors import invalid
from ..core.model.migration import MigrateSpec
from ..core.model.values import check_vm_name
from .checks import filled, flag, number, vm_id

MIGRATE_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "id": {"type": "str"},
    "host": {"type": "str"},
    "live": {"type": "bool", "default": True},
    "copy_storage": {"type": "bool", "default": False},
    "forced": {"type": "bool", "default": False},
    "timeout": {"type": "int"},
    "force_after_timeout": {"type": "bool", "default": False},
}
NAMED = [("name", "id")]


def migrate_spec(options: Mapping[str, Any]) -> MigrateSpec:
    """The specification that a task describes; None counts as left out. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    spec = MigrateSpec(**{key: _CHECKS[key](value, key) for key, value in given.items()})
    if not (spec.name or spec.id):
        raise invalid("neither name nor id is given", "say which VM is meant")
    return spec


def _name(value: Any, _what: str) -> str:
    return check_vm_name(value)


_CHECKS: dict[str, Any] = {
    "name": _name,
    "id": vm_id,
    "host": filled,
    "live": flag,
    "copy_storage": flag,
    "forced": flag,
    "timeout": number(1),
    "force_after_timeout": flag,
}
