# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_template`'s own options, and the specification they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.model.naming import TEMPLATE_FORMATS
from ..core.model.template_spec import STATES, TemplateSpec, check_checksum
from ..core.model.values import check_file_stem
from .checks import Check, distinct, filled, flag, labels, one_of, short_text
from .vm_options import BOOT_MODES, BOOT_TYPES

TEMPLATE_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "present", "choices": [*STATES]},
    "format": {"type": "str", "choices": [*TEMPLATE_FORMATS]},
    "src": {"type": "path"},
    "url": {"type": "str"},
    "vm": {"type": "str"},
    "volume": {"type": "str"},
    "checksum": {"type": "str"},
    "display_text": {"type": "str"},
    "os_type": {"type": "str"},
    "boot_type": {"type": "str", "choices": [*BOOT_TYPES]},
    "boot_mode": {"type": "str", "choices": [*BOOT_MODES]},
    # whether there is one, not the key itself
    "ssh_key_enabled": {"type": "bool", "no_log": False},
    "dynamic_scaling": {"type": "bool"},
    "featured": {"type": "bool"},
    "labels": {"type": "dict"},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "dest": {"type": "path"},
    "forced": {"type": "bool", "default": False},
}
SOURCES = [("src", "url", "vm", "volume")]


def template_spec(options: Mapping[str, Any]) -> TemplateSpec:
    """The specification that an `ablestack_template` task describes; None counts as left out. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    spec = TemplateSpec(**{key: _CHECKS[key](value, key) for key, value in given.items()})
    spec.check()
    return spec


_CHECKS: Mapping[str, Check] = {
    "name": lambda value, what: check_file_stem(value, "template"),
    "state": one_of(STATES),
    "format": one_of(TEMPLATE_FORMATS),
    "src": filled,
    "url": filled,
    "vm": filled,
    "volume": filled,
    "checksum": lambda value, what: check_checksum(value),
    "display_text": short_text,
    "os_type": short_text,
    "boot_type": one_of(BOOT_TYPES),
    "boot_mode": one_of(BOOT_MODES),
    "ssh_key_enabled": flag,
    "dynamic_scaling": flag,
    "featured": flag,
    "labels": labels,
    "zone": filled,
    "hosts": distinct(filled),
    "dest": filled,
    "forced": flag,
}
