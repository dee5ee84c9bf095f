# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed addresses of VMs in networks of ours: chosen, kept, named in the DNS, given up."""

from __future__ import annotations

import socket
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    BridgeFacts,
    Lease,
    Reservation,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import waiting
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.fleets import fleet
from support.memory_calls import Killed
from support.memory_state import MemoryNetwork
from support.networks import apply as apply_net
from support.worlds import Controller, World, make_world

FIXED = (NicSpec("lan", ip="10.10.10.50"),)
AUTO = (NicSpec("lan", ip="auto"),)


def run(controller: Controller, **options: Any) -> Any:
    deploys = {"template": "tiny", "compute_offering": "small"} if "networks" in options else {}
    with controller.infrastructure as infrastructure:
        return apply_vm(infrastructure, VmSpec(**{"name": "web1", "wait": "none", **deploys, **options}))


def lan(world: World) -> MemoryNetwork:
    return world.state.networks["lan"]


def rows(world: World) -> list[tuple[str, str]]:
    """Addresses and names of all reservations."""
    return sorted((row.ip, row.name) for row in lan(world).facts.reservations)


def test_the_name_is_free_while_the_vm_is_destroyed_and_the_address_is_not() -> None:
    world = make_world()
    first = run(world.controller(), networks=FIXED).result["vm"]
    assert rows(world) == [("10.10.10.50", "web1")]
    run(world.controller(), state="destroyed")
    assert rows(world) == [("10.10.10.50", "")]
    with pytest.raises(AblestackError) as error:
        run(world.controller(), networks=FIXED)
    assert error.value.code is Code.CONFLICT
    run(world.controller(), networks=(NicSpec("lan", ip="10.10.10.51"),))
    assert rows(world) == [("10.10.10.50", ""), ("10.10.10.51", "web1")]
    run(world.controller(), state="destroyed")
    run(world.controller(), id=first["id"], state="recovered")
    assert rows(world) == [("10.10.10.50", "web1"), ("10.10.10.51", "")]
    run(world.controller(), state="expunged")
    assert rows(world) == []


@pytest.mark.parametrize("state", ["recovered", "present", "started"])
def test_a_recovery_killed_anywhere_gives_the_name_back_in_the_end(state: str) -> None:
    position = 0
    while True:
        position += 1
        world = make_world()
        run(world.controller(), networks=FIXED, autostart=True)
        run(world.controller(), state="destroyed")
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, Killed())
        try:
            run(controller, state="recovered")
        except Killed:
            pass
        else:
            break
        if state != "recovered" and not any(one.config.domain_name == "web1" for one in world.state.domains.values()):
            continue  # it has not its name yet, so only a recovery is about it
        run(world.controller(), state=state)
        assert rows(world) == [("10.10.10.50", "web1")], position
        assert next(iter(world.state.domains.values())).autostart, position
    assert position > 4


def test_a_destroy_killed_anywhere_frees_the_name_for_the_next() -> None:
    position = 0
    while True:
        position += 1
        world = make_world()
        run(world.controller(), networks=FIXED)
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, Killed())
        try:
            run(controller, state="destroyed")
        except Killed:
            pass
        else:
            break
        run(world.controller(), state="destroyed")
        run(world.controller(), networks=(NicSpec("lan", ip="10.10.10.51"),))
        assert rows(world) == [("10.10.10.50", ""), ("10.10.10.51", "web1")], position
    assert position > 3


def test_a_free_address_is_the_lowest_that_is_neither_reserved_nor_leased() -> None:
    world = make_world()
    lan(world).edit(reservations=(Reservation("52:54:00:00:00:01", "10.10.10.2"),))
    lan(world).leases = (Lease("52:54:00:00:00:02", "10.10.10.3"),)
    with world.controller(check=True).infrastructure as infrastructure:
        spec = VmSpec(name="web1", template="tiny", compute_offering="small", networks=AUTO)
        predicted = apply_vm(infrastructure, spec)
    done = run(world.controller(), networks=AUTO)
    assert predicted.after == done.after
    assert done.result["vm"]["nics"][0]["ip"] == "10.10.10.4"
    again = world.controller()
    assert not run(again, networks=AUTO).changed
    assert again.writes == []
    second = run(world.controller(), name="web2", networks=(*AUTO, *AUTO)).result["vm"]
    assert [nic["ip"] for nic in second["nics"]] == ["10.10.10.5", "10.10.10.6"]
    assert ("10.10.10.6", "") in rows(world), "a network's DNS has each name once"
    assert not run(world.controller(), name="web2", networks=(*AUTO, *AUTO)).changed
    more = run(world.controller(), name="web1", networks=(*AUTO, NicSpec("default"), *AUTO))
    assert [nic["ip"] for nic in more.result["vm"]["nics"]][0::2] == ["10.10.10.4", "10.10.10.7"]


def test_vms_deployed_at_once_by_one_process_get_different_addresses() -> None:
    world = make_world()
    controller = world.controller(check=True)  # where nothing of one shows to the other
    found = []
    for name in ("web1", "web2"):
        spec = VmSpec(name=name, template="tiny", compute_offering="small", networks=AUTO)
        found.append(apply_vm(controller.infrastructure, spec).result["vm"]["nics"][0]["ip"])
    assert found == ["10.10.10.2", "10.10.10.3"]


def test_a_free_address_is_found_in_networks_of_ours_alone() -> None:
    world = make_world()
    apply_net(world, name="office", type="shared", bridge="br0", cidr="10.40.0.0/24")
    for network in ("default", "office"):
        with pytest.raises(AblestackError) as error:
            run(world.controller(), networks=(NicSpec(network, ip="auto"),))
        assert error.value.code is Code.INVALID_INPUT
    apply_net(world, name="tiny", cidr="10.50.0.0/29")
    for number in range(5):
        run(world.controller(), name=f"web{number}", networks=(NicSpec("tiny", ip="auto"),))
    with pytest.raises(AblestackError) as error:
        run(world.controller(), name="one-more", networks=(NicSpec("tiny", ip="auto"),))
    assert error.value.code is Code.INSUFFICIENT_CAPACITY


def test_the_lease_of_a_vm_that_is_gone_is_taken_over_with_its_mac() -> None:
    """Or the DHCP would not give the address to its new owner before the lease has ended."""
    world = make_world()
    first = run(world.controller(), networks=FIXED).result["vm"]["nics"][0]
    assert [lease.ip for lease in lan(world).leases] == ["10.10.10.50"]
    run(world.controller(), state="expunged")
    second = run(world.controller(), networks=FIXED).result["vm"]["nics"][0]
    assert (second["mac"], second["ip"]) == (first["mac"], first["ip"])
    run(world.controller(), name="web2", networks=(NicSpec("lan"),))
    leased = next(lease for lease in lan(world).leases if lease.mac != first["mac"])
    for nic in (NicSpec("lan", ip=leased.ip), NicSpec("lan", ip=leased.ip, mac="52:54:00:00:00:09")):
        with pytest.raises(AblestackError, match="web2") as error:
            run(world.controller(), name="web3", networks=(nic,))
        assert error.value.code is Code.CONFLICT
    lan(world).leases = (Lease("02:00:00:00:00:01", "10.10.10.60", "laptop"),)
    with pytest.raises(AblestackError, match="laptop"):
        run(world.controller(), name="web3", networks=(NicSpec("lan", ip="10.10.10.60"),))


@pytest.mark.parametrize("ip", ["", "10.10.10.50"])
def test_the_lease_of_a_vm_that_was_made_since_the_vms_were_listed_is_not_taken_over(ip: str) -> None:
    world = make_world()
    controller = world.controller()
    (host,) = controller.hosts.values()

    def another() -> None:
        run(world.controller(), name="faster", networks=(NicSpec("lan", ip=ip),))
        leases = lan(world).leases
        lan(world).leases = tuple(replace(lease, ip="10.10.10.50") for lease in leases)

    host.act_at("leases", another)
    with pytest.raises(AblestackError, match=r"10\.10\.10\.50 .* 'faster'") as error:
        run(controller, networks=FIXED)
    assert error.value.code is Code.CONFLICT
    assert [domain.config.domain_name for domain in world.state.domains.values()].count("web1") == 0


def test_a_nic_that_is_plugged_in_takes_the_lease_of_a_vm_that_is_gone_over() -> None:
    world = make_world()
    gone = run(world.controller(), name="gone", networks=FIXED).result["vm"]["nics"][0]
    run(world.controller(), name="gone", state="expunged")
    run(world.controller(), networks=(NicSpec("lan"),))
    # an address for the NIC that is there: its MAC is for life
    lan(world).leases = tuple(replace(lease, expires=1767225600) for lease in lan(world).leases)
    with pytest.raises(AblestackError, match="until 2026-01-01T00:00:00Z") as error:
        run(world.controller(), networks=FIXED)
    assert error.value.code is Code.CONFLICT
    assert "new NIC" in error.value.hint
    vm = run(world.controller(), networks=(NicSpec("lan"), *FIXED)).result["vm"]
    assert (vm["nics"][1]["mac"], vm["nics"][1]["ip"]) == (gone["mac"], gone["ip"])
    again = world.controller()
    assert not run(again, networks=(NicSpec("lan"), *FIXED)).changed
    assert again.writes == []


def test_a_nic_does_not_take_over_what_another_of_the_same_vm_has_leased() -> None:
    world = make_world()
    run(world.controller(), networks=(NicSpec("lan"),))
    (lease,) = lan(world).leases
    with pytest.raises(AblestackError, match="web1") as error:
        run(world.controller(), networks=(NicSpec("lan"), NicSpec("lan", ip=lease.ip)))
    assert error.value.code is Code.CONFLICT


def test_an_address_reserved_by_hand_is_for_the_vm_with_that_mac() -> None:
    world = make_world()
    mac = "52:54:00:00:00:07"
    apply_net(world, name="lan", reservations=[{"mac": mac, "ip": "10.10.10.70", "name": "kept"}])
    with pytest.raises(AblestackError):
        run(world.controller(), networks=(NicSpec("lan", ip="10.10.10.70"),))
    vm = run(world.controller(), networks=(NicSpec("lan", mac=mac),)).result["vm"]
    assert vm["nics"][0]["mac"] == mac
    assert rows(world) == [("10.10.10.70", "kept")]
    run(world.controller(), state="expunged")
    assert rows(world) == [("10.10.10.70", "kept")]


def test_an_address_reserved_by_hand_outlives_a_deploy_that_fails() -> None:
    world = make_world()
    mac = "52:54:00:00:00:07"
    apply_net(world, name="lan", reservations=[{"mac": mac, "ip": "10.10.10.70", "name": "kept"}])
    for call in ("reserve", "start"):
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(call, AblestackError(Code.INTERNAL, "injected"), "after")
        with pytest.raises(AblestackError, match="injected"):
            run(controller, networks=(NicSpec("lan", ip="10.10.10.70", mac=mac), *FIXED))
        assert rows(world) == [("10.10.10.70", "kept")]
    run(world.controller(), networks=(NicSpec("lan", ip="10.10.10.70", mac=mac),))
    assert rows(world) == [("10.10.10.70", "web1")]
    run(world.controller(), state="expunged")
    assert rows(world) == []


OFFICE: dict[str, Any] = {"name": "office", "type": "shared", "bridge": "br0", "cidr": "10.40.0.0/24"}


def refusal(world: World, **options: Any) -> AblestackError:
    """The error of a task that is refused in check mode as in a run, with nothing written."""
    for check in (True, False):
        controller = world.controller(check)
        with pytest.raises(AblestackError) as error:
            run(controller, **options)
        assert controller.writes == []
    return error.value


def test_an_address_in_a_shared_network_is_one_on_all_hosts() -> None:
    world = make_world(hosts=3)
    apply_net(world, **OFFICE)
    apply_net(world, name="blue", cidr="10.20.0.0/24")
    mac = "52:54:00:00:00:07"
    there = (NicSpec("office", ip="10.40.0.5", mac=mac), NicSpec("blue", ip="10.20.0.5"))
    run(world.controller(), networks=there, host="kvm01")
    for nic in (NicSpec("office", ip="10.40.0.5"), NicSpec("office", mac=mac)):
        error = refusal(world, name="web2", networks=(nic,), host="kvm02")
        assert error.code is Code.CONFLICT
        assert "web1 on host kvm01" in error.sentence
    # what a host keeps to itself is another world on each
    run(world.controller(), name="web2", networks=(NicSpec("blue", ip="10.20.0.5", mac=mac),), host="kvm02")
    assert refusal(world, name="web2", networks=(there[0],)).code is Code.CONFLICT
    plugged = run(world.controller(), name="web2", networks=(NicSpec("office", ip="10.40.0.6"),)).result["vm"]
    assert not run(world.controller(), name="web2", networks=(NicSpec("office", ip="10.40.0.6"),)).changed
    assert refusal(world, networks=(NicSpec("office", ip="10.40.0.6"),)).code is Code.CONFLICT
    # it is not free before it is expunged, and nobody can tell of a host that is down
    run(world.controller(), name="web2", state="destroyed")
    assert "destroyed VM web2" in refusal(world, networks=(NicSpec("office", ip="10.40.0.6"),)).sentence
    world.down.add("kvm02")
    assert refusal(world, networks=(NicSpec("office", ip="10.40.0.9"),)).code is Code.HOST_UNAVAILABLE
    world.down.clear()
    run(world.controller(), name="web2", id=plugged["id"], state="expunged")
    assert run(world.controller(), networks=(NicSpec("office", ip="10.40.0.6"),)).changed


def test_of_a_fleet_no_two_vms_get_one_address_of_a_shared_network() -> None:
    world = make_world(hosts=2)
    apply_net(world, **OFFICE)
    networks = [{"name": "office", "ip": "10.40.0.5"}]
    vms = [{"name": f"web{number}", "host": f"kvm0{number}", "networks": networks} for number in (1, 2)]
    results = fleet(world.controller(), vms).result["results"]
    assert [row["failed"] for row in results] == [False, True]
    assert results[1]["error"]["code"] == "Conflict"


def test_on_a_network_that_only_describes_its_segment_the_guest_is_told_all_of_it() -> None:
    world = make_world()
    told = {"cidr": "10.40.0.0/22", "gateway": "10.40.0.1", "dns_servers": ["10.40.0.2"]}
    apply_net(world, name="office", type="shared", bridge="br0", **told)
    run(world.controller(), networks=(NicSpec("office", ip="10.40.1.5"),))
    seed = next(volume for name, volume in world.pool.volumes.items() if name.endswith("-seed.iso"))
    assert b"10.40.1.5/22" in seed.content
    assert b"10.40.0.2" in seed.content
    assert world.state.networks["office"].facts.reservations == ()


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [
        ({"bridge": "ovs0", "vlan": 100}, {"bridge": "ovs0", "vlan": 200}, True),
        ({"bridge": "ovs0", "vlan": 100}, {"bridge": "br0"}, True),
        ({"bridge": "ovs0", "vlan": 100}, {"bridge": "ovs0", "vlan": 100}, False),
        ({"bridge": "br0"}, {"bridge": "br0"}, False),
    ],
)
def test_another_network_may_have_the_same_address_unless_it_is_one_wire(
    first: dict[str, Any], second: dict[str, Any], free: bool
) -> None:
    world = make_world(hosts=2)
    for state in world.states.values():
        state.bridges["ovs0"] = BridgeFacts("ovs0", "other")
    for name, options in (("red", first), ("green", second)):
        apply_net(world, name=name, type="shared", cidr="10.40.0.0/24", **options)
    run(world.controller(), host="kvm01", networks=(NicSpec("red", ip="10.40.0.5"),))
    same = {"name": "web2", "host": "kvm01", "networks": (NicSpec("default"),)}
    run(world.controller(), **same)
    plugged = {"name": "web2", "networks": (NicSpec("default"), NicSpec("green", ip="10.40.0.5"))}
    for options in (plugged, {**same, "name": "web3", "networks": (NicSpec("green", ip="10.40.0.5"),)}):
        if free:
            assert run(world.controller(), **options).changed
            run(world.controller(), name=options["name"], state="expunged", forced=True)
            continue
        with pytest.raises(AblestackError) as taken:
            run(world.controller(), **options)
        assert taken.value.code is Code.CONFLICT
    # the same network is one wire over all hosts that have it
    with pytest.raises(AblestackError) as elsewhere:
        run(world.controller(), name="web4", host="kvm02", networks=(NicSpec("red", ip="10.40.0.5"),))
    assert elsewhere.value.code is Code.CONFLICT


def test_one_vm_may_have_one_address_in_two_networks() -> None:
    world = make_world()
    for vlan in (100, 200):
        world.state.bridges["ovs0"] = BridgeFacts("ovs0", "other")
        apply_net(world, name=f"v{vlan}", type="shared", bridge="ovs0", vlan=vlan, cidr="10.40.0.0/24")
    both = (NicSpec("v100", ip="10.40.0.5"), NicSpec("v200", ip="10.40.0.5"))
    assert [nic["ip"] for nic in run(world.controller(), networks=both).result["vm"]["nics"]] == ["10.40.0.5"] * 2
    assert not run(world.controller(), networks=both).changed


def test_a_wait_for_an_address_is_one_for_that_of_the_default_nic() -> None:
    world = make_world()
    run(world.controller(), networks=(NicSpec("lan"), NicSpec("default")))
    done = run(world.controller(), networks=(NicSpec("default"), NicSpec("lan")))
    vm = next(iter(world.state.domains.values()))
    assert [nic.network for nic in vm.live.nics] == ["lan", "default"], "its order cannot change while it runs"
    default = done.result["vm"]["nics"][0]
    assert default["network"] == "default"
    asked = world.controller()
    with asked.infrastructure as infrastructure:
        host = infrastructure.host("kvm01")
        facts = host.vm(host.domain(vm.config.id))
        assert waiting._default_nic(facts) == default["mac"]


@pytest.mark.parametrize(("banner", "reached"), [(b"SSH-2.0-test\r\n", True), (b"HTTP/1.1 400\r\n", False)])
def test_who_answers_with_sshs_banner_at_a_fixed_address_has_it(
    monkeypatch: pytest.MonkeyPatch, banner: bytes, reached: bool
) -> None:
    """Neither a lease nor an agent tells of an address that cloud-init set in a guest without agent."""
    world = make_world()
    (nic,) = run(world.controller(), networks=(NicSpec("lan"),)).result["vm"]["nics"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(waiting, "_SSH_PORT", server.getsockname()[1])

        def answer() -> None:
            connection, _address = server.accept()
            with connection:
                connection.sendall(banner)

        answering = Thread(target=answer)
        answering.start()
        with world.controller().infrastructure as infrastructure:
            host = infrastructure.host("kvm01")
            monkeypatch.setattr(
                host, "addresses", lambda _vm, sources: {nic["mac"]: ("127.0.0.1",)} if "reservation" in sources else {}
            )
            facts = host.vm(host.domain(next(iter(world.state.domains))))
            assert waiting._ssh(host, facts) is reached
        answering.join()
