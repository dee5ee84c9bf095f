# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power tasks on VMs that are paused, or just going down: what is predicted is what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from functional.test_vm_life import WEB, apply, thrice

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power
from support.memory_state import MemoryDomain
from support.worlds import World, make_world


def deployed(power: Power) -> tuple[World, MemoryDomain]:
    world = make_world()
    apply(world, **WEB)
    (domain,) = world.state.domains.values()
    domain.power = power
    return world, domain


@pytest.mark.parametrize("forced", [False, True])
def test_a_paused_vm_that_is_restarted_runs(forced: bool) -> None:
    world, domain = deployed(Power.PAUSED)
    boots = domain.guest.boots
    predicted = apply(world, check=True, name="web1", state="restarted", forced=forced)
    done = apply(world, name="web1", state="restarted", forced=forced)
    assert predicted.result["vm"]["state"] == done.result["vm"]["state"] == "Running"
    assert predicted.after == done.after
    assert domain.guest.boots == boots + 1


@pytest.mark.parametrize(
    "task", [{"state": "stopped"}, {"state": "destroyed"}, {"allow_restart": True, "compute_offering": "medium"}]
)
def test_a_paused_vm_hears_that_it_is_to_go_down(task: dict[str, Any]) -> None:
    world, domain = deployed(Power.PAUSED)
    thrice(world, name="web1", **task)
    assert domain.power is (Power.RUNNING if "allow_restart" in task else Power.OFF)


@pytest.mark.parametrize("state", ["started", "restarted"])
def test_a_vm_that_is_going_down_is_started_once_it_is_off(state: str) -> None:
    world, domain = deployed(Power.SHUTDOWN)
    boots = domain.guest.boots
    predicted = apply(world, check=True, name="web1", state=state)
    done = apply(world, name="web1", state=state)
    assert done.changed
    assert predicted.after == done.after
    assert done.result["vm"]["state"] == "Running"
    assert domain.guest.boots == boots + 1
    assert not apply(world, name="web1", state="started").changed
