# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a network over a host in memory: every option, twice, and what check mode says of it beforehand"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import BridgeFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import NETWORK_OPTIONS
from support.memory_host import MemoryHost
from support.networks import MAC, NET, apply, changes, refused, thrice, vm
from support.worlds import make_world


def test_an_isolated_network_needs_but_a_range() -> None:
    world = make_world()
    network = thrice(world, **NET).result["network"]
    assert (network["type"], network["state"], network["autostart"]) == ("isolated", "Active", True)
    assert (network["gateway"], network["dhcp_start"], network["dhcp_end"]) == ("10.20.0.1", "10.20.0.2", "10.20.0.254")
    assert world.state.networks["blue"].facts.forward == "nat"
    assert world.state.networks["blue"].autostart
    assert network["managed"]
    assert network["created"]


FIRST: dict[str, Any] = {
    "type": "routed",
    "cidr": "10.30.0.0/24",
    "gateway": "10.30.0.254",
    "dhcp_start": "10.30.0.100",
    "dhcp_end": "10.30.0.199",
    "ip6_cidr": "fd00:30::/64",
    "ip6_gateway": "fd00:30::ffff",
    "dns_servers": ["9.9.9.9", "1.1.1.1"],
    "dns_records": [{"ip": "10.30.0.9", "names": ["printer", "laser"]}],
    "domain": "lab.example",
    "mtu": 1400,
    "bridge": "blue0",
    "reservations": [{"mac": MAC, "ip": "10.30.0.50", "name": "nas"}],
    "autostart": False,
    "labels": {"tier": "front"},
}


def test_every_option_of_a_network_with_dhcp() -> None:
    world = make_world()
    network = thrice(world, name="blue", **FIRST).result["network"]
    assert {key: network[key] for key in FIRST if key != "reservations"} == {
        key: value for key, value in FIRST.items() if key != "reservations"
    }
    assert network["reservations"] == [
        {"mac": MAC, "ip": "10.30.0.50", "name": "nas", "vm": "", "host": "kvm01"},
    ]
    # nothing of it is managed by a task that does not name it
    assert not apply(world, name="blue").changed
    assert not apply(world, name="blue", state="restarted").changed


CHANGES: tuple[tuple[str, Any, str], ...] = (
    ("type", "isolated", "restart"),
    ("cidr", "10.31.0.0/16", "restart"),
    ("gateway", "10.30.0.1", "restart"),
    ("dhcp_start", "10.30.0.150", "live"),
    ("dhcp_end", "10.30.0.200", "live"),
    ("ip6_cidr", "", "restart"),
    ("ip6_gateway", "fd00:30::1", "restart"),
    ("dns_servers", ["9.9.9.9"], "restart"),
    ("dns_servers", [], "restart"),
    ("dns_records", [{"ip": "10.30.0.9", "names": ["printer"]}], "live"),
    ("dns_records", [], "live"),
    ("domain", "other.example", "restart"),
    ("domain", "", "restart"),
    ("mtu", 9000, "restart"),
    ("mtu", 0, "restart"),
    ("bridge", "blue1", "restart"),
    ("reservations", [], "live"),
    ("reservations", [{"mac": MAC, "ip": "10.30.0.51"}], "live"),
    ("reservations", [{"mac": "52:54:00:00:00:02", "ip": "10.30.0.50", "name": "nas"}], "live"),
    ("autostart", True, "live"),
    ("labels", {"tier": "back"}, "live"),
    ("labels", {}, "live"),
)
"""What each option of FIRST is changed to, and what that costs."""
OFFICE: dict[str, Any] = {
    "type": "shared",
    "bridge": "ovs0",
    "vlan": 100,
    "cidr": "10.40.0.0/24",
    "gateway": "10.40.0.1",
    "dns_servers": ["10.40.0.2"],
    "labels": {"tier": "front"},
}
BRIDGED: tuple[tuple[str, Any, str], ...] = (
    ("bridge", "ovs1", "restart"),
    ("vlan", 200, "restart"),
    ("vlan", 0, "restart"),
    ("cidr", "10.41.0.0/16", "live"),
    ("cidr", "", "live"),
    ("gateway", "10.40.0.254", "live"),
    ("gateway", "", "live"),
    ("dns_servers", [], "live"),
    ("autostart", False, "live"),
    ("labels", {}, "live"),
)
"""The same of OFFICE, whose addresses only describe the segment."""


def test_no_option_is_without_such_a_test() -> None:
    tested = {option for option, _value, _impact in (*CHANGES, *BRIDGED)}
    assert tested == set(NETWORK_OPTIONS) - {"name", "state", "zone", "hosts"}
    assert {option for option, _value, _impact in CHANGES} == set(FIRST)
    assert {option for option, _value, _impact in BRIDGED} == set(OFFICE) - {"type"} | {"autostart"}


@pytest.mark.parametrize(("option", "value", "impact"), BRIDGED)
def test_every_change_of_a_network_on_a_bridge(option: str, value: Any, impact: str) -> None:
    world = make_world()
    for bridge in ("ovs0", "ovs1"):
        world.state.bridges[bridge] = BridgeFacts(bridge, "other")
    thrice(world, name="office", **OFFICE)
    options: dict[str, Any] = {option: value}
    if option == "cidr":
        options["gateway"] = value.replace("0.0/16", "0.1")
    done = thrice(world, name="office", **options)
    assert changes(done)[option] == impact
    assert done.result["restart_required"] == (impact == "restart")
    assert done.result["network"]["pending"] == ([option] if impact == "restart" else [])
    assert thrice(world, name="office", state="restarted", **options).changed == (impact == "restart")
    assert not apply(world, name="office").result["network"]["pending"]


@pytest.mark.parametrize("options", [{"zone": "b"}, {"hosts": ["kvm02", "kvm03"]}])
def test_where_it_is_made_is_chosen_by_zone_or_by_name(options: dict[str, Any]) -> None:
    world = make_world(hosts=3, host_values={name: {"zone": "b"} for name in ("kvm02", "kvm03")})
    assert thrice(world, **NET, **options).result["network"]["hosts"] == ["kvm02", "kvm03"]
    thrice(world, name="blue", **options, state="absent")
    assert not any("blue" in state.networks for state in world.states.values())


@pytest.mark.parametrize(("option", "value", "impact"), CHANGES)
def test_every_change_is_made_live_or_waits(option: str, value: Any, impact: str) -> None:
    world = make_world()
    apply(world, name="blue", **FIRST)
    options: dict[str, Any] = {option: value}
    if option == "cidr":
        options |= {"reservations": [], "dns_records": []}
    if option == "ip6_cidr":
        options["ip6_gateway"] = ""
    done = thrice(world, name="blue", **options)
    assert changes(done)[option] == impact
    assert done.result["restart_required"] == (impact == "restart")
    assert bool(done.result["network"]["pending"]) == (impact == "restart")
    running = world.state.networks["blue"]
    assert (running.stored != running.facts) == (impact == "restart")
    restarted = thrice(world, name="blue", state="restarted", **options)
    assert restarted.changed == (impact == "restart")
    assert not restarted.result["restart_required"]
    assert running.stored == running.facts


def test_two_reservations_may_change_places() -> None:
    world = make_world()
    one, two = "52:54:00:00:00:01", "52:54:00:00:00:02"
    rows = [{"mac": one, "ip": "10.20.0.5", "name": "a"}, {"mac": two, "ip": "10.20.0.6", "name": "b"}]
    thrice(world, **NET, reservations=rows)
    swapped = [{**rows[0], "ip": "10.20.0.6", "name": "b"}, {**rows[1], "ip": "10.20.0.5", "name": "a"}]
    done = thrice(world, **NET, reservations=swapped)
    assert [(row["mac"], row["ip"]) for row in done.result["network"]["reservations"]] == [
        (two, "10.20.0.5"),
        (one, "10.20.0.6"),
    ]


def test_a_shared_network_is_on_a_bridge_of_the_hosts() -> None:
    world = make_world()
    options = {
        "name": "office",
        "type": "shared",
        "bridge": "br0",
        "cidr": "10.40.0.0/24",
        "gateway": "10.40.0.1",
        "dns_servers": ["10.40.0.2"],
    }
    network = thrice(world, **options).result["network"]
    facts = world.state.networks["office"].facts
    assert (facts.forward, facts.bridge, facts.vlan, facts.openvswitch) == ("bridge", "br0", 0, False)
    assert (network["cidr"], network["gateway"], network["dhcp_start"]) == ("10.40.0.0/24", "10.40.0.1", "")
    # what only describes it changes at once
    moved = thrice(world, **{**options, "gateway": "10.40.0.254", "dns_servers": []})
    assert set(changes(moved).values()) == {"live"}
    assert refused(world, name="x", type="shared").code is Code.INVALID_INPUT
    assert refused(world, name="x", type="shared", bridge="br9").code is Code.NOT_FOUND


def test_a_vlan_needs_a_bridge_that_knows_vlans() -> None:
    world = make_world()
    options = {"name": "v100", "type": "shared", "bridge": "br0", "vlan": 100}
    assert "Linux bridge" in str(refused(world, **options))
    world.state.bridges["br0"] = BridgeFacts("br0", "linux", tags_vlans=True)
    thrice(world, **options)
    assert not world.state.networks["v100"].facts.openvswitch
    world.state.bridges["ovs0"] = BridgeFacts("ovs0", "other")
    thrice(world, **{**options, "bridge": "ovs0"})
    assert world.state.networks["v100"].stored.openvswitch
    thrice(world, name="v200", type="l2", bridge="ovs0", vlan=200)
    assert world.state.networks["v200"].facts.vlan == 200
    world.state.bridges["any"] = BridgeFacts("any", "unknown")
    thrice(world, name="v300", type="l2", bridge="any", vlan=300)
    assert world.state.networks["v300"].facts.openvswitch


def test_an_l2_network_has_a_bridge_and_nothing_else() -> None:
    world = make_world()
    network = thrice(world, name="wire", type="l2", mtu=9000).result["network"]
    assert (network["type"], network["cidr"], network["gateway"], network["dhcp_start"]) == ("l2", "", "", "")
    assert world.state.networks["wire"].facts.forward == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"cidr": ""}, Code.INVALID_INPUT),
        ({"cidr": "10.20.0.5/24"}, Code.INVALID_INPUT),
        ({"cidr": "nonsense/24"}, Code.INVALID_INPUT),
        ({"cidr": "10.20.0.0"}, Code.INVALID_INPUT),
        ({"cidr": "10.20.0.0/31"}, Code.INVALID_INPUT),
        ({"cidr": "127.0.0.0/24"}, Code.INVALID_INPUT),
        ({"cidr": "224.0.0.0/24"}, Code.INVALID_INPUT),
        ({"gateway": "10.21.0.1"}, Code.INVALID_INPUT),
        ({"gateway": "10.20.0.0"}, Code.INVALID_INPUT),
        ({"gateway": "10.20.0.255"}, Code.INVALID_INPUT),
        ({"gateway": "fd00::1"}, Code.INVALID_INPUT),
        ({"dhcp_start": "10.20.0.9", "dhcp_end": "10.20.0.8"}, Code.INVALID_INPUT),
        ({"dhcp_start": "10.21.0.9"}, Code.INVALID_INPUT),
        ({"cidr": "10.0.0.0/8", "dhcp_start": "10.0.0.2", "dhcp_end": "10.9.0.2"}, Code.INVALID_INPUT),
        ({"ip6_cidr": "fd00::/48"}, Code.INVALID_INPUT),
        ({"ip6_cidr": "10.50.0.0/24"}, Code.INVALID_INPUT),
        ({"ip6_gateway": "fd00::1"}, Code.INVALID_INPUT),
        ({"cidr": "fd00::/64", "ip6_cidr": "fd01::/64"}, Code.INVALID_INPUT),
        ({"reservations": [{"mac": MAC, "ip": "10.21.0.5"}]}, Code.INVALID_INPUT),
        ({"reservations": [{"mac": MAC, "ip": "10.20.0.1"}]}, Code.INVALID_INPUT),
        ({"cidr": "fd00::/64", "reservations": [{"mac": MAC, "ip": "fd00::5"}]}, Code.UNSUPPORTED),
        ({"vlan": 5}, Code.INVALID_INPUT),
        ({"mtu": 67}, Code.INVALID_INPUT),
        ({"type": "l2", "bridge": "br0", "gateway": "10.20.0.1"}, Code.INVALID_INPUT),
        ({"bridge": "virbr0"}, Code.CONFLICT),
        ({"type": "l2"}, Code.INVALID_INPUT),
        ({"type": "shared", "bridge": "br0", "gateway": "10.21.0.1"}, Code.INVALID_INPUT),
        ({"type": "shared", "bridge": "br0", "domain": "a.example"}, Code.INVALID_INPUT),
        ({"type": "shared", "bridge": "br0", "mtu": 9000}, Code.INVALID_INPUT),
        ({"type": "l2", "cidr": "", "vlan": 5}, Code.INVALID_INPUT),
        ({"cidr": "192.168.0.0/16"}, Code.CONFLICT),
        ({"cidr": "10.10.10.128/25"}, Code.CONFLICT),
    ],
)
def test_a_bad_network_is_refused_before_anything_is_written(options: dict[str, Any], code: Code) -> None:
    assert refused(make_world(), **{**NET, **options}).code is code


def test_an_overlap_is_told_by_the_other_networks_name() -> None:
    world = make_world()
    error = refused(world, name="blue", cidr="192.168.122.0/25")
    assert "'default'" in str(error)
    assert error.details["network"] == "default"
    apply(world, **NET)
    assert refused(world, name="blue", cidr="10.10.10.0/24").details["network"] == "lan"
    thrice(world, name="green", cidr="10.20.1.0/24", ip6_cidr="fd00:1::/64")
    assert refused(world, name="red", cidr="10.20.2.0/24", ip6_cidr="fd00:1::/64").details["network"] == "green"


def test_ipv6_alone() -> None:
    network = thrice(make_world(), name="six", cidr="fd00:6::/64").result["network"]
    assert (network["gateway"], network["dhcp_start"], network["dhcp_end"]) == (
        "fd00:6::1",
        "fd00:6::1000",
        "fd00:6::1fff",
    )


def test_a_large_range_gets_as_many_leases_as_libvirt_allows() -> None:
    network = thrice(make_world(), name="wide", cidr="172.16.0.0/12").result["network"]
    assert (network["dhcp_start"], network["dhcp_end"]) == ("172.16.0.2", "172.17.0.0")


def test_networks_of_others_are_never_changed() -> None:
    world = make_world()
    before = deepcopy(world.state.networks["default"])
    for options in ({"state": "absent"}, {}, {"labels": {"a": "b"}}, {"state": "restarted"}):
        assert refused(world, name="default", **options).code is Code.NOT_MANAGED
    vm(world, name="web1", networks=(NicSpec("default", ip="192.168.122.50"), NicSpec("default")))
    vm(world, name="web1", state="destroyed")
    vm(world, name="web1", state="recovered")
    vm(world, name="web1", state="expunged")
    after = world.state.networks["default"]
    assert replace(after, leases=()) == replace(before, leases=())


def test_a_network_in_use_is_neither_deleted_nor_restarted() -> None:
    world = make_world()
    apply(world, **NET)
    vm(world, name="web1", networks=(NicSpec("blue", ip="10.20.0.50"),))
    error = refused(world, name="blue", state="absent")
    assert error.code is Code.IN_USE
    assert "web1" in str(error)
    waiting = thrice(world, **NET, domain="a.example")
    assert waiting.result["restart_required"]
    assert "web1" in waiting.warnings[0]
    error = refused(world, **NET, state="restarted", domain="b.example")
    assert error.code is Code.IN_USE
    assert error.details["vms"] == ["web1"]
    # nothing is left of what was refused
    assert world.state.networks["blue"].stored.domain == "a.example"
    assert refused(world, name="blue", cidr="10.99.0.0/24").code is Code.IN_USE
    vm(world, name="web1", state="stopped")
    assert thrice(world, **NET, state="restarted", domain="b.example").changed
    assert refused(world, name="blue", state="absent").code is Code.IN_USE
    vm(world, name="web1", state="destroyed")
    assert "destroyed" in str(refused(world, name="blue", state="absent"))
    vm(world, name="web1", state="expunged")
    assert thrice(world, name="blue", state="absent").result["network"] == {}
    assert "blue" not in world.state.networks


def test_what_vms_were_given_is_no_business_of_the_network_task() -> None:
    world = make_world()
    apply(world, **NET, reservations=[{"mac": MAC, "ip": "10.20.0.40"}])
    found = vm(world, name="web1", networks=(NicSpec("blue", ip="10.20.0.50"),))
    mac = found["nics"][0]["mac"]
    network = thrice(world, **NET, reservations=[]).result["network"]
    assert network["reservations"] == [{"mac": mac, "ip": "10.20.0.50", "name": "web1", "vm": "web1", "host": "kvm01"}]
    assert network["vms"] == ["web1"]
    assert refused(world, **NET, reservations=[{"mac": MAC, "ip": "10.20.0.50"}]).code is Code.CONFLICT
    assert refused(world, **NET, reservations=[{"mac": mac, "ip": "10.20.0.51"}]).code is Code.CONFLICT
    assert refused(world, **NET, reservations=[{"mac": MAC, "ip": "10.20.0.51", "name": "web1"}]).code is Code.CONFLICT
    assert not apply(world, **NET, reservations=[{"mac": mac, "ip": "10.20.0.50"}]).changed


def test_an_l2_network_on_a_bridge_may_say_which_addresses_are_used_there() -> None:
    world = make_world()
    network = thrice(world, name="wire", type="l2", bridge="br0", cidr="10.40.0.0/24").result["network"]
    assert (network["cidr"], network["gateway"], network["dhcp_start"]) == ("10.40.0.0/24", "", "")
    nics = vm(world, name="web1", networks=(NicSpec("wire", ip="10.40.0.5"),))["nics"]
    assert nics[0]["ip"] == "10.40.0.5"
    assert not apply(world, name="wire").changed
    assert changes(thrice(world, name="wire", cidr="10.40.0.0/16")) == {"cidr": "live"}
    assert thrice(world, name="wire", cidr="").result["network"]["cidr"] == ""


def test_the_smallest_network_has_one_address_to_hand_out() -> None:
    network = thrice(make_world(), name="tiny", cidr="10.20.0.4/30").result["network"]
    assert (network["gateway"], network["dhcp_start"], network["dhcp_end"]) == ("10.20.0.5", "10.20.0.6", "10.20.0.6")


@pytest.mark.parametrize(
    ("gateway", "range_"),
    [("10.20.0.2", ("10.20.0.100", "10.20.0.199")), ("10.20.0.150", ("10.20.0.1", "10.20.0.254"))],
)
def test_a_range_stays_where_another_gateway_leaves_it_whole(gateway: str, range_: tuple[str, str]) -> None:
    world = make_world()
    apply(world, **NET, dhcp_start="10.20.0.100", dhcp_end="10.20.0.199")
    network = thrice(world, name="blue", gateway=gateway).result["network"]
    assert (network["dhcp_start"], network["dhcp_end"]) == range_


def test_a_gateway_within_the_range_keeps_the_range() -> None:
    world = make_world()
    own = {"gateway": "10.20.0.100", "dhcp_start": "10.20.0.50", "dhcp_end": "10.20.0.150"}
    thrice(world, **NET, **own)
    for part in ({}, {"dhcp_end": "10.20.0.150"}, {"gateway": "10.20.0.100"}, NET):
        assert not apply(world, **{"name": "blue", **part}).changed
    network = thrice(world, name="blue", dhcp_start="10.20.0.60").result["network"]
    assert {key: network[key] for key in own} == {**own, "dhcp_start": "10.20.0.60"}


def test_a_new_network_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()

    def fails(self: MemoryHost, name: str) -> None:
        raise AblestackError(Code.INVALID_STATE, f"network '{name}' does not start")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryHost, "start_network", fails)
        with pytest.raises(AblestackError, match="does not start"):
            apply(world, **NET)
    assert "blue" not in world.state.networks
    # one that was there before stays as it is
    thrice(world, **NET)
    world.state.networks["blue"].power(False)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryHost, "start_network", fails)
        with pytest.raises(AblestackError, match="does not start"):
            apply(world, **NET)
    assert "blue" in world.state.networks
