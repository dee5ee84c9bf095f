# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds networks on a host, and the VMs that use them."""

from __future__ import annotations

from collections.abc import Iterable

from ..hypervisor.port import Host
from ..model.network import FixedAddress, HostNetwork
from ..model.resources import NetworkState
from ..model.vm import VmFacts
from .query import every_vm


def networks_on(host: Host, names: Iterable[str] = (), leases: bool = True) -> list[HostNetwork]:
    """The networks of those names, or all, each with its users and leases."""
    wanted = set(names)
    states = [state for state in host.network_states() if not wanted or state.name in wanted]
    vms = every_vm(host) if states else []
    return [_with_users(host, state.name, state, vms, leases) for state in states]


def network_on(host: Host, name: str, states: Iterable[NetworkState], vms: list[VmFacts] | None = None) -> HostNetwork:
    """The network of that name among the states, or its absence, with its users and leases."""
    state = next((state for state in states if state.name == name), None)
    return _with_users(host, name, state, every_vm(host) if vms is None else vms, True)


def _with_users(host: Host, name: str, state: NetworkState | None, vms: list[VmFacts], leases: bool) -> HostNetwork:
    users = [vm for vm in vms if _uses(vm, name)]
    fixed = tuple(
        FixedAddress(vm.name, nic.mac, nic.ip)
        for vm in users
        for nic in (vm.record.nics if vm.record else ())
        if nic.network == name and nic.ip
    )
    served = leases and state is not None and state.live is not None and state.live.serves
    return HostNetwork(
        host=host.spec.name,
        state=state,
        vms=tuple(sorted(_label(vm) for vm in users)),
        running=tuple(sorted(_label(vm) for vm in users if vm.is_active)),
        fixed=fixed,
        leases=host.leases(name) if served else (),
    )


def _uses(vm: VmFacts, name: str) -> bool:
    """Whether a NIC of either definition is in the network."""
    return any(nic.network == name for config in (vm.config, vm.live) if config for nic in config.nics)


def _label(vm: VmFacts) -> str:
    return vm.name if vm.exists else f"{vm.name} (destroyed)"
