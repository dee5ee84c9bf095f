# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Invariants that no other test has: a named host that does not suit fails (18), no data disk is device 3 (8)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.tasks import vm, volume
from support.worlds import World, make_world

WEB: dict[str, Any] = {"name": "web1", "template": "tiny", "compute_offering": "small", "networks": ["default"]}
BIG: dict[str, Any] = {"compute_offering": "custom", "cpu": 1, "memory": "8GiB"}
# what is said of kvm01 in the catalog, the VM that it cannot take, the code
UNSUITABLE: dict[str, tuple[dict[str, Any], dict[str, Any], Code]] = {
    "in maintenance": ({"state": "maintenance"}, {}, Code.INVALID_STATE),
    "disabled": ({"state": "disabled"}, {}, Code.INVALID_STATE),
    "full": ({}, BIG, Code.INSUFFICIENT_CAPACITY),
    "untagged": ({}, {"compute_offering": "tagged"}, Code.INSUFFICIENT_CAPACITY),
    "in another zone": ({"zone": "busan"}, {"zone": "default"}, Code.NOT_FOUND),
    "without the network": ({}, {"networks": ["only"]}, Code.NOT_FOUND),
}


@pytest.mark.parametrize("why", UNSUITABLE)
def test_a_named_host_that_does_not_suit_is_an_error_and_never_another_host(why: str) -> None:
    entry, options, code = UNSUITABLE[why]
    world = make_world(hosts=2, host_values={"kvm01": entry, "kvm02": {"tags": ["ssd"]}})
    if why == "full":
        vm(**{**WEB, **BIG, "name": "first", "host": "kvm01"}).run(world.controller())
    if why == "without the network":
        network = world.states["kvm02"].networks["default"].facts
        world.states["kvm02"].add_network(type(network)(**{**vars(network), "name": "only"}))
    before = {name: len(state.domains) for name, state in world.states.items()}
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused:
            vm(**{**WEB, **options, "host": "kvm01"}).run(controller)
        assert refused.value.code is code, refused.value.sentence
        assert controller.writes == []
    assert {name: len(state.domains) for name, state in world.states.items()} == before
    placed = vm(**{**WEB, **options}).run(world.controller())
    assert placed.result["vm"]["host"] == "kvm02", "the other one would have suited"


def devices(world: World) -> dict[str, int]:
    (domain,) = world.state.domains.values()
    record = domain.config.record
    assert record
    return {disk.name: disk.device for disk in record.data_disks}


def test_device_ids_that_are_left_to_us_go_round_the_cd_drive() -> None:
    names = ("a", "b", "c", "d", "e")
    world = make_world()
    vm(**WEB, data_disks=[{"name": name, "size": 1} for name in names]).run(world.controller())
    assert devices(world) == {"a": 1, "b": 2, "c": 4, "d": 5, "e": 6}
    vm("web1", data_disks=[{"name": name} for name in names if name != "b"]).run(world.controller())
    volume("f", state="attached", vm="web1", size=1).run(world.controller())
    assert devices(world) == {"a": 1, "c": 4, "d": 5, "e": 6, "f": 2}
    volume("b", state="attached", vm="web1").run(world.controller())
    assert devices(world) == {"a": 1, "b": 7, "c": 4, "d": 5, "e": 6, "f": 2}


def test_three_is_refused_by_every_way() -> None:
    world = make_world()
    for task in (
        vm(**WEB, data_disks=[{"name": "a", "size": 1, "device": 3}]),
        volume("a", state="attached", vm="web1", size=1, device=3),
    ):
        with pytest.raises(AblestackError, match="the CD drive's") as refused:
            task.run(world.controller())
        assert refused.value.code is Code.INVALID_INPUT
