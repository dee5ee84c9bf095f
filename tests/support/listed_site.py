# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in memory with VMs of every kind on it, as inventories list them."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Lease
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    NicConfig,
    NicRecord,
    Power,
    VmConfig,
    VmRecord,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.inventory import (
    ADDRESS_SOURCES,
    Selection,
    list_inventory,
)

from .memory_state import MemoryDomain
from .worlds import Controller, World, make_world

ALL = Selection(states=())


class Site:
    """Three hosts, and a way to put VMs on them."""

    def __init__(self) -> None:
        self.world: World = make_world(3, host_values={"kvm03": {"zone": "busan"}})
        self._numbers = itertools.count(1)

    def add(self, name: str, host: str = "kvm01", power: Power = Power.RUNNING, **values: Any) -> MemoryDomain:
        """`ip` is a reservation, `lease` what DHCP gave, `managed` and `mark` say whose it is and what became of it."""
        number = next(self._numbers)
        mac = f"52:54:00:00:00:{number:02x}"
        ip, lease, managed = values.pop("ip", ""), values.pop("lease", ""), values.pop("managed", True)
        network = values.pop("network", "default")
        record = VmRecord(name=name, nics=(NicRecord(mac, network, ip),), **values) if managed else None
        nics = (NicConfig(mac, network, leased=network == "default"),)
        config = VmConfig(str(UUID(int=number)), name, record, 1, 512, 1, 512, nics=nics)
        domain = MemoryDomain(config, config if power not in (Power.OFF, Power.CRASHED) else None, power)
        state = self.world.states[host]
        state.domains[config.id] = domain
        if lease:
            state.networks[network].leases += (Lease(mac, lease, name, 100),)
        return domain

    def list(self, wanted: Selection = ALL) -> list[dict[str, Any]]:
        vms: list[dict[str, Any]] = self.outcome(wanted).result["vms"]
        return vms

    def outcome(self, wanted: Selection = ALL) -> Any:
        return self.outcome_of(self.world.controller(), wanted)

    def outcome_of(self, controller: Controller, wanted: Selection = ALL) -> Any:
        """`opened` are the hosts that were connected, each as often as it was."""
        self.controller, self.opened = controller, []
        open_host = controller.infrastructure._open

        def opening(spec: HostSpec) -> Any:
            self.opened.append(spec.name)
            return open_host(spec)

        controller.infrastructure._open = opening
        with controller.infrastructure as infrastructure:
            return list_inventory(infrastructure, wanted)

    def names(self, **selection: Any) -> list[str]:
        return [vm["name"] for vm in self.list(Selection(**{"states": (), **selection}))]

    def addresses(self, *sources: str) -> dict[str, str]:
        return {vm["name"]: vm["address"] for vm in self.list(Selection(states=(), sources=sources or ADDRESS_SOURCES))}

    @property
    def calls(self) -> list[str]:
        return [name for host in self.controller.hosts.values() for name, _arguments in host.calls]


def says(domain: MemoryDomain, *ips: str) -> None:
    """What the guest's agent answers."""
    domain.guest.addresses = {domain.config.nics[0].mac: ips}
