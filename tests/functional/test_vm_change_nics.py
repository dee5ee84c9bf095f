# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIC an entry of `networks` means, and what becomes of addresses and MACs when the list changes."""

from __future__ import annotations

import pytest
from functional.test_vm_change import DEFAULT, LAN, MAC, VM, apply, outcome_of, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_calls import Killed

AUTO, NINTH = NicSpec("lan", ip="auto"), NicSpec("lan", ip="10.10.10.9")


def test_addresses_follow_their_nics() -> None:
    world = site()
    apply(world, **VM)
    lan = world.state.networks["lan"]

    def reserved() -> list[str]:
        return sorted(row.ip for row in lan.facts.reservations)

    apply(world, name="web1", networks=(NicSpec("lan", ip="10.10.10.51"), DEFAULT))
    assert reserved() == ["10.10.10.51"]
    apply(world, name="web1", networks=(NicSpec("lan"), DEFAULT, NicSpec("lan", ip="10.10.10.60")))
    assert reserved() == ["10.10.10.51", "10.10.10.60"]
    apply(world, name="web1", networks=(DEFAULT,))
    assert reserved() == []


@pytest.mark.parametrize(("before", "networks", "ips"), [
    # what a task leaves out says nothing against the NIC that is there, nor does it make another one the first
    ((LAN, NicSpec("lan")), (NicSpec("lan"), NicSpec("lan")), ["10.10.10.50", ""]),
    ((LAN,), (NicSpec("lan"), NicSpec("lan")), ["10.10.10.50", ""]),
    ((LAN, NicSpec("lan")), (NicSpec("lan"),), ["10.10.10.50"]),
    ((NicSpec("lan"), DEFAULT, LAN), (NicSpec("lan"), NicSpec("default"), NicSpec("lan")), ["", "", "10.10.10.50"]),
    ((LAN, NicSpec("lan")), (NicSpec("lan"), LAN), ["", "10.10.10.50"]),
    ((LAN, NINTH), (NicSpec("lan"), AUTO), ["10.10.10.50", "10.10.10.9"]),
    ((LAN, NicSpec("lan")), (NicSpec("lan"), AUTO), ["10.10.10.50", "10.10.10.2"]),
    ((NicSpec("lan"), LAN), (AUTO, NicSpec("lan")), ["10.10.10.2", "10.10.10.50"]),
    ((NicSpec("lan", ip="10.10.10.9", mac=MAC),), (AUTO, NicSpec("lan", mac=MAC)), [
        "10.10.10.2", "10.10.10.9"]),
    ((NicSpec("lan", ip="10.10.10.9", mac=MAC),), (NicSpec("lan", ip="auto", mac=MAC),), ["10.10.10.9"]),
])  # fmt: skip
def test_nics_of_one_network_keep_their_order(
    before: tuple[NicSpec, ...], networks: tuple[NicSpec, ...], ips: list[str]
) -> None:
    world = site()
    apply(world, **{**VM, "networks": before})
    done = apply(world, name="web1", networks=networks)
    fixed = {row.mac: row.ip for row in world.state.networks["lan"].facts.reservations}
    assert [fixed.get(nic["mac"], "") for nic in done.result["vm"]["nics"]] == ips
    assert not apply(world, name="web1", networks=networks).changed


def test_a_nic_leaves_an_open_vswitch_bridge_while_it_is_off() -> None:
    world = site()
    apply(world, **{**VM, "networks": (LAN, NicSpec("tagged", mac=MAC))})
    back = {"name": "web1", "networks": (LAN, DEFAULT)}
    with pytest.raises(AblestackError) as refused:
        apply(world, **back)
    assert refused.value.code is Code.INVALID_STATE
    done = apply(world, **back, allow_restart=True)
    assert outcome_of(done)[f"networks.{MAC}"] == "restart"
    assert not apply(world, **back).changed


def test_a_new_nic_has_a_mac_of_its_own_each_time_the_same() -> None:
    world = site()
    apply(world, **VM)
    networks = (LAN, DEFAULT, NicSpec("default"), NicSpec("default"))
    first = [nic["mac"] for nic in apply(world, name="web1", networks=networks).result["vm"]["nics"]]
    assert len(set(first)) == 4
    assert not apply(world, name="web1", networks=networks).changed
    apply(world, name="web1", networks=(LAN, DEFAULT))
    assert [nic["mac"] for nic in apply(world, name="web1", networks=networks).result["vm"]["nics"]] == first


def test_new_nics_of_one_task_have_macs_of_their_own() -> None:
    world = site()
    apply(world, **{**VM, "networks": (NicSpec("lan"),)})
    lan = NicSpec("lan")
    second = apply(world, name="web1", networks=(lan, lan)).result["vm"]["nics"][1]["mac"]
    apply(world, name="web1", networks=(NicSpec("lan", mac=second),))
    # the MAC that the second NIC of a network would get is the first one's
    nics = apply(world, name="web1", networks=(lan, lan, lan)).result["vm"]["nics"]
    assert len({nic["mac"] for nic in nics}) == 3
    assert nics[0]["mac"] == second
    assert not apply(world, name="web1", networks=(lan, lan, lan)).changed


def test_an_address_that_a_killed_run_reserved_for_another_nic_is_free() -> None:
    world = site()
    lan = NicSpec("lan")
    apply(world, **{**VM, "networks": (lan, lan)}, start=False)
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("reserve", Killed(), "after")
    with pytest.raises(Killed), controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", networks=(NINTH, lan), wait="none"))
    assert [row.ip for row in world.state.networks["lan"].facts.reservations] == ["10.10.10.9"]
    done = apply(world, name="web1", networks=(lan, NINTH))
    assert [nic["ip"] for nic in done.result["vm"]["nics"]] == ["", "10.10.10.9"]
    assert not apply(world, name="web1", networks=(lan, NINTH)).changed
    both = (NicSpec("lan", ip="10.10.10.60"), NINTH)
    fixed = {nic["mac"]: nic["ip"] for nic in apply(world, name="web1", networks=both).result["vm"]["nics"]}
    assert {row.mac: row.ip for row in world.state.networks["lan"].facts.reservations} == fixed


def test_what_a_killed_run_reserved_for_a_nic_that_never_came_is_given_back() -> None:
    world = site()
    apply(world, **{**VM, "networks": (DEFAULT,)}, start=False)
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("reserve", Killed(), "after")
    with pytest.raises(Killed), controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", networks=(DEFAULT, NINTH), wait="none"))
    given = "52:54:00:00:00:77"
    networks = (DEFAULT, NicSpec("lan", ip="10.10.10.9", mac=given))
    predicted, done = (
        apply(world, check=True, name="web1", networks=networks),
        apply(world, name="web1", networks=networks),
    )
    assert predicted.after == done.after
    assert [(row.mac, row.ip) for row in world.state.networks["lan"].facts.reservations] == [(given, "10.10.10.9")]
