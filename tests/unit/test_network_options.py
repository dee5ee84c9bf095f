# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of networks: what they become, what is refused, and that what is returned is documented."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.network import HostNetwork
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.network_view import network_view
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    DnsRecord,
    Lease,
    NetworkState,
    Reservation,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import NETWORK_OPTIONS, network_spec
from support.network_samples import NETWORKS

MODULES = "ansible_collections.ablestack.kvm.plugins.modules"


def test_what_is_written_in_many_ways_is_one_thing() -> None:
    spec = network_spec(
        {
            "name": "lan",
            "domain": "Lab.Example",
            "reservations": [{"mac": "52:54:00:AA:00:01", "ip": "10.0.0.5", "name": "NAS"}],
            "dns_records": [{"ip": "fd00:0:0::9", "names": ["A", "a"]}],
            "labels": {"on": True},
        }
    )
    assert spec.domain == "lab.example"
    assert spec.reservations == (Reservation("52:54:00:aa:00:01", "10.0.0.5", "nas"),)
    assert spec.dns_records == (DnsRecord("fd00::9", ("a",)),)
    assert spec.labels == (("on", "true"),)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "../lan"},
        {"name": ""},
        {"domain": "lab_example"},
        {"domain": "-lab"},
        {"bridge": "a-name-of-16-char"},
        {"bridge": "br/0"},
        {"vlan": 4095},
        {"vlan": -1},
        {"mtu": 70000},
        {"dns_servers": ["nonsense"]},
        {"reservations": [{"mac": "52:54:00:aa:00:01"}]},
        {"reservations": [{"mac": "53:54:00:aa:00:01", "ip": "10.0.0.5"}]},
        {"reservations": [{"mac": "52:54:00:aa:00:01", "ip": "10.0.0.5/24"}]},
        {"reservations": [{"mac": "52:54:00:aa:00:01", "ip": "10.0.0.5", "name": "a b"}]},
        {"reservations": [{"mac": f"52:54:00:aa:00:0{n}", "ip": "10.0.0.5"} for n in (1, 2)]},
        {"reservations": [{"mac": "52:54:00:aa:00:01", "ip": f"10.0.0.{n}"} for n in (1, 2)]},
        {"reservations": [{"mac": f"52:54:00:aa:00:0{n}", "ip": f"10.0.0.{n}", "name": "a"} for n in (1, 2)]},
        {"dns_records": [{"ip": "10.0.0.5", "names": []}]},
        {"dns_records": [{"ip": f"10.0.0.{n}", "names": ["a"]} for n in (1, 2)]},
        {"hosts": [""]},
    ],
)
def test_what_cannot_be_right_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(AblestackError) as error:
        network_spec({"name": "lan", **options})
    assert error.value.code is Code.INVALID_INPUT


def test_a_nic_may_ask_for_any_address() -> None:
    nics = [{"name": "lan", "ip": "auto"}, {"name": "lan", "ip": "auto"}]
    assert [nic.ip for nic in vm_spec({"name": "web1", "networks": nics}).networks or ()] == ["auto", "auto"]


def test_the_examples_are_right() -> None:
    module = importlib.import_module(f"{MODULES}.ablestack_network")
    for task in yaml.safe_load(module.EXAMPLES):
        options = task["ablestack.kvm.ablestack_network"]
        network_spec({key: value for key, value in options.items() if key in NETWORK_OPTIONS})


@pytest.mark.parametrize(("name", "key"), [("ablestack_network", "network"), ("ablestack_network_info", "networks")])
def test_what_is_returned_is_documented_field_by_field(name: str, key: str) -> None:
    state = NetworkState(NETWORKS["routed"], NETWORKS["ipv6"])
    rows = [
        HostNetwork("kvm01", state, leases=(Lease("52:54:00:00:00:01", "10.30.0.5", "nas", 1767225600),)),
        HostNetwork("kvm02", NetworkState(NETWORKS["isolated"])),
    ]
    view = network_view(rows)
    documented = yaml.safe_load(importlib.import_module(f"{MODULES}.{name}").RETURN)[key]["contains"]
    assert list(documented) == list(view)
    types = {"str": str, "bool": bool, "int": int, "list": list, "dict": dict}
    assert {name: types[field["type"]] for name, field in documented.items()} == {
        name: type(value) for name, value in view.items()
    }
    for part in ("reservations", "leases", "differences"):
        assert set(documented[part]["contains"]) == set(view[part][0]), part
    assert view["leases"][0]["expires"] == "2026-01-01T00:00:00Z"
    assert view["pending"]
