# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM snapshots as people and playbooks see them: rows (INTERFACE 3), a tree, its text, and what a diff shows."""

from __future__ import annotations

from typing import Any

from .snapshot import DISK, SnapshotFacts, SnapshotWorld
from .values import UNKNOWN, seconds_text


def snapshot_view(world: SnapshotWorld, snapshot: SnapshotFacts) -> dict[str, Any]:
    """One row; `quiesced` is None where a run would have to ask the guest first."""
    record = snapshot.config.record
    return {
        "name": snapshot.name,
        "description": snapshot.description,
        "vm": world.vm.name,
        "vm_id": world.vm.id,
        "type": snapshot.kind,
        "state": "Ready",
        "created": _time(snapshot),
        "parent": snapshot.parent,
        "current": snapshot.current,
        "quiesced": quiesced(world, snapshot.name),
        "compute_offering": record.compute_offering if record else "",
        "cpu": snapshot.config.cpu,
        "memory": snapshot.config.memory,
    }


def quiesced(world: SnapshotWorld, name: str) -> bool:
    """Whether the guest's file systems were frozen for it."""
    return bool(world.vm.record) and name in (world.vm.record.quiesced if world.vm.record else ())


def snapshot_views(world: SnapshotWorld) -> list[dict[str, Any]]:
    """All rows, oldest first."""
    return [snapshot_view(world, snapshot) for snapshot in world.snapshots]


def tree_view(world: SnapshotWorld) -> dict[str, Any]:
    """The tree as nested data and as text."""
    return {
        "vm": world.vm.name,
        "vm_id": world.vm.id,
        "host": world.vm.host.name,
        "tree": _branch(world, ""),
        "text": tree_text(world),
    }


def _branch(world: SnapshotWorld, parent: str) -> list[dict[str, Any]]:
    return [
        {**snapshot_view(world, snapshot), "children": _branch(world, snapshot.name)}
        for snapshot in _children(world, parent)
    ]


def tree_text(world: SnapshotWorld) -> str:
    """The tree drawn with lines, a snapshot a line; `*` marks the one the VM goes on from."""
    lines = [world.vm.name]
    _draw(world, "", "", lines)
    return "\n".join(lines)


def _draw(world: SnapshotWorld, parent: str, indent: str, lines: list[str]) -> None:
    children = _children(world, parent)
    for snapshot in children:
        last = snapshot is children[-1]
        lines.append(f"{indent}{'└── ' if last else '├── '}{_line(world, snapshot)}")
        _draw(world, snapshot.name, f"{indent}{'    ' if last else '│   '}", lines)


def _line(world: SnapshotWorld, snapshot: SnapshotFacts) -> str:
    kind = "disks" if snapshot.kind == DISK else "disks and memory"
    frozen = ", quiesced" if quiesced(world, snapshot.name) else ""
    text = f"{snapshot.name}{' *' if snapshot.current else ''}  {_time(snapshot)}  {kind}{frozen}"
    return f"{text}  {snapshot.description}" if snapshot.description else text


def _children(world: SnapshotWorld, parent: str) -> list[SnapshotFacts]:
    """Those below that parent; a snapshot whose parent is unknown stands at the root."""
    known = {snapshot.name for snapshot in world.snapshots}
    return [row for row in world.snapshots if (row.parent if row.parent in known else "") == parent]


def _time(snapshot: SnapshotFacts) -> str:
    return seconds_text(snapshot.created) if snapshot.created else UNKNOWN


def diff_view(world: SnapshotWorld, drawn: str = "") -> dict[str, Any]:
    """The part of it a diff shows: the tree, and what a restore brings back. A generated name reads as UNKNOWN."""
    config, record = world.vm.config, world.vm.record
    return {
        "vm": world.vm.name,
        "state": world.vm.state,
        "compute_offering": record.compute_offering if record else "",
        "cpu": config.cpu,
        "memory": config.memory,
        "snapshots": [
            {
                "name": UNKNOWN if drawn and snapshot.name == drawn else snapshot.name,
                "description": snapshot.description,
                "type": snapshot.kind,
                "parent": snapshot.parent,
                "current": snapshot.current,
            }
            for snapshot in world.snapshots
        ],
    }
