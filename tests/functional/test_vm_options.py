# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of a VM is in a table of changes or of refusals, and none is touched where the VM is not to be changed.

The tables are those of test_vm_change, and the one here of sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from functional.test_vm_change import CHANGES, REFUSED, VM, apply, domain, holds, outcome_of, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.worlds import World

PLAIN = {"cpu": 2, "memory": 1024}
GROWING = {"compute_offering": "growing", "cpu": 2, "memory": 1024}
# how it is sized, what is asked -> the changes, with their impact while it runs
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "more cpu": (PLAIN, {"cpu": 3}, {"cpu": "restart"}),
    "less cpu": (PLAIN, {"cpu": 1}, {"cpu": "restart"}),
    "more memory": (PLAIN, {"memory": 2048}, {"memory": "restart"}),
    "both": (PLAIN, {"cpu": 3, "memory": 512}, {"cpu": "restart", "memory": "restart"}),
    "the same": (PLAIN, PLAIN, {}),
    "scaling without a maximum": (PLAIN, {"dynamic_scaling": True}, {"dynamic_scaling": "next_boot"}),
    "an offering without room": (PLAIN, {"compute_offering": "fixed"}, {
        "cpu": "restart", "memory": "restart", "compute_offering": "live"}),
    "an offering with room": (PLAIN, {"compute_offering": "large"}, {
        "cpu": "restart", "memory": "restart", "compute_offering": "live", "dynamic_scaling": "next_boot",
        "max_memory": "next_boot"}),
    "cpu grows": (GROWING, {"cpu": 3}, {"cpu": "live"}),
    "memory grows": (GROWING, {"memory": 2048}, {"memory": "live"}),
    "both grow": (GROWING, {"cpu": 4, "memory": 4096}, {"cpu": "live", "memory": "live"}),
    "memory by less than a block": (GROWING, {"memory": 1025}, {"memory": "restart", "max_memory": "next_boot"}),
    "cpu shrinks": (GROWING, {"cpu": 1}, {"cpu": "restart"}),
    "room goes": (GROWING, {"dynamic_scaling": False}, {
        "dynamic_scaling": "next_boot", "max_cpu": "next_boot", "max_memory": "next_boot"}),
}  # fmt: skip

# Options that change nothing by themselves: whose VM, how it comes to its state, how long that may take.
HOW = {"name", "id", "state", "start", "forced", "timeout", "force_after_timeout", "allow_restart"}
HOW |= {"delete_data_disks", "expunge_delay", "wait", "wait_timeout", "clone"}


def growing_site() -> World:
    world = site()
    offering = world.catalog.compute_offerings["large"]
    growing = replace(offering, name="growing", custom=True, cpu=None, memory=None, min_cpu=1, min_memory=256)
    return replace(
        world,
        catalog=replace(world.catalog, compute_offerings={**world.catalog.compute_offerings, "growing": growing}),
    )


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_classed_predicted_and_holds(name: str, running: bool) -> None:
    sized, given, impacts = SIZES[name]
    world = growing_site()
    vm = {key: value for key, value in VM.items() if key != "compute_offering"}
    apply(world, **vm, **sized, start=running)
    options = {"name": "web1", "allow_restart": True, **given}
    boots = domain(world).guest.boots
    predicted, done = apply(world, check=True, **options), apply(world, **options)
    asleep = {path: "restart" if path in ("cpu", "memory") else impact for path, impact in impacts.items()}
    assert outcome_of(done) == (impacts if running else asleep)
    assert domain(world).guest.boots == boots + (running and "restart" in impacts.values())
    holds(world, predicted, done, options)


def given_by_tables() -> Iterator[dict[str, Any]]:
    for given, _expected in (*CHANGES.values(), *REFUSED.values()):
        yield given
    for _sized, given, _impacts in SIZES.values():
        yield given


def test_no_option_is_missing_in_the_tables() -> None:
    options = {option for given in given_by_tables() for option in given}
    assert {field.name for field in fields(VmSpec)} - HOW == options
    for kind, option in ((DiskSpec, "data_disks"), (NicSpec, "networks")):
        entries = [entry for given in given_by_tables() for entry in given.get(option, ())]
        for field in fields(kind):
            assert any(getattr(entry, field.name) != field.default for entry in entries), f"{option}: {field.name}"


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("where", "code"), [("destroyed", Code.NOT_FOUND), ("not ours", Code.NOT_MANAGED)])
def test_no_option_touches_a_vm_that_is_not_to_be_changed(name: str, where: str, code: Code) -> None:
    given, _impacts = CHANGES[name]
    world = site()
    apply(world, **VM)
    vm = domain(world)
    if where == "destroyed":
        apply(world, name="web1", state="destroyed")
    else:
        vm.config = replace(vm.config, record=None)
        vm.live = replace(vm.config)
    was = (vm.config, vm.live, {name: volume.capacity for name, volume in world.pool.volumes.items()})
    given = {option: value for option, value in given.items() if option != "template"}  # which would deploy another
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(name="web1", wait="none", allow_restart=True, **given))
        assert refused.value.code is code
        assert controller.writes == []
    assert (vm.config, vm.live, {name: volume.capacity for name, volume in world.pool.volumes.items()}) == was
