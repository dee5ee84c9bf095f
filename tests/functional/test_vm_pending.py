# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running VM gets at its next start: told until then, and applied by it (invariant 19)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from functional.test_vm_change import CHANGES, LAN, VM, apply, domain, outcome_of, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_view import restart_required
from support.worlds import World

NEXT_BOOT = {
    name: given
    for name, (given, impacts) in CHANGES.items()
    if "next_boot" in impacts.values() and "restart" not in impacts.values()
}
LIVE = {name: given for name, (given, impacts) in CHANGES.items() if set(impacts.values()) <= {"live"}}


def running(**sections: Any) -> World:
    world = site(settings={"cpu_overprovisioning": 2}, **sections)
    assert not apply(world, **VM).result["restart_required"]
    return world


def test_the_table_has_all_kinds_of_what_waits() -> None:
    paths = {path for _given, impacts in CHANGES.values() for path, impact in impacts.items() if impact == "next_boot"}
    assert {"user_data", "ssh_key_pairs", "ssh_public_keys", "default_nic", "max_cpu"} <= paths


@pytest.mark.parametrize("name", NEXT_BOOT)
def test_what_waits_is_told_until_the_vm_is_stopped_and_started(name: str) -> None:
    world, options = running(), {"name": "web1", **NEXT_BOOT[name]}
    predicted = apply(world, check=True, **options)
    done = apply(world, **options)
    assert predicted.result["restart_required"]
    assert done.result["restart_required"]
    for reboots in ({}, {"state": "restarted"}):  # a reboot by the guest leaves its machine as it is
        assert apply(world, **{**options, **reboots}).result["restart_required"]
    stopped = apply(world, **options, state="stopped")
    assert not stopped.result["restart_required"]
    started = apply(world, **options, state="started")
    assert not started.result["restart_required"]
    assert domain(world).live == domain(world).config
    again = apply(world, **options)
    assert (again.changed, again.result["restart_required"]) == (False, False)


@pytest.mark.parametrize("name", LIVE)
def test_what_is_there_at_once_waits_for_nothing(name: str) -> None:
    world = running()
    done = apply(world, name="web1", **LIVE[name])
    assert not done.result["restart_required"]


def test_what_is_changed_while_it_is_off_waits_for_nothing() -> None:
    world = site()
    apply(world, **VM, start=False)
    apply(world, name="web1", user_data="#!/bin/sh\n", ssh_key_pairs=())
    assert domain(world).config.seeds == 0
    assert not apply(world, name="web1", state="started").result["restart_required"]


def test_somebody_elses_start_applies_it_too() -> None:
    world = running()
    apply(world, name="web1", user_data="#!/bin/sh\n")
    host = world.controller().hosts["kvm01"]
    host.power_off(domain(world).config.id)
    host.start(domain(world).config.id)
    with world.controller().infrastructure as infrastructure:
        found = infrastructure.host("kvm01")
        assert not restart_required(found.vm(found.domains()[0]))


def test_an_older_nic_beside_one_from_the_start_is_plugged_live() -> None:
    world = site()
    older = NicSpec("default", model="e1000")
    apply(world, **{**VM, "networks": (LAN, older)})
    done = apply(world, name="web1", networks=(LAN, older, NicSpec("lan", model="rtl8139")))
    assert outcome_of(done) == {"networks.lan": "live"}


@pytest.mark.parametrize(
    "edited", [{"cpu": 3, "max_cpu": 4}, {"cpu": 6, "max_cpu": 6}, {"memory": 2048}, {"memory": 8192}]
)
def test_a_size_that_somebody_wrote_into_the_definition_waits_for_the_next_start(edited: dict[str, int]) -> None:
    """It is what the task asks for, so nothing changes, whether the guest was started with room for it or not."""
    world = running()
    machine = domain(world)
    machine.config = replace(machine.config, **edited)
    catalog = replace(world.catalog, compute_offerings={})
    options = {"name": "web1", **{name: edited[name] for name in edited if name != "max_cpu"}}
    for check in (True, False):
        done = apply(replace(world, catalog=catalog), check=check, **options)
        assert (done.changed, done.result["changes"], done.result["restart_required"]) == (False, [], True)
    assert machine.live is not None
    assert (machine.live.cpu, machine.live.memory) == (2, 1024)
