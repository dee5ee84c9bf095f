# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool of a host: what is wanted of it, and how results show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .resources import PoolState
from .values import UNSET, Maybe


@dataclass(frozen=True)
class PoolSpec:
    """The options of one pool, UNSET where the user left it out. No hosts named means all that there are."""

    name: str
    path: Maybe[str] = UNSET
    autostart: Maybe[bool] = UNSET
    zone: Maybe[str] = UNSET
    hosts: tuple[str, ...] = ()


def pool_view(state: PoolState) -> Mapping[str, Any]:
    """A pool as results show it."""
    return {
        "name": state.name,
        "type": state.type,
        "path": state.path,
        "active": state.active,
        "autostart": state.autostart,
    }
