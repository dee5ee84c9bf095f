# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random tasks on snapshots beside a model of the tree: who stands on whom, where the VM goes on, and what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot_query import list_snapshots
from support.snapshots import fill, make_web, reads, snap, tree_of
from support.worlds import World

NAMES = "abcd"
Task = tuple[str, str]
TASKS = st.lists(
    st.tuples(st.sampled_from(("present", "present", "reverted", "absent")), st.sampled_from(NAMES)),
    min_size=1,
    max_size=12,
)


@dataclass
class Model:
    """`parents` by name; `texts` are what is in each snapshot. The VM goes on from `current`, and reads `text`."""

    parents: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    current: str = ""
    text: str = ""

    def play(self, state: str, name: str) -> None:
        if state == "present" and name not in self.parents:
            self.parents[name], self.texts[name], self.current = self.current, self.text, name
        elif state == "reverted":
            self.current, self.text = name, self.texts[name]
        elif state == "absent" and name in self.parents:
            parent = self.parents.pop(name)
            self.parents = {child: parent if of == name else of for child, of in self.parents.items()}
            self.current = parent if self.current == name else self.current


def drawn(rows: list[dict[str, Any]], parent: str = "") -> Iterator[tuple[str, str, bool]]:
    """Each snapshot of the tree, what it is drawn below, and whether the VM goes on from it."""
    for row in rows:
        yield row["name"], parent, row["current"]
        yield from drawn(row["children"], row["name"])


def shown(world: World) -> tuple[dict[str, str], list[str]]:
    """The tree as users see it: who stands on whom, and all that the VM is said to go on from."""
    with world.controller().infrastructure as infrastructure:
        trees = list_snapshots(infrastructure, vm="web1").result["trees"]
    rows = [row for tree in trees for row in drawn(tree["tree"])]
    return {name: parent for name, parent, _current in rows}, [name for name, _parent, current in rows if current]


@given(TASKS)
def test_whatever_is_done_the_tree_is_what_was_done(tasks: list[Task]) -> None:
    world, model = make_web(start=False), Model()
    for number, (state, name) in enumerate(tasks):
        model.text = f"{number}"
        fill(world, model.text)
        if state == "reverted" and name not in model.parents:
            continue
        snap(world, name, state)
        model.play(state, name)
        assert shown(world) == (model.parents, [model.current] if model.current else [])
        assert reads(world) == {model.text}


@pytest.mark.parametrize(
    "parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "", "b": "c", "c": "d", "d": "b"}, {"a": "x"}]
)
def test_what_is_no_tree_is_noticed(parents: Mapping[str, str]) -> None:
    with pytest.raises(AssertionError, match="no tree"):
        tree_of(parents)


def test_a_tree_is_none_of_it() -> None:
    assert tree_of({"b": "a", "a": "", "c": "a", "d": "c"}) == {"a": 1, "b": 2, "c": 2, "d": 3}
