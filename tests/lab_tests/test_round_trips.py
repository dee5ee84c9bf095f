# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs a host far away: libvirt's round trips are counted, not timed."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from lab_tests.lab import Lab

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec
from support.round_trips import counted_round_trips

VM = {
    "name": "count1",
    "template": "tiny",
    "compute_offering": "tiny",
    "networks": ["default"],
    "ssh_key_pairs": ["lab"],
    "user_data": "#cloud-config\n",
}


@pytest.fixture(scope="module")
def catalog(clean_lab: Lab, run_module: Callable[..., Any]) -> dict[str, Any]:
    catalog = clean_lab.catalog(
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}},
        ssh_key_pairs={"lab": clean_lab.public_key},
        settings={"cpu_overprovisioning": 20},
    )
    template = {"name": "tiny", "format": "qcow2", "src": str(clean_lab.tiny)}
    run_module("ablestack_template", {"catalog": catalog, **template})
    return catalog


def apply(catalog: dict[str, Any], **options: Any) -> tuple[Outcome, list[str]]:
    with Infrastructure(read_catalog(catalog), open_host) as infrastructure:
        infrastructure.host("h1")
        with counted_round_trips() as calls:
            outcome = apply_vm(infrastructure, vm_spec(options))
    return outcome, calls


def test_a_deploy_costs_at_most_25_round_trips_and_a_look_at_it_five(catalog: dict[str, Any]) -> None:
    deployed, calls = apply(catalog, **VM)
    assert deployed.changed
    assert len(calls) <= 25, calls
    apply(catalog, name="count1", wait="ip")
    unchanged, calls = apply(catalog, **VM)
    assert not unchanged.changed
    assert unchanged.result["vm"]["ip_address"]
    assert len(calls) <= 5, calls
    removed, _calls = apply(catalog, name="count1", state="expunged", forced=True)
    assert removed.changed
