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


_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr")
"""What lies at the top of a host and is the system's own, with all below it."""
_WHOLE = (
    *("/home", "/lost+found", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var"),  # noqa: S108 - refused
    *("/var/cache", "/var/lib", "/var/lib/libvirt", "/var/lib/libvirt/qemu", "/var/log", "/var/tmp"),  # noqa: S108
)
"""What may have a pool's folder in it, and is none itself: in a pool, whatever lies there counts as a volume."""


def folder(value: Any, what: str) -> str:
    """An absolute path, as libvirt would write it; it is one of the host's, so nothing here is asked about it."""
    path = posixpath.normpath(filled(value, what).strip())
    if not path.startswith("/") or path.strip("/") == "":
        raise invalid(f"{what} '{value}' is not the path of a folder", "write for example /srv/vms")
    path = "/" + path.lstrip("/")
    if path.split("/")[1] in _SYSTEM or path in _WHOLE or f"{path}/".startswith(("/var/run/", "/var/lock/")):
        raise invalid(f"{what} {path} belongs to the host's own system", "choose a folder of its own, as /srv/vms")
    return path


_CHECKS: Mapping[str, Check] = {
    "name": lambda value, what: check_file_stem(value, "pool"),
    "path": folder,
    "autostart": flag,
    "zone": filled,
    "hosts": distinct(filled),
}
