# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for a host to have a storage pool; one that is there is never moved, nor what is in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.errors import AblestackError, Code, invalid
from ..model.plan_parts import Change, Plan, Step
from ..model.pool import PoolSpec
from ..model.resources import FOLDER, PoolState


@dataclass(frozen=True)
class DefinePool(Step):
    """Writes the definition of a pool that is a folder, and makes the folder where it is missing."""

    name: str
    path: str


@dataclass(frozen=True)
class StartPool(Step):
    """Starts it."""

    name: str


@dataclass(frozen=True)
class SetPoolAutostart(Step):
    """Whether the host starts it at boot."""

    name: str
    on: bool


def plan_pool(spec: PoolSpec, found: PoolState | None, host: str) -> Plan[PoolState]:
    """The plan for one host, of that name.

    One that is there may be somebody else's: it is started, and its autostart changed where the task says so. A new one
    is started last, so that one found off at the very path that the task gives counts as what a killed run has left.
    """
    wanted_path = str(spec.path or "")
    if found is None and not wanted_path:
        raise invalid(
            f"host '{host}' has no storage pool '{spec.name}'",
            "give the path of the folder that it is to be",
            host=host,
        )
    if found is not None and wanted_path and (found.type, found.path) != (FOLDER, wanted_path):
        raise AblestackError(
            Code.ALREADY_EXISTS,
            f"pool '{spec.name}' on host '{host}' is of type {found.type}, at {found.path or 'no path'}, "
            f"and not the folder {wanted_path}",
            "choose another name, or leave path out to use it as it is",
            host=host,
        )
    now = found or PoolState(spec.name, FOLDER, wanted_path, active=False, autostart=False)
    unfinished = bool(wanted_path) and not now.active
    autostart = spec.autostart if isinstance(spec.autostart, bool) else now.autostart or unfinished
    changes: list[Change] = []
    steps: list[Step] = []
    if found is None:
        changes.append(Change("path", None, wanted_path))
        steps.append(DefinePool(spec.name, wanted_path))
    if autostart != now.autostart:
        changes.append(Change("autostart", now.autostart, autostart))
        steps.append(SetPoolAutostart(spec.name, autostart))
    if not now.active:
        changes.append(Change("active", False, True))
        steps.append(StartPool(spec.name))
    return Plan(tuple(changes), tuple(steps), predicted=replace(now, active=True, autostart=autostart))
