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

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import ComputeOffering
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.worlds import World

PLAIN = {"cpu": 2, "memory": 1024}
DEFAULT_NIC = NicSpec("default")
GROWING = {"compute_offering": "growing", "cpu": 2, "memory": 1024}
MEDIUM = {"compute_offering": "medium"}
BOUNDED = {"compute_offering": "bounded", "cpu": 2, "memory": 1024, "dynamic_scaling": True}
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
    "scaling once refused": ({**MEDIUM, "dynamic_scaling": False}, MEDIUM, {}),
    "scaling once refused, another offering": ({**MEDIUM, "dynamic_scaling": False}, {"compute_offering": "large"}, {
        "cpu": "restart", "memory": "restart", "compute_offering": "live"}),
    "scaling once asked for": (BOUNDED, {"cpu": 3}, {"cpu": "live"}),
    "scaling once asked for, the offering again": (BOUNDED, {"compute_offering": "bounded", "memory": 2048}, {
        "memory": "live"}),
    "scaling asked for without an offering": ({**PLAIN, "dynamic_scaling": True}, {"cpu": 3}, {"cpu": "restart"}),
    "room of the VM's own offering": ({"compute_offering": "roomy"}, {"dynamic_scaling": True}, {
        "dynamic_scaling": "next_boot", "max_cpu": "next_boot"}),
    "a fixed offering's cpu grows": (MEDIUM, {"cpu": 4}, {"cpu": "live"}),
    "a fixed offering's memory grows": (MEDIUM, {"memory": 2048}, {"memory": "live"}),
    "both of a fixed offering grow": (MEDIUM, {"cpu": 3, "memory": 2048, **MEDIUM}, {"cpu": "live", "memory": "live"}),
    "grown, the offering again": ({**MEDIUM, "cpu": 4}, MEDIUM, {}),
    "grown, and back": ({**MEDIUM, "cpu": 4}, {"cpu": 2}, {"cpu": "restart"}),
    "grown, without scaling": ({**MEDIUM, "cpu": 4}, {"dynamic_scaling": False}, {
        "dynamic_scaling": "next_boot", "max_memory": "next_boot"}),
    "grown, scaling refused, and the offering again": ({**MEDIUM, "cpu": 4}, {"dynamic_scaling": False, **MEDIUM}, {
        "dynamic_scaling": "next_boot", "max_memory": "next_boot"}),
    "numbers instead of a fixed offering": ({"compute_offering": "fixed"}, {"cpu": 3, "memory": 512}, {
        "cpu": "restart", "compute_offering": "live"}),
    "the numbers of a fixed offering": ({"compute_offering": "fixed"}, {"cpu": 1, "memory": 512}, {}),
    "numbers past an offering": (MEDIUM, {"cpu": 8, "memory": 1024}, {
        "cpu": "restart", "compute_offering": "live", "dynamic_scaling": "next_boot", "max_cpu": "next_boot",
        "max_memory": "next_boot"}),
}  # fmt: skip
BAD_SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "less than a fixed offering": (MEDIUM, {"cpu": 1}, "choose between 2 and 4"),
    "more than its maximum": (MEDIUM, {"memory": 8192}, "choose between 1024 and 4096"),
    "both, and the offering": (MEDIUM, {**MEDIUM, "cpu": 9, "memory": 1024}, "choose between 2 and 4"),
    "a fixed offering that does not scale": ({"compute_offering": "roomy"}, {"cpu": 3}, "leave cpu out"),
    "scaling refused": (MEDIUM, {"cpu": 3, "dynamic_scaling": False}, "leave cpu out"),
    "less than a custom offering": (GROWING, {"memory": 128}, "choose between 256 and 4096"),
}

# Options that change nothing by themselves: whose VM, how it comes to its state, how long that may take.
HOW = {"name", "id", "state", "start", "forced", "timeout", "force_after_timeout", "allow_restart"}
HOW |= {"delete_data_disks", "expunge_delay", "wait", "wait_timeout", "clone"}


def growing_site() -> World:
    world = site()
    offering = world.catalog.compute_offerings["large"]
    growing = replace(offering, name="growing", custom=True, cpu=None, memory=None, min_cpu=1, min_memory=256)
    bounded = replace(growing, name="bounded", dynamic_scaling=False)
    roomy = replace(offering, name="roomy", cpu=2, max_cpu=4, max_memory=None, dynamic_scaling=False)
    return with_offerings(world, growing, bounded, roomy)


def with_offerings(world: World, *offerings: ComputeOffering) -> World:
    known = {**world.catalog.compute_offerings, **{offering.name: offering for offering in offerings}}
    return replace(world, catalog=replace(world.catalog, compute_offerings=known))


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


@pytest.mark.parametrize("name", BAD_SIZES)
def test_a_size_outside_its_offering_is_refused_with_the_bounds(name: str) -> None:
    sized, given, hint = BAD_SIZES[name]
    world = growing_site()
    vm = {key: value for key, value in VM.items() if key != "compute_offering"}
    apply(world, **vm, **sized)
    controller = world.controller()
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", wait="none", allow_restart=True, **given))
    assert refused.value.code is Code.INVALID_INPUT
    assert hint in refused.value.hint
    assert controller.writes == []


def test_numbers_need_no_offering_that_has_left_the_catalog() -> None:
    world = site()
    apply(world, **VM)
    none = replace(world, catalog=replace(world.catalog, compute_offerings={}))
    assert not apply(none, name="web1", cpu=2, memory=1024).changed
    assert not apply(none, name="web1", cpu=2, dynamic_scaling=True).changed
    with pytest.raises(AblestackError, match="'medium' is not in the catalog") as unknown:
        apply(none, name="web1", cpu=4)
    assert unknown.value.code is Code.NOT_FOUND
    options = {"name": "web1", "cpu": 3, "memory": 1024, "allow_restart": True}
    done = apply(none, **options)
    assert (done.result["vm"]["cpu"], done.result["vm"]["compute_offering"]) == (3, "")
    assert not apply(none, **options).changed


def test_scaling_without_the_offering_in_the_catalog_keeps_its_name() -> None:
    world = site()
    apply(world, **VM)
    none = replace(world, catalog=replace(world.catalog, compute_offerings={}))
    done = apply(none, name="web1", dynamic_scaling=False)
    assert (done.result["vm"]["dynamic_scaling"], done.result["vm"]["compute_offering"]) == (False, "medium")
    assert not apply(world, name="web1", **MEDIUM).changed


def test_an_offering_that_changed_in_the_catalog_is_followed_but_for_what_was_chosen() -> None:
    world = site()
    apply(world, **VM)
    apply(world, **{**VM, "name": "web2", "data_disks": (), "networks": (DEFAULT_NIC,)}, dynamic_scaling=False)
    offering = world.catalog.compute_offerings["medium"]
    world = with_offerings(world, replace(offering, dynamic_scaling=False, memory=2048))
    for name in ("web1", "web2"):
        done = apply(world, name=name, allow_restart=True, **MEDIUM)
        assert (done.result["vm"]["dynamic_scaling"], done.result["vm"]["memory"]) == (False, 2048)
    world = with_offerings(world, replace(offering, dynamic_scaling=True, memory=2048))
    assert apply(world, name="web1", **MEDIUM).result["vm"]["dynamic_scaling"]
    assert not apply(world, name="web2", **MEDIUM).changed


def test_an_offering_for_other_hosts_is_refused() -> None:
    world = site()
    apply(world, **VM)
    tagged = replace(world.catalog.compute_offerings["large"], name="tagged", host_tags=("gpu",))
    controller = with_offerings(world, tagged).controller()
    with pytest.raises(AblestackError, match="a host tagged gpu") as refused, controller.infrastructure as infra:
        apply_vm(infra, VmSpec(name="web1", wait="none", compute_offering="tagged"))
    assert refused.value.code is Code.UNSUPPORTED
    assert controller.writes == []


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


def test_disks_beyond_the_letters_are_named_as_linux_does() -> None:
    world = site(settings={"max_data_disks": 120})
    disks = tuple(DiskSpec(f"d{number}", size=GIB) for number in range(120))
    vm = apply(world, **{**VM, "data_disks": disks}).result["vm"]
    targets = [disk["target"] for disk in vm["disks"] if disk["role"] == "data"]
    assert [targets[at] for at in (0, 23, 24, -1)] == ["vdb", "vdz", "vdaa", "vddr"]
    assert len(set(targets)) == 120
    assert not apply(world, name="web1", data_disks=disks).changed
