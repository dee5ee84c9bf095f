# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data disk is deleted only while nobody has it or is about to; what a killed process has left is no obstacle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import encode_claim
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import current_owner
from support.memory_state import MemoryVolume
from support.operations import OFF, prepared_site
from support.tasks import volume
from support.worlds import World

ATTACH = volume("spare", state="attached", vm="web1")
DELETE = volume("spare", state="absent")
STONE = "vol-spare.deleting"


@pytest.fixture
def world() -> World:
    return prepared_site(1, (*OFF, volume("spare", size=1)), False)


def left(world: World) -> set[str]:
    return {"vol-spare.qcow2", STONE} & set(world.pool.volumes)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only while somebody waits."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(waited))
    return waited


def test_a_disk_that_was_attached_in_the_last_moment_stays(world: World) -> None:
    controller = world.controller()
    controller.hosts["kvm01"].act_at("create_volume", lambda: ATTACH.run(world.controller()))
    with pytest.raises(AblestackError, match="was given to VM 'web1'") as refused:
        DELETE.run(controller)
    assert refused.value.code is Code.CONFLICT
    assert left(world) == {"vol-spare.qcow2"}


def test_a_disk_that_is_being_deleted_is_not_attached(world: World, pauses: list[float]) -> None:
    """The other one is done while it is waited for."""
    told: list[Any] = []

    def attach() -> None:
        with pytest.raises(AblestackError, match="another controller is deleting 'spare'") as refused:
            ATTACH.run(world.controller())
        told.append(refused.value.code)

    controller = world.controller()
    controller.hosts["kvm01"].act_at("delete_volume", attach)
    assert DELETE.run(controller).changed
    assert told == [Code.CONFLICT]
    assert sum(pauses) >= 30
    assert left(world) == set()


@pytest.mark.parametrize("task", [DELETE, ATTACH])
@pytest.mark.parametrize("content", [b"", encode_claim(Mark(Phase.EXPUNGING, "2026-01-01T00:00:00Z"))])
def test_a_tombstone_of_nobody_is_removed(world: World, pauses: list[float], task: Any, content: bytes) -> None:
    world.pool.volumes[STONE] = MemoryVolume(content)
    assert task.run(world.controller()).changed
    assert left(world) == ({"vol-spare.qcow2"} if task is ATTACH else set())


def test_one_of_another_machine_counts_until_it_is_old(world: World, pauses: list[float]) -> None:
    owner = replace(current_owner(), machine="another")
    world.pool.volumes[STONE] = MemoryVolume(encode_claim(Mark(Phase.EXPUNGING, "2999-01-01T00:00:00Z", owner=owner)))
    with pytest.raises(AblestackError, match="another controller is deleting 'spare'"):
        DELETE.run(world.controller())
    assert left(world) == {"vol-spare.qcow2", STONE}
    old = Mark(Phase.EXPUNGING, "2026-01-01T00:00:00Z", owner=owner)
    world.pool.volumes[STONE] = MemoryVolume(encode_claim(old))
    assert DELETE.run(world.controller()).changed
    assert left(world) == set()


def test_what_a_killed_process_left_of_a_disk_that_is_gone_is_removed(world: World) -> None:
    DELETE.run(world.controller())
    world.pool.volumes[STONE] = MemoryVolume(encode_claim(Mark(Phase.EXPUNGING, "2026-01-01T00:00:00Z")))
    assert DELETE.run(world.controller(check=True)).changed
    assert left(world) == {STONE}
    assert DELETE.run(world.controller()).changed
    assert left(world) == set()
    again = world.controller()
    assert not DELETE.run(again).changed
    assert again.writes == []


def test_a_full_pool_lets_its_disks_be_deleted(world: World) -> None:
    controller = world.controller()
    controller.hosts["kvm01"].full = frozenset(("create_volume", "upload"))
    assert DELETE.run(controller).changed
    assert left(world) == set()
