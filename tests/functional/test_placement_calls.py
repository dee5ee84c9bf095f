# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What placement costs on a large site: the calls of libvirt are counted, over hosts of its test driver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import VmConfig, VmRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.placement import Placement
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.locate import Located, locate_all
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.remembered import remembering
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.survey import choose_site
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import new_domain
from support.round_trips import counted_round_trips
from support.test_driver import NODE

HOSTS, DOMAINS = 20, 50
FREE = 13  # the one host without a member of the group
BULK = ("getAllDomainStats", "listAllDomains", "listDomainsID", "listDefinedDomains")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Twenty hosts, fifty running domains of ours on each."""
    folder = tmp_path_factory.mktemp("hosts")
    hosts = []
    for number in range(HOSTS):
        path = folder / f"node{number}.xml"
        domains = "".join(new_domain(vm_on(number, at)).text for at in range(DOMAINS))
        path.write_text(NODE.replace("<network>", f"{domains}<network>", 1), encoding="utf-8")
        hosts.append({"name": f"kvm{number:02}", "uri": f"test://{path}", "virt_type": "qemu"})
    return read_catalog(
        {
            "hosts": hosts,
            "affinity_groups": {"web": {"type": "host-anti-affinity"}},
            "settings": {"cpu_overprovisioning": 100, "memory_overprovisioning": 100},
        }
    )


def vm_on(host: int, at: int) -> VmConfig:
    name = f"vm-{host}-{at}"
    groups = ("web",) if at == 7 and host != FREE else ()
    record = VmRecord(name=name, affinity_groups=groups)
    return VmConfig(str(UUID(int=host * 1000 + at + 1)), name, record, 1, 64, 1, 64, virt_type="test")


@pytest.fixture
def bulk_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bulk calls each host gets, by the URI of its connection."""
    count: dict[str, int] = {}

    def counting(name: str) -> None:
        genuine = getattr(libvirt.virConnect, name)

        def call(connection: Any, *arguments: Any) -> Any:
            uri = connection.getURI()
            count[uri] = count.get(uri, 0) + 1
            return genuine(connection, *arguments)

        monkeypatch.setattr(libvirt.virConnect, name, call)

    for name in BULK:
        counting(name)
    return count


def placed(catalog: Any, *groups: str) -> Placement:
    """Reads the whole site for one more VM, as a task does before it plans."""
    nics = (NicSpec("default"),)
    spec = VmSpec(name="new", cpu=1, memory=64, networks=nics, affinity_groups=groups)
    with Infrastructure(catalog, lambda host: open_host(host, read_only=True)) as infrastructure:
        (found,) = locate_all(infrastructure, (replace(spec, template="tiny"),))
        assert isinstance(found, Located)
        assert sum(map(len, found.listed.values())) == HOSTS * (DOMAINS + 1)
        site, placement = choose_site(remembering(infrastructure, found.listed), spec, 0.0)
        assert site.host.running == DOMAINS + 1
    return placement


def test_a_thousand_domains_are_read_in_two_bulk_calls_a_host(catalog: Any, bulk_calls: dict[str, int]) -> None:
    with counted_round_trips() as trips:
        placement = placed(catalog)
    assert len(placement.rejected) == HOSTS - 1
    assert len(bulk_calls) == HOSTS
    assert max(bulk_calls.values()) <= 2
    # No call for a single domain among the rest: what a host is, its pool, the network.
    assert [name for name in trips if name.startswith("virDomain")] == []
    assert len(trips) <= HOSTS * 12, sorted(set(trips))


def test_affinity_groups_cost_one_more_call_a_domain(catalog: Any, bulk_calls: dict[str, int]) -> None:
    with counted_round_trips() as trips:
        placement = placed(catalog, "web")
    assert placement.host == f"kvm{FREE}"
    assert len(placement.rejected) == HOSTS - 1
    assert max(bulk_calls.values()) <= 2
    assert [name for name in trips if name.startswith("virDomain")] == ["virDomainGetXMLDesc"] * HOSTS * (DOMAINS + 1)
