# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_pool`'s own options, and the specification they come to."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from ..core.model.errors import invalid
from ..core.model.pool import PoolSpec
from ..core.model.values import check_file_stem
from .checks import Check, distinct, filled, flag

POOL_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str"},
    "autostart": {"type": "bool"},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
}


def pool_spec(options: Mapping[str, Any]) -> PoolSpec:
    """The specification that a task describes; None counts as left out. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    return PoolSpec(**{key: _CHECKS[key](value, key) for key, value in given.items()})


def folder(value: Any, what: str) -> str:
    """An absolute path, as libvirt would write it; it is one of the host's, so nothing here is asked about it."""
    path = posixpath.normpath(filled(value, what).strip())
    if not path.startswith("/") or path.strip("/") == "":
        raise invalid(f"{what} '{value}' is not the path of a folder", "write for example /srv/vms")
    return "/" + path.lstrip("/")


_CHECKS: Mapping[str, Check] = {
    "name": lambda value, what: check_file_stem(value, "pool"),
    "path": folder,
    "autostart": flag,
    "zone": filled,
    "hosts": distinct(filled),
}
