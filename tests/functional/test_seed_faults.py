# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that dies while it writes a VM's seed anew: the VM starts all the same, with a whole seed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.seed import read_seed
from support.memory_calls import Killed
from support.memory_host import MemoryHost
from support.tasks import Task, migrate, vm
from support.worlds import World, make_world

OFF: dict[str, Any] = {
    "state": "stopped",
    "template": "tiny",
    "compute_offering": "small",
    "networks": ["default"],
    "user_data": "before",
    "wait": "none",
}
REWRITE = vm("web1", user_data="after")
CALLS = [("delete_volume", 1), ("create_volume", 1), ("upload", 1), ("delete_volume", 2), ("clone_volume", 1),
         ("delete_volume", 3)]  # fmt: skip


def seeds(world: World) -> dict[str, bytes]:
    return {name: volume.content for name, volume in world.pool.volumes.items() if "-seed.iso" in name}


def killed(call: str, nth: int, when: str, hosts: int = 1, **options: Any) -> World:
    world = make_world(hosts)
    vm("web1", **{**OFF, **options}).run(world.controller())
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(call, Killed(), when, nth)
    with pytest.raises(Killed):
        REWRITE.run(controller)
    for domain in world.state.domains.values():
        domain.holds.clear()  # as if some time had passed
    return world


@pytest.mark.parametrize("task", [vm("web1", state="started"), vm("web1", state="reinstalled"), REWRITE],
                         ids=["started", "reinstalled", "again"])  # fmt: skip
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("call", "nth"), CALLS)
def test_the_vm_starts_with_a_whole_seed_whenever_the_process_was_killed(
    call: str, nth: int, when: str, task: Task
) -> None:
    world = killed(call, nth, when)
    task.run(world.controller())
    vm("web1", state="started").run(world.controller())
    (seed,) = (content for name, content in seeds(world).items() if name.endswith(".iso"))
    assert read_seed(seed).user_data in (["after"] if task is REWRITE else ["before", "after"])
    assert REWRITE.run(world.controller()).result["vm"]["state"] == "Running"
    ((name, seed),) = seeds(world).items()
    assert (name[-4:], read_seed(seed).user_data) == (".iso", "after")


def test_a_running_vm_gets_its_seed_back_when_it_next_starts_and_can_then_be_moved() -> None:
    world = killed("delete_volume", 2, "after", hosts=2, state="started", host="kvm01")
    move = migrate("kvm02", copy_storage=True)
    with pytest.raises(AblestackError, match="a disk of the VM") as error:
        move.run(world.controller())
    assert "stop and start the VM" in error.value.hint
    for state in ("stopped", "started"):
        vm("web1", state=state).run(world.controller())
    assert move.run(world.controller()).result["vm"]["host"] == "kvm02"


def test_a_spare_that_is_not_whole_is_not_taken_for_the_seed() -> None:
    world = killed("delete_volume", 2, "after")
    ((spare, content),) = seeds(world).items()
    world.pool.volumes[spare].content = content[: len(content) // 2]
    with pytest.raises(AblestackError, match="cannot access storage file"):
        vm("web1", state="started").run(world.controller())
    assert list(seeds(world)) == [spare]


def test_a_start_that_nothing_is_wrong_with_looks_for_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    vm("web1", **OFF).run(world.controller())
    monkeypatch.setattr(MemoryHost, "volume", lambda *_arguments: pytest.fail("a volume was looked for"))
    assert vm("web1", state="started").run(world.controller()).result["vm"]["state"] == "Running"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 12))
def test_a_spare_that_is_all_there_is_survives_another_kill(nth: int, when: str) -> None:
    world = killed("delete_volume", 2, "after")
    controller = world.controller()
    controller.hosts["kvm01"].fail_at(nth, Killed(), when)
    with suppress(Killed):
        vm("web1", networks=["lan"]).run(controller)  # which needs the user data of before
    for domain in world.state.domains.values():
        domain.holds.clear()
    vm("web1", state="started").run(world.controller())
    (seed,) = (content for name, content in seeds(world).items() if name.endswith(".iso"))
    assert read_seed(seed).user_data == "after"
