# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks on real libvirt, and what guests see of them: addresses, names, each other, and no interruption."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any, Callable

import libvirt
import pytest
from lab_tests.lab import Lab, wait_for
from lab_tests.runs import Run

Tasks = Callable[..., list[dict[str, Any]]]

PING = "ping -c 5 -W 10"
"""Succeeds with any answer."""

BLUE: dict[str, Any] = {"name": "blue", "cidr": "10.20.0.0/24", "domain": "lab.test"}
VM: dict[str, Any] = {
    "template": "tiny",
    "compute_offering": "tiny",
    "ssh_key_pairs": ["lab"],
    "zone": "one",
    "wait": "ssh",
}

# What each type is made with, and changed to.
TYPES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (
        {"type": "routed", "cidr": "10.30.0.0/24", "ip6_cidr": "fd00:30::/64", "mtu": 1400, "bridge": "routed0"},
        {"ip6_cidr": "", "gateway": "10.30.0.254", "dns_servers": ["9.9.9.9"]},
    ),
    ({"cidr": "fd00:40::/64", "labels": {"a": "b"}}, {"dhcp_end": "fd00:40::1100", "autostart": False}),
    ({"type": "l2", "mtu": 1400}, {"type": "isolated", "cidr": "10.31.0.0/24"}),
)


@pytest.fixture(scope="module")
def catalog(clean_lab: Lab) -> dict[str, Any]:
    catalog = clean_lab.catalog(
        2,
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}},
        ssh_key_pairs={"lab": clean_lab.public_key},
        settings={"cpu_overprovisioning": 20, "stop_timeout": 180},
    )
    for host, zone in zip(catalog["hosts"], ("one", "two")):
        host["zone"] = zone
    return catalog


@pytest.fixture(scope="module")
def tasks(clean_lab: Lab, catalog: dict[str, Any], run_playbook: Callable[..., Run]) -> Tasks:
    """Runs tasks on h1, or on `hosts`, in one playbook; the template is registered.

    A task is its module's short name and options, of which `check` runs it in check mode and `fails` lets it fail.
    """

    def run(*wanted: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        plays = []
        for number, (module, options) in enumerate(wanted):
            arguments = {key: value for key, value in options.items() if key not in ("check", "fails")}
            plays.append(
                {
                    "name": f"task {number}",
                    f"ablestack.kvm.ablestack_{module}": arguments,
                    "check_mode": options.get("check", False),
                    "diff": True,
                    "ignore_errors": options.get("fails", False),
                }
            )
        defaults = {"group/ablestack.kvm.ablestack": {"catalog": catalog}}
        play = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": plays}
        done = run_playbook([play])
        for number, (_module, options) in enumerate(wanted):
            assert ("error" in done[f"task {number}"]) is options.get("fails", False), done[f"task {number}"]
        return [done[f"task {number}"] for number in range(len(wanted))]

    run(("template", {"name": "tiny", "format": "qcow2", "src": str(clean_lab.tiny)}))
    return run


def net(**options: Any) -> tuple[str, dict[str, Any]]:
    return "network", {"hosts": ["h1"], **options}


def vm(**options: Any) -> tuple[str, dict[str, Any]]:
    return "vm", options


def deployed(name: str, *networks: Any, **options: Any) -> tuple[str, dict[str, Any]]:
    return "vm", {**VM, "name": name, "networks": [*networks], **options}


def thrice(tasks: Tasks, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """For each network check mode predicts the run to the letter, and a second run changes nothing."""
    results = tasks(*(net(**one, check=check) for one in wanted for check in (True, False, False)))
    for predicted, done, again in zip(results[0::3], results[1::3], results[2::3]):
        assert predicted["changed"] is done["changed"]
        assert predicted["diff"] == done["diff"]
        assert predicted["changes"] == done["changes"]
        assert (again["changed"], again["changes"]) == (False, [])
    return results[1::3]


def definitions(lab: Lab, name: str) -> list[str]:
    """The stored and the running definition, as libvirt prints them."""
    with closing(lab.connect("h1")) as connection:
        network = connection.networkLookupByName(name)
        return [network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE), network.XMLDesc(0)]


def rows(done: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Address, name and VM of every reservation."""
    return [(row["ip"], row["name"], row["vm"]) for row in done["network"]["reservations"]]


def fixed(address: str, network: str = "blue") -> dict[str, str]:
    return {"name": network, "ip": address}


def has_address(lab: Lab, address: str) -> bool:
    return f"inet {address}/24" in lab.ssh(address, "ip", "-4", "addr", "show", "eth0").stdout


def resolves(lab: Lab, address: str, name: str) -> str:
    """What the guest at that address is told of the name by its name server, empty where nothing."""
    told = lab.ssh(address, "nslookup", name, check=False).stdout
    found = re.findall(r"^Address(?: 1)?: ([0-9.]+)$", told, re.MULTILINE)
    return str(found[-1]) if found else ""


def reaches(lab: Lab, address: str, other: str, **options: Any) -> bool:
    return lab.ssh(address, PING, other, check=False, **options).returncode == 0


def test_guests_get_their_addresses_and_names_and_reach_each_other(clean_lab: Lab, tasks: Tasks) -> None:
    [made] = thrice(tasks, BLUE)
    network = made["network"]
    ends = (network["gateway"], network["dhcp_start"], network["dhcp_end"])
    assert ends == ("10.20.0.1", "10.20.0.2", "10.20.0.254")
    _first, second = tasks(deployed("web1", fixed("10.20.0.50")), deployed("web2", fixed("auto")))
    assert second["vm"]["ip_address"] == "10.20.0.2"
    for address in ("10.20.0.50", "10.20.0.2"):
        assert has_address(clean_lab, address)
    assert resolves(clean_lab, "10.20.0.50", "web2.lab.test") == "10.20.0.2"
    assert resolves(clean_lab, "10.20.0.2", "web1.lab.test") == "10.20.0.50"
    assert reaches(clean_lab, "10.20.0.50", "10.20.0.2")


def test_nothing_is_lost_while_a_network_changes(clean_lab: Lab, tasks: Tasks) -> None:
    """A reservation, a DNS record and the DHCP range change, and not one packet between the guests is lost."""
    ping = clean_lab.ssh("10.20.0.50", "ping -i 0.2 10.20.0.2 >/tmp/ping 2>&1 & echo $!").stdout.strip()

    def answered() -> list[int]:
        """The numbers of the packets that came back so far."""
        told = clean_lab.ssh("10.20.0.50", "cat /tmp/ping").stdout
        return [int(number) for number in re.findall(r"seq=(\d+) ttl", told)]

    wait_for(answered, 60, "the first answer")
    change = {
        "name": "blue",
        "reservations": [{"mac": "52:54:00:00:00:01", "ip": "10.20.0.60", "name": "nas"}],
        "dns_records": [{"ip": "10.20.0.9", "names": ["printer", "laser"]}],
        "dhcp_start": "10.20.0.100",
    }
    [done] = thrice(tasks, change)
    meanwhile = answered()
    assert len(meanwhile) > 10
    wait_for(lambda: answered()[-1] > meanwhile[-1] + 10, 120, "answers to what was asked after the change")
    clean_lab.ssh("10.20.0.50", f"kill -INT {ping}")
    numbers = answered()
    assert numbers == list(range(len(numbers)))
    assert {change["impact"] for change in done["changes"]} == {"live"}
    assert rows(done) == [("10.20.0.2", "web2", "web2"), ("10.20.0.50", "web1", "web1"), ("10.20.0.60", "nas", "")]
    for text in definitions(clean_lab, "blue"):
        assert "10.20.0.60" in text
        assert "<hostname>laser</hostname>" in text
        assert "start='10.20.0.100'" in text
    assert resolves(clean_lab, "10.20.0.50", "laser.lab.test") == "10.20.0.9"


def test_a_network_in_use_is_neither_deleted_nor_restarted(clean_lab: Lab, tasks: Tasks) -> None:
    [waiting] = thrice(tasks, {"name": "blue", "domain": "other.test"})
    assert (waiting["restart_required"], waiting["network"]["pending"]) == (True, ["domain"])
    for refused in tasks(net(name="blue", state="absent", fails=True), net(name="blue", state="restarted", fails=True)):
        assert refused["error"]["code"] == "InUse"
        assert {"web1", "web2"} <= set(refused["error"]["details"]["vms"])
    assert resolves(clean_lab, "10.20.0.50", "web2.lab.test") == "10.20.0.2"


def test_another_network_is_another_world(clean_lab: Lab, tasks: Tasks) -> None:
    default = definitions(clean_lab, "default")
    tasks(
        vm(name="web2", state="expunged", forced=True),
        net(name="green", cidr="10.21.0.0/24"),
        deployed("web3", fixed("10.21.0.50", "green"), "default"),
    )
    assert not reaches(clean_lab, "10.20.0.50", "10.21.0.50")
    assert not reaches(clean_lab, "10.21.0.50", "10.20.0.50")
    assert reaches(clean_lab, "10.21.0.50", "10.21.0.1")
    tasks(vm(name="web3", state="expunged", forced=True))
    assert definitions(clean_lab, "default") == default, "a network that is not ours has changed"


def test_an_address_stays_with_its_vm_and_goes_to_the_next(clean_lab: Lab, tasks: Tasks) -> None:
    *_rest, restarted, first = tasks(
        vm(name="web1", state="stopped"),
        # nobody runs there now, so what waited can come true
        net(name="blue", state="restarted", reservations=[]),
        vm(name="web1", state="started", wait="ssh"),
    )
    assert restarted["network"]["pending"] == []
    assert has_address(clean_lab, "10.20.0.50")
    assert resolves(clean_lab, "10.20.0.50", "web1.other.test") == "10.20.0.50"

    # its name is free while it is destroyed; its address is not
    _destroyed, alone, taken, namesake, both = tasks(
        vm(name="web1", state="destroyed", forced=True),
        net(name="blue"),
        deployed("web1", fixed("10.20.0.50"), fails=True),
        deployed("web1", fixed("10.20.0.51"), start=False),
        net(name="blue"),
    )
    assert rows(alone) == [("10.20.0.50", "", "web1")]
    assert taken["error"]["code"] == "Conflict"
    assert rows(both) == [("10.20.0.50", "", "web1"), ("10.20.0.51", "web1", "web1")]
    _gone, recovered, _started = tasks(
        vm(id=namesake["vm"]["id"], state="expunged"),
        vm(id=first["vm"]["id"], state="recovered"),
        vm(name="web1", state="started", wait="ssh"),
    )
    assert recovered["vm"]["nics"][0]["mac"] == first["vm"]["nics"][0]["mac"]
    assert resolves(clean_lab, "10.20.0.50", "web1.other.test") == "10.20.0.50"

    # the next owner gets it, though the lease of the last one has not ended; so does a NIC that is plugged in
    _expunged, empty, _next, plugged = tasks(
        vm(name="web1", state="expunged", forced=True),
        net(name="blue"),
        deployed("web4", fixed("10.20.0.50")),
        vm(name="web4", networks=[fixed("10.20.0.50"), fixed("10.20.0.2")]),
    )
    assert rows(empty) == []
    assert clean_lab.ssh("10.20.0.50", "hostname").stdout.strip() == "web4"
    assert [change["impact"] for change in plugged["changes"]] == ["live"]

    def asked_for_it() -> bool:
        return "inet 10.20.0.2/24" in clean_lab.ssh("10.20.0.50", "ip -4 addr show eth1", check=False).stdout

    wait_for(asked_for_it, 120, "the address of the new NIC")
    tasks(vm(name="web4", state="expunged", forced=True))
    absent = thrice(tasks, {"name": "blue", "state": "absent"}, {"name": "green", "state": "absent"})
    assert [done["network"] for done in absent] == [{}, {}]


def test_a_vlan_joins_and_parts_vms(clean_lab: Lab, tasks: Tasks) -> None:
    """On an Open vSwitch bridge; whoever goes from one to another has to be off for it."""
    clean_lab.script("openvswitch", "h1", "ovs0")
    office = {"type": "shared", "bridge": "ovs0", "cidr": "10.60.0.0/24"}
    made = thrice(tasks, *({**office, "name": f"vlan{tag}", "vlan": tag} for tag in (10, 20)))
    assert [done["network"]["vlan"] for done in made] == [10, 20]

    def sees() -> bool:
        return clean_lab.guest_run("h1", "one", f"{PING} 10.60.0.2")[0] == 0

    nic = {"ip": "10.60.0.2", "mac": "52:54:00:00:60:02"}
    move = {"name": "two", "networks": [{"name": "vlan10", **nic}]}
    *_made, refused = tasks(
        deployed("one", fixed("10.60.0.1", "vlan10"), wait="agent"),
        deployed("two", {"name": "vlan20", **nic}, wait="agent"),
        vm(**move, fails=True),
    )
    assert refused["error"]["code"] == "InvalidState"
    assert not sees()
    done, again = tasks(vm(**move, allow_restart=True, wait="agent"), vm(**move))
    assert [change["impact"] for change in done["changes"]] == ["restart"]
    assert not again["changed"]
    assert sees()
    tasks(*(vm(name=name, state="expunged", forced=True) for name in ("one", "two")))
    thrice(tasks, *({"name": f"vlan{tag}", "state": "absent"} for tag in (10, 20)))


def test_a_running_guest_goes_from_one_bridge_to_another(clean_lab: Lab, tasks: Tasks) -> None:
    """Live, between Linux bridges; which NIC is the default one the guest learns when it next boots."""
    for bridge, address in (("east0", "10.71.0.1/24"), ("west0", "10.72.0.1/24")):
        script = f"ip link show {bridge} || ip link add {bridge} type bridge; ip addr replace {address} dev {bridge}"
        clean_lab.host("h1", "sh", "-ec", f"{script}; ip link set {bridge} up")
    shared = {"type": "shared"}
    thrice(
        tasks,
        {"name": "east", "bridge": "east0", "cidr": "10.71.0.0/24", "gateway": "10.71.0.1", **shared},
        {"name": "west", "bridge": "west0", "cidr": "10.72.0.0/24", "gateway": "10.72.0.1", **shared},
    )
    mac = "52:54:00:00:71:05"
    east, west = ({"name": name, "ip": f"10.7{number}.0.5", "mac": mac} for number, name in ((1, "east"), (2, "west")))

    def inside(script: str) -> str:
        return clean_lab.guest_run("h1", "mover", script)[1]

    def pings(address: str) -> bool:
        return clean_lab.guest_run("h1", "mover", f"{PING} {address}")[0] == 0

    tasks(deployed("mover", east, wait="agent"))
    boots = inside("cat /proc/sys/kernel/random/boot_id")
    assert pings("10.71.0.1")

    predicted, moved, again = tasks(*(vm(name="mover", networks=[west], check=check) for check in (True, False, False)))
    assert {change["path"]: change["impact"] for change in moved["changes"]} == {
        f"networks.{mac}": "live",
        "networks.west.ip": "next_boot",
    }
    assert (predicted["diff"], again["changed"]) == (moved["diff"], False)
    assert not pings("10.71.0.1"), "it is still plugged in where it was"
    inside("ip addr flush dev eth0; ip addr add 10.72.0.5/24 dev eth0")
    assert pings("10.72.0.1")

    # another NIC comes, and is to be the default one
    second = {"name": "east", "ip": "10.71.0.6"}
    tasks(vm(name="mover", networks=[west, second]))
    [swapped] = tasks(vm(name="mover", networks=[second, west]))
    assert {change["path"]: change["impact"] for change in swapped["changes"]} == {"default_nic": "next_boot"}
    assert swapped["vm"]["ip_address"] == "10.71.0.6"
    assert inside("cat /proc/sys/kernel/random/boot_id") == boots
    tasks(vm(name="mover", state="stopped"), vm(name="mover", state="started", wait="agent"))
    assert inside("ip -4 route show default").split()[:3] == ["default", "via", "10.71.0.1"]
    assert pings("10.71.0.1")
    assert pings("10.72.0.1")
    _gone, _east, _west = tasks(
        vm(name="mover", state="expunged", forced=True),
        *(net(name=name, state="absent") for name in ("east", "west")),
    )


def test_vms_on_several_hosts_share_a_bridge(clean_lab: Lab, tasks: Tasks) -> None:
    hosts = {"hosts": ["h1", "h2"]}
    office = {"name": "office", "type": "shared", "bridge": "br0", "cidr": "10.98.0.0/24", "gateway": "10.98.0.1"}
    [made] = thrice(tasks, {**office, **hosts})
    assert made["network"]["hosts"] == ["h1", "h2"]
    *_vms, found = tasks(
        deployed("here", fixed("10.98.0.20", "office")),
        deployed("there", fixed("10.98.0.21", "office"), zone="two"),
        net(name="office", **hosts),
    )
    assert reaches(clean_lab, "10.98.0.20", "10.98.0.21", via="ctl")
    assert (found["network"]["vms"], found["network"]["differences"]) == (["here", "there"], [])
    tasks(*(vm(name=name, state="expunged", forced=True) for name in ("here", "there")))
    thrice(tasks, {"name": "office", "state": "absent", **hosts})


def test_every_type_is_made_changed_and_deleted(tasks: Tasks) -> None:
    for options, change in TYPES:
        made, changed, _gone = thrice(
            tasks,
            {"name": "other", **options},
            {"name": "other", "state": "restarted", **change},
            {"name": "other", "state": "absent"},
        )
        assert made["network"]["state"] == "Active"
        assert changed["changed"]
        assert (changed["network"]["pending"], changed["network"]["state"]) == ([], "Active")


def test_what_cannot_be_is_refused_with_nothing_done(clean_lab: Lab, tasks: Tasks) -> None:
    default = definitions(clean_lab, "default")
    expected = (
        (net(name="other", cidr="192.168.0.0/16"), "Conflict", "default"),
        (net(name="other", type="l2", bridge="br0", vlan=5), "Unsupported", "Linux bridge"),
        (net(name="other", type="shared", bridge="br9"), "NotFound", "br9"),
        (net(name="default", domain="lab.test"), "NotManaged", "default"),
        (net(name="default", state="absent"), "NotManaged", "default"),
        (deployed("web1", "missing"), "NotFound", "ablestack_network"),
    )
    results = tasks(*((module, {**options, "fails": True}) for (module, options), _code, _word in expected))
    for failed, (_task, code, word) in zip(results, expected):
        assert failed["error"]["code"] == code
        assert word in failed["msg"]
    assert definitions(clean_lab, "default") == default
    with closing(clean_lab.connect("h1")) as connection:
        assert [network.name() for network in connection.listAllNetworks()] == ["default"]
