# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is listed of hosts, and that hosts out of service get no new VM and fail nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.host_query import list_hosts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.modules import ablestack_host_info
from support.fleets import actions, fleet, hosts_of
from support.memory_host import MemoryHost
from support.templates import put_vm
from support.worlds import Controller, World, make_world

OTHER_STATES = ("disabled", "maintenance")


def listed(world: World, **filters: Any) -> Outcome:
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        outcome = list_hosts(infrastructure, **filters)
    assert controller.writes == []
    return outcome


def names(outcome: Outcome) -> list[str]:
    return [host["name"] for host in outcome.result["hosts"]]


def test_a_host_says_what_it_is_and_what_of_it_is_given_out() -> None:
    values = {"kvm01": {"zone": "seoul", "tags": ["ssd"]}}
    overprovisioned = {"cpu_overprovisioning": 2, "memory_overprovisioning": 1.5, "capacity_threshold": 0.5}
    world = make_world(2, host_values=values, settings=overprovisioned)
    fleet(world.controller(), [{"name": "web", "host": "kvm01", "compute_offering": "medium"}])
    fleet(world.controller(), [{"name": "off", "host": "kvm01", "start": False}])
    put_vm(world.controller().hosts["kvm01"], "z", "aaaaaaaa-0000-4000-8000-000000000001")
    host = listed(world).result["hosts"][0]
    assert (host["name"], host["zone"], host["tags"], host["state"]) == ("kvm01", "seoul", ["ssd"], "enabled")
    assert host["cpu"] == {"total": 8, "capacity": 16, "used": 2, "share": 0.125}
    assert host["memory"] == {"total": 16384, "capacity": 24576, "used": 1024, "share": 0.042}
    assert host["full"] is False
    assert [(vm["name"], vm["state"], vm["cpu"], vm["memory"], vm["managed"]) for vm in host["vms"]] == [
        ("off", "Stopped", 1, 512, True),
        ("web", "Running", 2, 1024, True),
        ("z", "Stopped", 1, 512, True),
    ]
    assert (host["libvirt_version"], host["hypervisor_version"]) == ("9.0.0", "7.2.0")
    assert (host["firmware"], host["tpm"], host["networks"]) == (["bios", "uefi", "secure"], True, ["default", "lan"])
    assert [(pool["name"], pool["type"], pool["capacity_gib"]) for pool in host["pools"]] == [("default", "dir", 100)]


def test_a_host_past_the_threshold_is_full() -> None:
    world = make_world(settings={"capacity_threshold": 0.25})
    fleet(world.controller(), ["a"])
    assert listed(world).result["hosts"][0]["full"] is False
    fleet(world.controller(), ["b"])
    assert listed(world).result["hosts"][0]["full"] is True
    refused = fleet(world.controller(), ["c"]).result["results"][0]
    assert refused["error"]["code"] == "InsufficientCapacity"


def test_hosts_are_chosen_by_name_place_and_state() -> None:
    values = {"kvm02": {"zone": "busan", "pod": "p", "cluster": "c"}, "kvm03": {"state": "maintenance"}}
    world = make_world(3, host_values=values)
    assert names(listed(world)) == ["kvm01", "kvm02", "kvm03"]
    assert names(listed(world, names=("kvm02",))) == ["kvm02"]
    assert names(listed(world, zone="busan", pod="p", cluster="c")) == ["kvm02"]
    assert names(listed(world, states=("maintenance",))) == ["kvm03"]
    assert names(listed(world, states=("disabled",))) == []
    with pytest.raises(AblestackError) as error:
        listed(world, names=("kvm09",))
    assert error.value.code is Code.NOT_FOUND


def test_a_host_that_is_down_is_a_warning_and_all_of_them_an_error() -> None:
    world = make_world(2)
    world.down = {"kvm02"}
    outcome = listed(world)
    assert names(outcome) == ["kvm01"]
    assert list(outcome.result["unreachable"]) == ["kvm02"]
    assert ["kvm02" in warning for warning in outcome.warnings] == [True]
    world.down = {"kvm01", "kvm02"}
    with pytest.raises(AblestackError) as error:
        listed(world)
    assert error.value.code is Code.HOST_UNAVAILABLE


def test_a_host_that_is_down_is_tried_once_however_many_need_it() -> None:
    world = make_world(3)
    vms = [{"name": f"web{number}", "host": f"kvm0{number % 3 + 1}"} for number in range(9)]
    fleet(world.controller(), vms)
    tried: list[str] = []
    connected = world.controller().hosts

    def open_host(spec: HostSpec) -> MemoryHost:
        tried.append(spec.name)
        if spec.name == "kvm02":
            raise AblestackError(Code.HOST_UNAVAILABLE, "host 'kvm02' did not answer within 15 seconds")
        return connected[spec.name]

    controller = Controller(Infrastructure(world.catalog, open_host), connected)
    done = fleet(controller, [{"name": vm["name"], "labels": {"a": "b"}} for vm in vms])
    assert sorted(tried) == ["kvm01", "kvm02", "kvm03"]
    expected = {vm["name"]: "failed" if vm["host"] == "kvm02" else "changed" for vm in vms}
    assert actions(done) == expected
    failed = [row["error"]["code"] for row in done.result["results"] if row["failed"]]
    assert failed == ["HostUnavailable"] * 3


def test_pools_that_are_one_storage_name_the_other_hosts() -> None:
    world = make_world(3, host_values={name: {"shared_pools": ["gfs"]} for name in ("kvm01", "kvm02")})
    for number, state in enumerate(world.states.values()):
        state.add_pool("gfs")
        nfs = state.add_pool(f"nfs{number}")
        nfs.type, nfs.source = "netfs", "nas /export/vm"
    rows = {host["name"]: host["pools"] for host in listed(world).result["hosts"]}
    shared = {name: {pool["name"]: pool["shared_with"] for pool in pools} for name, pools in rows.items()}
    assert shared["kvm01"] == {"default": [], "gfs": ["kvm02"], "nfs0": ["kvm02", "kvm03"]}
    assert shared["kvm03"] == {"default": [], "gfs": [], "nfs2": ["kvm01", "kvm02"]}


def test_what_is_returned_is_documented_field_by_field() -> None:
    world = make_world()
    fleet(world.controller(), ["web"])
    host = listed(world).result["hosts"][0]
    documented = yaml.safe_load(ablestack_host_info.RETURN)["hosts"]["contains"]
    assert list(documented) == list(host)
    for key in ("cpu", "memory", "vms", "pools"):
        row = host[key] if isinstance(host[key], dict) else host[key][0]
        assert list(documented[key]["contains"]) == list(row), key
    types = {"str": str, "bool": bool, "list": list, "dict": dict}
    assert {key: types[field["type"]] for key, field in documented.items()} == {
        key: type(value) for key, value in host.items()
    }


# Out of service


@pytest.mark.parametrize("state", OTHER_STATES)
def test_a_host_out_of_service_gets_no_new_vm_and_keeps_its_own(state: str) -> None:
    world = make_world(2)
    fleet(world.controller(), [{"name": "old", "host": "kvm02"}])
    fleet(world.controller(), [{"name": "gone", "host": "kvm02"}])
    fleet(world.controller(), ["gone"], state="destroyed")
    closed = make_world(2, host_values={"kvm02": {"state": state}})
    closed.states = world.states
    done = fleet(closed.controller(), ["new1", "new2", {"name": "old", "labels": {"a": "b"}}])
    assert hosts_of(done) == {"new1": "kvm01", "new2": "kvm01", "old": "kvm02"}
    assert actions(done)["old"] == "changed"
    assert actions(fleet(closed.controller(), ["old"], state="restarted")) == {"old": "restarted"}
    assert actions(fleet(closed.controller(), ["gone"], state="recovered")) == {"gone": "changed"}
    rejected = done.result["results"][0]["placement"]["rejected"]
    assert [row["host"] for row in rejected] == ["kvm02"]
    assert state in rejected[0]["reason"]
    named = fleet(closed.controller(), [{"name": "new3", "host": "kvm02"}]).result["results"][0]
    assert named["error"]["code"] == "InvalidState"
    assert state in named["msg"]


@pytest.mark.parametrize("state", OTHER_STATES)
def test_hosts_all_out_of_service_are_named_with_their_reasons(state: str) -> None:
    world = make_world(3, host_values={name: {"state": state} for name in ("kvm01", "kvm02", "kvm03")})
    (row,) = fleet(world.controller(), ["web"]).result["results"]
    assert row["error"]["code"] == "InvalidState"
    assert [entry["host"] for entry in row["error"]["details"]["rejected"]] == ["kvm01", "kvm02", "kvm03"]
