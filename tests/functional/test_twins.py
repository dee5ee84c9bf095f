# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers that deploy one name on two hosts: whoever defines first, and whoever is older, one VM is left."""

from __future__ import annotations

from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import locate, vm
from support.fleets import audit, fleet
from support.worlds import Controller, World, make_world

OLDER, YOUNGER = "00000000-0000-4000-8000-000000000001", "ffffffff-0000-4000-8000-000000000001"
SPARE = "88888888-0000-4000-8000-000000000001"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two hosts at a moment that stands still: of two VMs, the id says which is the older."""
    monkeypatch.setattr(vm, "now_text", lambda: "2026-01-01T00:00:00Z")
    monkeypatch.setattr(locate, "_TWIN_PAUSE", 0.001)
    return make_world(2)


def with_id(monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    """The ids that are drawn next."""
    left = [*ids, SPARE]
    monkeypatch.setattr(vm, "uuid", SimpleNamespace(uuid4=lambda: left.pop(0)))


def deploy(controller: Controller, host: str) -> dict[str, Any]:
    (row,) = fleet(controller, [{"name": "web", "host": host, "start": False}]).result["results"]
    return dict(row)


def code(row: dict[str, Any]) -> str:
    return str(row.get("error", {}).get("code", "done"))


def only(world: World) -> str:
    """The host of the one VM there is, with all that belongs to it and nothing else."""
    audit(world)
    (host,) = [name for name, state in world.states.items() if state.domains]
    other = next(state for name, state in world.states.items() if name != host)
    assert [name for name in other.pools["default"].volumes if not name.startswith("tmpl-")] == []
    return host


@pytest.mark.parametrize("ids", [(OLDER, YOUNGER), (YOUNGER, OLDER)])
def test_one_that_was_complete_before_the_other_was_defined_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, ids: tuple[str, str]
) -> None:
    with_id(monkeypatch, *ids)
    late, told = world.controller(), []
    late.hosts["kvm01"].act_at("define", lambda: told.append(deploy(world.controller(), "kvm02")), when="before")
    assert code(deploy(late, "kvm01")) == "Conflict"
    assert [code(row) for row in told] == ["done"]
    assert only(world) == "kvm02"
    again = deploy(world.controller(), "kvm02")
    assert (code(again), again["changed"]) == ("done", False)


@pytest.mark.parametrize("ids", [(OLDER, YOUNGER), (YOUNGER, OLDER)])
def test_of_two_that_are_defined_before_either_looks_the_older_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, ids: tuple[str, str]
) -> None:
    with_id(monkeypatch, *ids)
    first, second = world.controller(), world.controller()
    first_defined, second_defined = Event(), Event()
    rows: dict[str, dict[str, Any]] = {}
    other = Thread(target=lambda: rows.update(kvm02=deploy(second, "kvm02")))
    # The second one begins once the first is about to define; each looks when both are there.
    first.hosts["kvm01"].act_at("define", lambda: (other.start(), second_defined.wait(30)), when="before")
    first.hosts["kvm01"].act_at("define", first_defined.set, when="after")
    second.hosts["kvm02"].act_at("define", lambda: (second_defined.set(), first_defined.wait(30)), when="after")
    rows["kvm01"] = deploy(first, "kvm01")
    other.join(60)
    assert sorted(map(code, rows.values())) == ["Conflict", "done"]
    assert code(rows[only(world)]) == "done"
    assert {domain.config.id for state in world.states.values() for domain in state.domains.values()} == {OLDER}
