# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pools of different hosts are one storage: network storage, a file system they share, or what the catalog says.

This is what their definitions say, and no proof: hosts set up from one image may have local pools with one UUID.
Whoever relies on it looks whether what one host wrote is there on the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .catalog import HostSpec
from .resources import PoolFacts

Place = tuple[HostSpec, PoolFacts]
"""A pool on a host."""


class Room(NamedTuple):
    """How many bytes may be stored, and in what, in words."""

    free: int
    place: str


def pool_marks(place: Place) -> frozenset[tuple[str, ...]]:
    """What tells the pool's storage from others: pools with a mark in common are one storage."""
    host, pool = place
    marks: set[tuple[str, ...]] = set()
    if pool.name in host.shared_pools:
        marks.add(("catalog", pool.name))
    if pool.source:
        marks.add(("source", pool.type, pool.source))
    if pool.id:
        marks.add(("uuid", pool.id))
    return frozenset(marks)


def is_declared(one: Place, other: Place) -> bool:
    """Whether the catalog or the pools' own source says that they are one storage; a UUID in common may be a copy."""
    return any(kind != "uuid" for kind, *_what in pool_marks(one) & pool_marks(other))


def groups_sharing(places: Iterable[Place]) -> tuple[tuple[Place, ...], ...]:
    """The places in groups, each of one storage, in the order of their first members; a local pool is alone."""
    rows = list(places)
    groups: list[tuple[set[tuple[str, ...]], list[int]]] = []
    for at, place in enumerate(rows):
        marks, members = set(pool_marks(place)), [at]
        for group in [group for group in groups if group[0] & marks]:
            groups.remove(group)
            marks |= group[0]
            members += group[1]
        groups.append((marks, members))
    groups.sort(key=lambda group: min(group[1]))
    return tuple(tuple(rows[at] for at in sorted(members)) for _marks, members in groups)
