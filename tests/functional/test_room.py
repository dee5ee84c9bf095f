# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that was full when libvirt last looked, and in which others have made room since."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from support.memory_state import qcow2_bytes
from support.tasks import Task, fleet, migrate, template, vm, volume
from support.worlds import World, make_world

WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": ["default"],
    "start": False,
}
SOLID: dict[str, Any] = {"size": 1, "provisioning": "fat"}
TASKS = {
    "a full clone": vm(**{**WEB, "name": "web2"}, clone="full"),
    "a seed": vm(**{**WEB, "name": "web2"}),
    "another disk": vm("web1", data_disks=[{"name": "logs", "disk_offering": "solid"}]),
    "a data disk": volume("spare", disk_offering="solid", host="kvm01"),
    "a fleet": fleet({**WEB, "name": "web2"}, {**WEB, "name": "web3"}),
}


def site(size: int = 1) -> World:
    world = make_world(hosts=2, disk_offerings={"solid": {**SOLID, "size": size}})
    vm(**WEB, host="kvm01").run(world.controller())
    return world


def seen_full(world: World) -> None:
    for state in world.states.values():
        state.pools["default"].seen = 0


def done(world: World, task: Task) -> None:
    """Foretold, and done."""
    seen_full(world)
    assert task.run(world.controller(check=True)).changed
    seen_full(world)
    assert task.run(world.controller()).changed


@pytest.mark.parametrize("name", TASKS)
def test_it_is_looked_at_anew_before_a_task_is_refused(name: str) -> None:
    done(site(), TASKS[name])


def test_an_image_from_a_file_or_a_server_finds_the_room(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    image.write_bytes(qcow2_bytes(GIB))
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    done(site(), template("other", src=str(image), format="qcow2"))
    done(site(), template("other", url=image.as_uri(), format="qcow2", checksum=f"sha256:{digest}"))


def test_a_vm_that_moves_with_its_storage_finds_the_room() -> None:
    done(site(), migrate("kvm02", copy_storage=True))


def test_what_others_of_a_fleet_take_still_counts() -> None:
    world = site(size=60)
    seen_full(world)
    disk = {"disk_offering": "solid"}
    rows = [{**WEB, "name": name, "host": "kvm01", "data_disks": [{**disk, "name": name}]} for name in ("a", "b")]
    with pytest.raises(AblestackError) as error:
        fleet(*rows).run(world.controller(check=True))
    assert error.value.code is Code.INSUFFICIENT_CAPACITY
