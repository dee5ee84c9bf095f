# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks on several hosts, some of them down, and what is listed of them"""

from __future__ import annotations

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network import apply_network
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import network_spec
from support.networks import NET, apply, listed, refused, thrice, vm
from support.worlds import make_world


def test_on_several_hosts_it_is_one_network() -> None:
    world = make_world(hosts=3)
    thrice(world, **NET, hosts=["kvm01", "kvm02"])
    first = world.states["kvm01"].networks["blue"].facts
    assert first.id == world.states["kvm02"].networks["blue"].facts.id
    assert "blue" not in world.states["kvm03"].networks
    # a host that lacks it gets it as the others have it
    network = thrice(world, name="blue").result["network"]
    assert network["hosts"] == ["kvm01", "kvm02", "kvm03"]
    assert world.states["kvm03"].networks["blue"].facts.cidr == first.cidr
    world.states["kvm02"].networks["blue"].redefine(domain="b.example")
    world.states["kvm02"].networks["blue"].power(False)
    info = listed(world)["networks"]
    assert [entry["name"] for entry in info] == ["blue", "lan"]
    assert {(row["host"], row["field"]) for row in info[0]["differences"]} == {("kvm02", "domain"), ("kvm02", "state")}
    repaired = thrice(world, name="blue", domain="")
    assert repaired.result["network"]["differences"] == []
    assert {change["host"] for change in repaired.result["changes"]} == {"kvm02"}
    thrice(world, name="blue", state="absent")
    assert all("blue" not in state.networks for state in world.states.values())


def test_the_list() -> None:
    world = make_world(hosts=2)
    vm(world, name="web1", host="kvm02", networks=(NicSpec("lan"),))
    networks = listed(world, unmanaged=True)["networks"]
    assert [(row["name"], row["managed"], row["hosts"]) for row in networks] == [
        ("default", False, ["kvm01", "kvm02"]),
        ("lan", True, ["kvm01", "kvm02"]),
    ]
    assert networks[1]["vms"] == ["web1"]
    assert [row["ip"] for row in networks[1]["leases"]] == ["10.10.10.100"]
    world.down.add("kvm01")
    lists = listed(world, names=("lan",))
    assert lists["networks"][0]["hosts"] == ["kvm02"]
    assert set(lists["unreachable"]) == {"kvm01"}


def test_a_host_that_is_down_fails_only_what_needs_it() -> None:
    world = make_world(hosts=2, host_values={"kvm02": {"state": "maintenance"}})
    world.down.add("kvm02")
    done = apply(world, **NET)
    assert done.changed
    assert "kvm02" in done.warnings[0]
    assert refused(world, name="blue", state="absent").code is Code.HOST_UNAVAILABLE
    assert apply(world, name="blue", state="absent", hosts=["kvm01"]).changed
    world = make_world(hosts=2)
    world.down.add("kvm02")
    with pytest.raises(AblestackError) as error:
        apply(world, **NET)
    assert error.value.code is Code.HOST_UNAVAILABLE
    assert world.states["kvm01"].networks["blue"].facts.active


def test_of_two_that_make_it_at_once_one_wins() -> None:
    world = make_world()
    controller = world.controller()
    controller.hosts["kvm01"].act_at("define_network", lambda: apply(world, **NET))
    with pytest.raises(AblestackError) as error, controller.infrastructure as infrastructure:
        apply_network(infrastructure, network_spec({**NET, "cidr": "10.99.0.0/24"}))
    assert error.value.code is Code.CONFLICT
    assert world.state.networks["blue"].facts.cidr == NET["cidr"]


def test_a_vm_started_meanwhile_is_not_cut_off() -> None:
    world = make_world()
    apply(world, **NET)
    vm(world, name="web1", networks=(NicSpec("blue"),), start=False)
    apply(world, **NET, domain="a.example")
    controller = world.controller()
    host = controller.hosts["kvm01"]
    host.act_at("network_states", lambda: vm(world, name="web1", state="started"), nth=2)
    with pytest.raises(AblestackError) as error, controller.infrastructure as infrastructure:
        apply_network(infrastructure, network_spec({"name": "blue", "state": "restarted"}))
    assert error.value.code is Code.IN_USE
    assert world.state.networks["blue"].facts.active


def test_a_network_made_host_by_host_has_one_id() -> None:
    world = make_world(hosts=2)
    first = thrice(world, **NET, hosts=["kvm01"]).result["network"]
    second = thrice(world, **NET, hosts=["kvm02"]).result["network"]
    assert first["id"] == second["id"]


def test_what_the_task_does_not_name_and_hosts_differ_in_is_warned_of() -> None:
    world = make_world(hosts=2)
    apply(world, **NET, hosts=["kvm01"])
    apply(world, **NET, hosts=["kvm02"], domain="a.example")
    done = thrice(world, **NET)
    assert not done.changed
    (warning,) = done.warnings
    assert "domain of network 'blue' is 'a.example' on host 'kvm02' and '' elsewhere" in warning
    assert not thrice(world, **NET, domain="b.example").warnings[2:]
