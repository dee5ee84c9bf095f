# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory lists, from hosts in memory: which VMs, where they are reached, and at what cost in calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Lease
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, NicConfig, Phase, Power, VmFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import addresses
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.inventory import Selection, list_inventory
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import VmFilter
from support.listed_site import ALL, Site, says
from support.memory_host import MemoryHost
from support.memory_state import MemoryDomain


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_listing_costs_one_call_a_host_and_one_a_vm(site: Site) -> None:
    for number in range(5):
        site.add(f"vm{number}", ip=f"192.168.122.{number + 10}")
        site.add(f"off{number}", host="kvm02", power=Power.OFF)
    assert len(site.list()) == 10
    assert sorted(site.calls) == ["domains"] * 3 + ["glance"] * 10  # a reservation is in the record
    assert site.names(states=("Running",)) == [f"vm{number}" for number in range(5)]
    assert site.calls.count("glance") == 5  # the listing tells that the others do not run
    assert not any(host.writes for host in site.controller.hosts.values())


def test_leases_cost_one_call_a_network(site: Site) -> None:
    for number in range(20):
        site.add(f"vm{number}", lease=f"192.168.122.{number + 10}")
    assert set(site.addresses("lease").values()) == {f"192.168.122.{number + 10}" for number in range(20)}
    assert (site.calls.count("leases"), site.calls.count("addresses")) == (1, 0)


def test_sources_are_asked_in_order_and_only_while_something_is_missing(site: Site) -> None:
    says(site.add("asked", ip="192.168.122.10", lease="192.168.122.11"), "192.168.122.12")
    says(site.add("leased", lease="192.168.122.21"), "192.168.122.22")
    says(site.add("told"), "2001:db8::1", "192.168.122.32")
    site.add("silent").guest.agent = "absent"
    site.add("off", power=Power.OFF, lease="192.168.122.51")
    expected = {
        "asked": "192.168.122.10", "leased": "192.168.122.21", "told": "192.168.122.32", "silent": "", "off": "",
    }  # fmt: skip
    assert site.addresses() == expected
    assert site.addresses("agent", "lease") == {
        **expected, "asked": "192.168.122.12", "leased": "192.168.122.22",
    }  # fmt: skip
    assert site.addresses("lease", "reservation")["asked"] == "192.168.122.11"
    assert set(site.addresses("arp").values()) == {""}
    assert site.calls.count("leases") == 0


def test_what_was_asked_for_where_nobody_reserves_it_counts_last(site: Site) -> None:
    says(site.add("moved", network="lan", ip="10.0.0.5"), "10.0.0.77")
    site.add("silent", network="lan", ip="10.0.0.6").guest.agent = "absent"
    site.add("off", network="lan", ip="10.0.0.7", power=Power.OFF)
    told = {"moved": "10.0.0.77", "silent": "10.0.0.6", "off": "10.0.0.7"}
    assert site.addresses() == site.addresses("reservation", "agent") == told
    assert site.addresses("reservation") == {**told, "moved": "10.0.0.5"}
    assert site.addresses("agent") == {"moved": "10.0.0.77", "silent": "", "off": ""}


def test_only_agents_that_are_connected_are_asked(site: Site) -> None:
    for number in range(20):
        site.add(f"absent{number:02}").guest.agent = "absent"
    assert set(site.addresses("agent").values()) == {""}
    assert (site.calls.count("addresses"), site.opened.count("kvm01")) == (0, 1)  # nor is a connection made for them
    says(site.add("told"), "192.168.122.12")
    assert site.addresses("agent")["told"] == "192.168.122.12"
    assert site.calls.count("addresses") == 1


def test_agents_of_vms_of_others_are_not_asked(site: Site) -> None:
    says(site.add("theirs", managed=False), "192.168.122.10")
    says(site.add("ours"), "192.168.122.11")
    found = site.outcome(Selection(states=(), unmanaged=True, sources=("agent",)))
    assert {vm["name"]: vm["address"] for vm in found.result["vms"]} == {"theirs": "", "ours": "192.168.122.11"}
    assert site.calls.count("addresses") == 1


def test_a_connection_that_only_reads_asks_no_agent_and_makes_no_other(site: Site) -> None:
    says(site.add("told"), "192.168.122.12")
    wanted = Selection(states=(), sources=("agent",))
    (vm,) = site.outcome_of(site.world.controller(check=True), wanted).result["vms"]
    assert (vm["address"], sorted(site.opened)) == ("", ["kvm01", "kvm02", "kvm03"])


def test_every_nic_is_looked_for_and_the_first_with_an_address_is_the_vms(site: Site) -> None:
    domain = site.add("two", network="lan")
    nics = (*domain.config.nics, NicConfig("52:54:00:00:ff:01", "default"))
    domain.config = domain.live = replace(domain.config, nics=nics)
    site.world.state.networks["default"].leases = (Lease("52:54:00:00:ff:01", "192.168.122.9", "two", 1),)
    (vm,) = site.list()
    assert vm["address"] == "192.168.122.9"
    assert [nic["ip_addresses"] for nic in vm["nics"]] == [[], ["192.168.122.9"]]


def test_the_newest_lease_counts(site: Site) -> None:
    domain = site.add("moved", lease="192.168.122.11")
    mac = domain.config.nics[0].mac
    site.world.state.networks["default"].leases += (
        Lease(mac, "2001:db8::9", "moved", 900),
        Lease(mac, "192.168.122.12", "moved", 300),
    )
    assert site.addresses("lease") == {"moved": "192.168.122.12"}


def test_a_reserved_address_is_that_of_a_vm_that_is_off(site: Site) -> None:
    site.add("off", power=Power.OFF, ip="192.168.122.40")
    assert site.addresses() == {"off": "192.168.122.40"}
    assert site.addresses("lease", "agent") == {"off": ""}


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Agents that hang until the test ends: the calls to them do not come back."""
    end = threading.Event()
    answer = MemoryHost.addresses

    def addresses_of(self: MemoryHost, vm: VmFacts, sources: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        if self.state.domains[vm.id].guest.agent == "hung" and sources == ("agent",):
            end.wait(60)
        found: Mapping[str, tuple[str, ...]] = answer(self, vm, sources)
        return found

    monkeypatch.setattr(MemoryHost, "addresses", addresses_of)
    monkeypatch.setattr(addresses, "AGENT_SECONDS", 3.0)
    yield end
    end.set()


def test_agents_that_hang_are_given_up_and_the_next_source_is_asked(site: Site, hanging: threading.Event) -> None:
    for number in range(4):
        site.add(f"hung{number}", lease=f"192.168.122.{number + 10}").guest.agent = "hung"
    for number in range(20):
        says(site.add(f"well{number:02}"), f"192.168.122.{number + 50}")
    found = site.outcome(Selection(states=(), sources=("agent", "lease")))
    assert not hanging.is_set()
    assert not found.warnings
    told = {vm["name"]: vm["address"] for vm in found.result["vms"]}
    assert told == {
        **{f"hung{number}": f"192.168.122.{number + 10}" for number in range(4)},
        **{f"well{number:02}": f"192.168.122.{number + 50}" for number in range(20)},
    }


def test_agents_there_was_no_time_for_are_a_warning(site: Site, hanging: threading.Event) -> None:
    for number in range(12):
        site.add(f"hung{number:02}").guest.agent = "hung"
    (warning,) = site.outcome(Selection(states=(), sources=("agent",))).warnings
    assert "2 guest agents" in warning
    assert "kvm01" in warning


def test_unmanaged_and_destroyed_vms_are_listed_on_request(site: Site) -> None:
    site.add("ours")
    site.add("theirs", managed=False)
    site.add("gone", power=Power.OFF, mark=Mark(Phase.DESTROYED, "2025-01-01T00:00:00Z"))
    assert site.names(states=("Running",)) == ["ours"]
    assert site.names(states=("Running",), unmanaged=True) == ["ours", "theirs"]
    assert site.names() == ["gone", "ours"]
    assert site.names(states=("Destroyed",), unmanaged=True) == ["gone"]


@pytest.mark.parametrize("power", Power)
@pytest.mark.parametrize("phase", Phase)
def test_the_listing_rules_out_no_vm_that_is_wanted(site: Site, power: Power, phase: Phase) -> None:
    domain = site.add("vm", power=power, mark=Mark(phase))
    facts = VmFacts(site.world.catalog.hosts[0], power, domain.config, domain.live)
    assert site.names(states=(facts.state,)) == ["vm"]


def test_filters(site: Site) -> None:
    site.add("web1", group="shop", labels=(("role", "web"), ("tier", "1")), affinity_groups=("web", "all"))
    site.add("web2", host="kvm02", labels=(("role", "web"),), protected=True)
    site.add("db1", host="kvm03", labels=(("role", "db"),), template="tiny", network="lan")
    assert site.names(labels={"role": ("db", "web")}) == ["db1", "web1", "web2"]
    assert site.names(labels={"role": ("web",), "tier": ("1",)}) == ["web1"]
    assert site.names(fields={"group": ("shop", "other")}) == ["web1"]
    assert site.names(fields={"affinity_groups": ("all",)}) == ["web1"]
    assert site.names(fields={"networks": ("lan",)}) == ["db1"]
    assert site.names(fields={"protected": ("true",)}) == ["web2"]
    assert site.names(fields={"name": ("WEB2",)}) == ["web2"]
    assert site.names(fields={"zone": ("busan",)}) == ["db1"]
    assert site.calls.count("domains") == 1  # the other hosts are not asked
    assert site.names(fields={"host": ("kvm01", "kvm02"), "template": ("tiny",)}) == []
    with pytest.raises(AblestackError) as error:
        site.names(fields={"zone": ("bussan",)})
    assert (error.value.code, "bussan" in error.value.sentence) == (Code.NOT_FOUND, True)


def test_agents_of_vms_that_filters_leave_out_are_not_asked(site: Site) -> None:
    says(site.add("web1", group="shop"), "192.168.122.10")
    says(site.add("db1"), "192.168.122.11")
    assert site.names(fields={"group": ("shop",)}, sources=("agent",)) == ["web1"]
    assert site.calls.count("addresses") == 1


def test_a_host_that_is_down_or_fails_is_a_warning(site: Site) -> None:
    site.add("vm1")
    site.add("vm3", host="kvm03")
    site.world.down.add("kvm02")
    found = site.outcome()
    assert [vm["name"] for vm in found.result["vms"]] == ["vm1", "vm3"]
    assert found.result["left_out"] == found.warnings
    assert "kvm02" in " ".join(found.warnings)


def test_a_vm_that_is_gone_meanwhile_is_not_listed_and_one_that_cannot_be_read_is_a_warning(site: Site) -> None:
    site.add("gone")
    site.add("newer")
    site.add("vm")
    controller = site.world.controller()
    host = controller.hosts["kvm01"]
    names = {domain.config.id: name for name, domain in zip(("gone", "newer", "vm"), site.world.state.domains.values())}
    errors = {"gone": Code.NOT_FOUND, "newer": Code.UNSUPPORTED}
    glance = host.glance

    def failing(ref: Any) -> VmFacts:
        if names[ref.id] in errors:
            raise AblestackError(errors[names[ref.id]], f"{names[ref.id]} cannot be read")
        facts: VmFacts = glance(ref)
        return facts

    host.glance = failing  # type: ignore[method-assign]
    with controller.infrastructure as infrastructure:
        found = list_inventory(infrastructure, ALL)
    assert [vm["name"] for vm in found.result["vms"]] == ["vm"]
    (warning,) = found.warnings
    assert "newer cannot be read" in warning


def test_a_vm_that_two_hosts_know_is_listed_where_it_runs(site: Site) -> None:
    domain = site.add("vm", power=Power.OFF)
    site.world.states["kvm02"].domains[domain.config.id] = MemoryDomain(domain.config, domain.config, Power.RUNNING)
    (vm,) = site.list()
    assert (vm["host"], vm["state"]) == ("kvm02", "Running")


def test_connections_for_agents_are_closed_too(site: Site) -> None:
    says(site.add("vm"), "192.168.122.10")
    assert site.addresses("agent") == {"vm": "192.168.122.10"}
    assert all(host.closed for name, host in site.controller.hosts.items())


def test_the_states_a_filter_knows_are_all_there_are(site: Site) -> None:
    ref = site.add("vm")
    for state in ("Migrating", "Destroyed", "Expunging"):  # whatever its power is
        assert VmFilter(states=(state,)).may_match(site.world.controller().hosts["kvm01"].domains()[0]), state
    assert ref.active
