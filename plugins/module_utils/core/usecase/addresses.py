# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of many guests of one host, source by source, in bounded time whatever their agents do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Callable

from ..hypervisor.port import Host
from ..model.errors import AblestackError
from ..model.vm import NicConfig, VmFacts

AGENT_SECONDS = 2.5
"""For all agents of a host together: libvirt gives up on one that hangs after two (libvirt_power.AGENT_RESPONSE)."""
AGENT_CALLS = 5  # at once over a connection: libvirt serves no more of one client
AGENT_LINKS = 2
"""Connections for agents alone: where all their calls hang, everything else goes on, and so does the host's libvirt,
which serves twenty calls of all its clients."""
_READERS = 4

Found = dict[str, Mapping[str, tuple[str, ...]]]
"""Addresses by MAC, by VM id."""


def with_addresses(
    host: Host, vms: Iterable[VmFacts], sources: tuple[str, ...], another: Callable[[], Host]
) -> tuple[list[VmFacts], list[str]]:
    """The VMs with their addresses, and warnings. `another` opens one more connection to the host.

    A source is asked only for NICs that none before it knew, and only while the VM runs. What the user asked for on a
    network without a DHCP of libvirt's counts when no source knows better.
    """
    everything = list(vms)
    found: Found = {vm.id: {} for vm in everything}
    warnings: list[str] = []
    for source in sources:
        lacking = [vm for vm in everything if _nics_without(vm, found)]
        if not lacking:
            break
        if source == "lease":
            more = _leased(host, lacking)
        elif source == "reservation":
            more = {vm.id: vm.requested_addresses(sure=True) for vm in lacking}
        elif source == "agent":
            more, unasked = ask_agents(_answering(host, lacking), another)
            if unasked:
                warnings.append(
                    f"on host '{host.spec.name}' there was no time left to ask {unasked} guest agents for addresses"
                )
        else:
            more = _each(host, lacking, source)
        _add(found, lacking, more)
    if "reservation" in sources:
        lacking = [vm for vm in everything if _nics_without(vm, found)]
        _add(found, lacking, {vm.id: vm.requested_addresses(sure=False) for vm in lacking})
    return [replace(vm, addresses=found[vm.id]) if found[vm.id] else vm for vm in everything], warnings


def _add(found: Found, vms: list[VmFacts], more: Found) -> None:
    for vm in vms:
        wanted = {nic.mac for nic in _nics_without(vm, found)}
        news = {mac: ips for mac, ips in more.get(vm.id, {}).items() if ips and mac in wanted}
        found[vm.id] = {**found[vm.id], **news}


def _answering(host: Host, vms: list[VmFacts]) -> list[VmFacts]:
    """Those whose agents may be asked: connected ones, by a connection that may write, and of VMs of ours.

    To bound the time of an agent changes its VM, which is not for us to do to others.
    """
    return [] if host.read_only else [vm for vm in vms if vm.record and vm.live and vm.live.agent]


def _nics_without(vm: VmFacts, found: Found) -> list[NicConfig]:
    """The NICs of a running VM that have no address yet."""
    nics = vm.live.nics if vm.live and vm.is_active else ()
    return [nic for nic in nics if nic.mac not in found[vm.id]]


def _leased(host: Host, vms: list[VmFacts]) -> Found:
    """From the leases of whole networks: one look for all guests of each."""
    networks = sorted({nic.network for vm in vms if vm.live for nic in vm.live.nics if nic.leased and nic.network})
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for network in networks:
        try:
            leases = host.leases(network)
        except AblestackError:
            continue
        # Of two leases the one that lasts longer is the newer; an IPv4 address comes first.
        for lease in sorted(leases, key=lambda lease: (":" in lease.ip, -lease.expires)):
            place = (network, lease.mac)
            known[place] = (*known.get(place, ()), lease.ip)
    return {
        vm.id: {nic.mac: known[nic.network, nic.mac] for nic in vm.live.nics if (nic.network, nic.mac) in known}
        for vm in vms
        if vm.live
    }


def _each(host: Host, vms: list[VmFacts], source: str) -> Found:
    """From a source that is asked for each VM, and answers at once."""

    def one(vm: VmFacts) -> Mapping[str, tuple[str, ...]]:
        try:
            return host.addresses(vm, (source,))
        except AblestackError:
            return {}

    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        return {vm.id: addresses for vm, addresses in zip(vms, pool.map(one, vms))}


def ask_agents(vms: list[VmFacts], another: Callable[[], Host]) -> tuple[Found, int]:
    """What agents tell within AGENT_SECONDS, and how many could not be asked in it.

    A call that hangs is left behind in its thread: libvirt ends it, and nobody waits.
    """
    if not vms:
        return {}, 0
    waiting: SimpleQueue[VmFacts] = SimpleQueue()
    answers: SimpleQueue[tuple[str, Mapping[str, tuple[str, ...]]]] = SimpleQueue()
    for vm in vms:
        waiting.put(vm)

    def work(host: Host) -> None:
        while (vm := _next(waiting)) is not None:
            try:
                answers.put((vm.id, host.addresses(vm, ("agent",))))
            except AblestackError:
                answers.put((vm.id, {}))

    links = _open(another, min(AGENT_LINKS, -(-len(vms) // AGENT_CALLS)))
    if not links:
        return {}, len(vms)
    until = monotonic() + AGENT_SECONDS
    workers = [link for link in links for _call in range(AGENT_CALLS)][: len(vms)]
    for link in workers:
        Thread(target=work, args=(link,), name="guest agents", daemon=True).start()
    found: Found = {}
    while len(found) < len(vms):
        try:
            vm_id, addresses = answers.get(timeout=max(until - monotonic(), 0))
        except Empty:
            break
        found[vm_id] = addresses
    unasked = 0
    while _next(waiting) is not None:
        unasked += 1
    return found, unasked


def _next(waiting: SimpleQueue[VmFacts]) -> VmFacts | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _open(another: Callable[[], Host], count: int) -> list[Host]:
    """So many connections, as far as they can be had."""

    def one(_number: int) -> Host | None:
        try:
            return another()
        except AblestackError:
            return None

    with ThreadPoolExecutor(max_workers=count) as pool:
        return [link for link in pool.map(one, range(count)) if link is not None]
