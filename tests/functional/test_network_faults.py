# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process killed or failing at any write of any task on a network: the same task again ends it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network import apply_network
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import network_spec
from support.memory_calls import Killed
from support.worlds import Controller, World, make_world

ONE, TWO = "52:54:00:00:00:01", "52:54:00:00:00:02"
BLUE: dict[str, Any] = {
    "name": "blue",
    "cidr": "10.20.0.0/24",
    "reservations": [{"mac": ONE, "ip": "10.20.0.5"}, {"mac": TWO, "ip": "10.20.0.6"}],
}
OTHER = {
    **BLUE,
    "dhcp_start": "10.20.0.100",
    "dns_records": [{"ip": "10.20.0.9", "names": ["printer"]}],
    "domain": "a.example",
    "autostart": False,
    "labels": {"a": "b"},
    "reservations": [{"mac": ONE, "ip": "10.20.0.6"}, {"mac": TWO, "ip": "10.20.0.5"}],
}
CASES: dict[str, tuple[tuple[dict[str, Any], ...], dict[str, Any]]] = {
    "make": ((), BLUE),
    "change": ((BLUE,), OTHER),
    "restart": ((BLUE,), {**OTHER, "state": "restarted"}),
    "move": ((BLUE,), {"name": "blue", "cidr": "10.21.0.0/24", "reservations": [], "state": "restarted"}),
    "delete": ((BLUE,), {"name": "blue", "state": "absent"}),
}


def run(controller: Controller, options: dict[str, Any]) -> dict[str, Any]:
    with controller.infrastructure as infrastructure:
        return dict(apply_network(infrastructure, network_spec(options)).result["network"])


def prepared(before: tuple[dict[str, Any], ...]) -> World:
    world = make_world()
    for task in before:
        run(world.controller(), task)
    return world


def essence(network: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in network.items() if key not in ("id", "created")}


@pytest.mark.parametrize("error", [Killed(), AblestackError(Code.INTERNAL, "injected")], ids=["killed", "failing"])
@pytest.mark.parametrize("name", CASES)
def test_interrupted_at_any_write_the_same_task_again_ends_it(name: str, error: BaseException) -> None:
    before, task = CASES[name]
    world = prepared(before)
    controller = world.controller()
    wanted = essence(run(controller, task))
    count = len(controller.writes)
    assert count
    for position in range(1, count + 1):
        for when in ("before", "after"):
            world = prepared(before)
            broken = world.controller()
            broken.hosts["kvm01"].fail_at(position, error, when)
            with pytest.raises(type(error)):
                run(broken, task)
            assert essence(run(world.controller(), task)) == wanted, (position, when)
            again = world.controller()
            run(again, task)
            assert again.writes == []
