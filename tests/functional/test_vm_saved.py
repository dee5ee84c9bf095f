# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs whose memory is saved on their host (libvirt: managed save): they go on from it, so nothing may change before."""

from __future__ import annotations

from typing import Any

import pytest
from functional.test_vm_life import WEB, apply, code_of, thrice

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec
from support.memory_state import MemoryDomain
from support.operations import Save
from support.tasks import Task, snapshot, template
from support.worlds import World, make_world, put_template


def saved(hosts: int = 1, **options: Any) -> tuple[World, MemoryDomain]:
    world = make_world(hosts)
    apply(world, **{**WEB, **options}, host="kvm01")
    Save("web1").apply(world)
    (domain,) = world.state.domains.values()
    return world, domain


def test_it_is_stopped_and_goes_on_with_what_it_had_in_memory() -> None:
    world, domain = saved()
    assert apply(world, name="web1").result["vm"]["state"] == "Stopped"
    thrice(world, name="web1", display_name="Web", group="shop")
    boots = domain.guest.boots
    assert thrice(world, name="web1", state="started").result["vm"]["state"] == "Running"
    assert domain.guest.boots == boots
    assert domain.live
    assert domain.live.record == domain.config.record, "its running definition is that of before"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "reinstalled"},
        {"root_disk_size": 2 * GIB},
        {"root_disk_size": 2 * GIB, "state": "started"},
        {"root_disk_size": 2 * GIB, "state": "stopped"},
        {"data_disks": (DiskSpec("d", size=GIB),)},
        {"networks": (NicSpec("default"), NicSpec("lan"))},
        {"compute_offering": "medium", "allow_restart": True},
        {"tpm": True},
        {"attached_iso": "install"},
    ],
)
def test_what_its_memory_does_not_know_of_is_refused(change: dict[str, Any]) -> None:
    world, domain = saved()
    put_template(world.pool, "install", b"\0" * 0x8001 + b"CD001" + b"\0" * 1000, format="iso")
    assert code_of(world, name="web1", **change) is Code.INVALID_STATE
    assert domain.saved


@pytest.mark.parametrize("task", [snapshot("s2"), snapshot("s1", "reverted"), template("t", vm="web1")])
def test_neither_snapshots_nor_templates_are_made_of_it(task: Task) -> None:
    world, domain = saved()
    domain.saved, keep = None, domain.saved
    snapshot("s1").run(world.controller())
    domain.saved = keep
    controller = world.controller()
    with pytest.raises(AblestackError, match="memory of VM 'web1' is saved") as refused:
        task.run(controller)
    assert refused.value.code is Code.INVALID_STATE
    assert controller.writes == []
    assert not snapshot("s1").run(world.controller()).changed


def test_it_is_not_moved() -> None:
    world, _domain = saved(hosts=2)
    assert code_of(world, name="web1", state="started", host="kvm02") is Code.INVALID_STATE


def test_its_memory_can_be_given_up() -> None:
    world, domain = saved()
    done = thrice(world, name="web1", state="stopped", forced=True, root_disk_size=2 * GIB)
    assert done.result["changes"][0]["path"] == "saved_memory"
    assert domain.saved is None
    assert done.result["vm"]["disks"][0]["size_gib"] == 2


def test_a_reset_boots_it_anew() -> None:
    world, domain = saved()
    boots = domain.guest.boots
    assert apply(world, name="web1", state="restarted", forced=True).result["vm"]["state"] == "Running"
    assert domain.guest.boots == boots + 1


@pytest.mark.parametrize("state", ["destroyed", "expunged"])
def test_it_is_destroyed_and_expunged_as_any_other(state: str) -> None:
    world, domain = saved()
    thrice(world, name="web1", state=state)
    assert domain.saved is None
    if state == "destroyed":
        assert thrice(world, name="web1", state="recovered").result["vm"]["state"] == "Stopped"
