# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NICs of a VM that exists: `networks` as a complete list, matched by MAC, by address, then in order (SEMANTICS 4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Callable

from ..model.errors import AblestackError, Code
from ..model.plan_parts import LIVE, NEXT_BOOT, RESTART, Change
from ..model.resources import NetworkFacts
from ..model.seed_content import SeedNic
from ..model.values import UNSET, altered
from ..model.vm import NicConfig, NicRecord, VmConfig, VmFacts
from ..model.vm_spec import AUTO, NicSpec
from .change_disks import home_of
from .edits import Edits
from .nics import NicPlan, address_key, in_place, plan_nic
from .request import VmRequest
from .steps import Release, Reserve

_Suits = Callable[[NicSpec, NicConfig], bool]
_MANY = 32
"""NICs of one network that a VM is taken to have at the most."""
_BRIDGED = ("e1000", "rtl8139", "vmxnet3")
"""The models that libvirt puts behind a bridge to PCI before PCI Express, which a guest has from its start or not."""


@dataclass(frozen=True)
class NicMatch:
    """A wanted NIC, and the one of the VM's that it is; `ip` is the fixed address of that one, `mac` is a new one's."""

    spec: NicSpec
    have: NicConfig | None = None
    ip: str = ""
    mac: str = ""

    @property
    def moves(self) -> bool:
        """Whether it changes its network or address, or is new: then the network has to be known."""
        if self.have is None or self.have.network != self.spec.network:
            return True
        return bool(self.spec.ip) and _plain(self.spec.ip) != self.ip


def match_nics(wanted: tuple[NicSpec, ...], vm: VmFacts) -> tuple[list[NicMatch], list[NicConfig]]:
    """The wanted NICs in their order with those they are, and the ones nobody wants any more.

    By MAC first, then by network and address, then by network in order; what is given decides before what is left open.
    In order means: the second entry of a network is the VM's second NIC there, whatever addresses they have.
    """
    present = present_nics(vm)
    left = list(present)
    addresses = {nic.mac: nic.ip for nic in (vm.record.nics if vm.record else ())}
    found: dict[int, NicConfig] = {}

    def take(suits: _Suits) -> None:
        for position, spec in enumerate(wanted) if len(found) < len(wanted) else ():
            if position in found:
                continue
            nic = next((nic for nic in left if suits(spec, nic)), None)
            if nic is not None:
                found[position] = nic
                left.remove(nic)

    take(lambda spec, nic: bool(spec.mac) and spec.mac == nic.mac)
    take(
        lambda spec, nic: (
            not spec.mac and bool(spec.ip) and (spec.network, _plain(spec.ip)) == (nic.network, addresses.get(nic.mac))
        )
    )
    for position, nic in in_place(wanted, present).items():
        spec = wanted[position]
        if position not in found and nic in left and not spec.mac and not spec.ip:
            found[position] = nic
            left.remove(nic)
    take(lambda spec, nic: not spec.mac and not spec.ip and spec.network == nic.network and not addresses.get(nic.mac))
    take(lambda spec, nic: not spec.mac and spec.network == nic.network)
    matches = [
        NicMatch(spec, found.get(position), addresses.get(found[position].mac, "") if position in found else "")
        for position, spec in enumerate(wanted)
    ]
    return matches, left


def are_as_wanted(wanted: tuple[NicSpec, ...], vm: VmFacts) -> bool:
    """Whether the VM has these NICs in this order and nothing it has says otherwise: neither its record nor what runs.

    Then each is the one at its place, and none of what follows has anything to do; so it is for most of a fleet.
    """
    nics, rows = vm.config.nics, vm.record.nics if vm.record else ()
    running = vm.live.nics if vm.live and vm.is_active else nics
    if not len(wanted) == len(nics) == len(rows) or _places(running) != _places(nics):
        return False
    return all(
        spec.network == nic.network == row.network
        and nic.mac == row.mac
        and spec.mac in ("", nic.mac)
        and spec.model in ("", nic.model)
        and (not spec.ip or _plain(spec.ip) == row.ip)
        for spec, nic, row in zip(wanted, nics, rows)
    )


def _places(nics: tuple[NicConfig, ...]) -> list[tuple[str, str]]:
    return sorted((nic.mac, nic.network) for nic in nics)


def present_nics(vm: VmFacts) -> list[NicConfig]:
    """The stored definition's NICs, and those that a killed run had only plugged in."""
    stored = list(vm.config.nics)
    macs = {nic.mac for nic in stored}
    return stored + [nic for nic in (vm.live.nics if vm.live and vm.is_active else ()) if nic.mac not in macs]


def change_nics(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """Plugs, unplugs, moves, readdresses and orders NICs; one that stays keeps its MAC."""
    wanted = request.spec.networks
    if wanted is UNSET or are_as_wanted(wanted, vm):
        return
    matches, gone = match_nics(wanted, vm)
    matches = _with_macs(vm, matches)
    own = {nic.mac: nic for nic in edits.record.nics}
    plans = [_planned(request, vm, match, position, matches, edits) for position, match in enumerate(matches)]
    edits.first[:0] = _forgotten(request, vm, matches, edits)
    for nic in gone:
        edits.changes.append(Change(f"networks.{nic.network}", _told(nic.mac, own), None, LIVE))
        _release(request, nic.mac, own, edits)
    _order(edits, vm, plans)
    before = edits.config
    edits.config = _with_nics(edits.config, [plan.config for plan in plans], keep_order=False)
    edits.record = altered(edits.record, nics=tuple(plan.record for plan in plans))
    if edits.live is not None:
        edits.live = _with_nics(edits.live, [plan.config for plan in plans], keep_order=True)
    if gone or edits.config != before or any(match.moves for match in matches):
        edits.touches_hardware = True
        _write_seed(request, vm, matches, plans, edits)


def _planned(
    request: VmRequest, vm: VmFacts, match: NicMatch, position: int, matches: list[NicMatch], edits: Edits
) -> NicPlan:
    spec, have = match.spec, match.have
    if have is None:
        return _plugged(request, vm, match, position, matches, edits)
    config = altered(have, network=spec.network, model=spec.model or have.model)
    if config.model != have.model:
        edits.changes.append(Change(f"networks.{spec.network}.model", have.model, config.model, RESTART))
    if not match.moves:
        return NicPlan(config, NicRecord(have.mac, spec.network, match.ip), SeedNic(have.mac))
    own = {nic.mac: nic for nic in edits.record.nics}
    if have.network != spec.network:
        edits.changes.append(Change(f"networks.{have.mac}", have.network, spec.network, _move(request, have, spec)))
        _release(request, have.mac, own, edits)
    kept = replace(spec, mac=have.mac, model=config.model)
    planned = _on_network(request, vm, kept, have.mac, position, matches)
    if planned.record.ip != match.ip:
        path = f"networks.{spec.network}.ip"
        edits.changes.append(Change(path, match.ip, planned.record.ip, NEXT_BOOT))
    _reserve(planned, edits)
    return replace(planned, config=config)


def _move(request: VmRequest, have: NicConfig, spec: NicSpec) -> str:
    """What it costs to connect a NIC to another network: libvirt does that live between Linux bridges alone."""
    networks = home_of(request).networks
    found = [networks[name] for name in (have.network, spec.network) if name in networks]
    return RESTART if any(network.openvswitch for network in found) else LIVE


def _plugged(
    request: VmRequest, vm: VmFacts, match: NicMatch, position: int, matches: list[NicMatch], edits: Edits
) -> NicPlan:
    spec = match.spec
    planned = _on_network(request, vm, spec, match.mac, position, matches)
    after = {"mac": planned.config.mac, "ip": planned.record.ip}
    edits.changes.append(Change(f"networks.{spec.network}", None, after, _plug(vm, planned.config.model)))
    _reserve(planned, edits)
    return planned


def _plug(vm: VmFacts, model: str) -> str:
    """What it costs to add a NIC: the guest has the bridge that some need if it was started with one of them."""
    bridged = vm.live is not None and any(nic.model in _BRIDGED for nic in vm.live.nics)
    return RESTART if model in _BRIDGED and not bridged else LIVE


def _write_seed(request: VmRequest, vm: VmFacts, matches: list[NicMatch], plans: list[NicPlan], edits: Edits) -> None:
    """The seed tells every NIC's address and, of the default one, the gateway; so all are told anew.

    An address whose network does not tell its prefix length is taken over from the present seed.
    """
    seeds, kept = [], []
    for position, (match, plan) in enumerate(zip(matches, plans)):
        seed, ip = plan.seed, match.spec.ip or match.ip
        if not match.moves and ip:
            network = home_of(request).networks.get(plan.config.network)
            if network is None or not (network.cidr or "/" in ip):
                kept.append(plan.config.mac)
            else:
                spec = replace(match.spec, ip=ip, mac=plan.config.mac)
                seed = _on_network(request, vm, spec, spec.mac, position, matches).seed
        seeds.append(seed)
    edits.seed_nics, edits.seed_kept = tuple(seeds), tuple(kept)


def _on_network(
    request: VmRequest, vm: VmFacts, spec: NicSpec, mac: str, position: int, matches: list[NicMatch]
) -> NicPlan:
    """The NIC as its network has it; what the VM itself, or a killed run for it, holds there is free."""
    site = home_of(request)
    network = site.networks[spec.network]
    free = _never_came(vm, spec.network) | {mac}
    network = replace(network, reservations=tuple(row for row in network.reservations if row.mac not in free))
    taken = dict(site.addresses_taken)
    for other, match in enumerate(matches):
        if other != position and match.have is not None:
            taken[match.have.mac] = vm.name
            if match.ip and not match.moves:
                taken[address_key(match.spec.network, match.ip)] = vm.name
    return plan_nic(spec, network, mac, vm.name, taken)


def _forgotten(request: VmRequest, vm: VmFacts, matches: list[NicMatch], edits: Edits) -> list[Release]:
    """Reservations that a killed run may have made, and the record does not know: they would be in the way.

    For NICs that are there without an address, and for new ones that never came.
    """
    reserved = {(step.network, step.reservation.mac) for step in edits.first if isinstance(step, Reserve)}
    if not reserved:
        return []
    present = [(match.have.network, match.have.mac) for match in matches if match.have and not match.ip]
    never = [
        (name, row.mac)
        for name in sorted({name for name, _mac in reserved})
        for row in home_of(request).networks[name].reservations
        if row.mac in _never_came(vm, name) and (name, row.mac) not in reserved
    ]
    others = {name: {mac for network, mac in reserved if network == name} for name, _mac in reserved}
    return [Release(name, mac) for name, mac in (*present, *never) if others.get(name, set()) - {mac}]


def _never_came(vm: VmFacts, network: str) -> set[str]:
    """The MACs that a killed run would have given to new NICs of this network."""
    present = {nic.mac for nic in present_nics(vm)}
    return {_new_mac(vm.id, network, twins, present) for twins in range(_MANY)}


def _reserve(planned: NicPlan, edits: Edits) -> None:
    """A network's DNS has each name once: the VM's name leads to the NIC that had an address there first."""
    if planned.reservation is None:
        return
    network, mac = planned.config.network, planned.config.mac
    reserved = [step.network for step in edits.first if isinstance(step, Reserve) and step.reservation.name]
    recorded = [nic.network for nic in edits.record.nics if nic.ip and nic.mac != mac]
    taken = network in reserved or network in recorded
    edits.first.append(Reserve(network, replace(planned.reservation, name="") if taken else planned.reservation))


def _release(request: VmRequest, mac: str, own: dict[str, NicRecord], edits: Edits) -> None:
    """Frees the fixed address of a NIC that leaves its network, where we had reserved it."""
    nic = own.get(mac)
    network = home_of(request).networks.get(nic.network) if nic and nic.ip else None
    if nic and _reserves(network):
        edits.last.append(Release(nic.network, mac))


def _reserves(network: NetworkFacts | None) -> bool:
    return network is not None and network.managed


def _told(mac: str, own: dict[str, NicRecord]) -> dict[str, str]:
    return {"mac": mac, "ip": own[mac].ip if mac in own else ""}


def _order(edits: Edits, vm: VmFacts, plans: list[NicPlan]) -> None:
    """The first NIC is the default one: its route counts most, which the guest learns from its seed."""
    staying = {plan.config.mac for plan in plans}
    before = [nic.mac for nic in vm.config.nics if nic.mac in staying]
    known = set(before)
    after = [plan.config.mac for plan in plans if plan.config.mac in known]
    moved_to_front = bool(vm.config.nics) and bool(plans) and plans[0].config.mac != vm.config.nics[0].mac
    if before != after or moved_to_front:
        default = vm.config.nics[0].mac if vm.config.nics else ""
        edits.changes.append(Change("default_nic", default, plans[0].config.mac, NEXT_BOOT))


def _with_nics(config: VmConfig, wanted: list[NicConfig], keep_order: bool) -> VmConfig:
    """A definition with these NICs; a running one keeps its order, which cannot change any more."""
    by_mac = {nic.mac: nic for nic in wanted}
    if not keep_order:
        nics = tuple(wanted)
    else:
        staying = [altered(nic, network=by_mac[nic.mac].network) for nic in config.nics if nic.mac in by_mac]
        macs = {nic.mac for nic in staying}
        nics = tuple(staying) + tuple(nic for nic in wanted if nic.mac not in macs)
    return altered(config, nics=nics)


def _with_macs(vm: VmFacts, matches: list[NicMatch]) -> list[NicMatch]:
    """New NICs with the MACs that they get."""
    used = {nic.mac for nic in present_nics(vm)} | {match.spec.mac for match in matches}
    found = list(matches)
    for position, match in enumerate(matches):
        if match.have is None:
            twins = sum(other.spec.network == match.spec.network for other in matches[:position])
            mac = match.spec.mac or _new_mac(vm.id, match.spec.network, twins, used)
            found[position] = replace(match, mac=mac)
            used.add(mac)
    return found


def _new_mac(vm_id: str, network: str, twins: int, used: set[str]) -> str:
    """The same MAC for the same wish, so that a killed run's reservation and NIC are found again.

    Unicast and locally administered, as the random ones of a deploy; the VM's id makes it as unlikely to clash.
    """
    while True:
        digest = hashlib.sha256(f"{vm_id}/{network}/{twins}".encode()).digest()
        mac = "52:54:" + ":".join(f"{byte:02x}" for byte in digest[:4])
        if mac not in used:
            return mac
        twins += 1


def _plain(ip: str) -> str:
    """The address alone, as the record keeps it; one that is still to be chosen is none that any NIC has."""
    if ip == AUTO:
        return ip
    try:
        return str(ip_interface(ip).ip)
    except ValueError as error:
        raise AblestackError(
            Code.INVALID_INPUT, f"'{ip}' is not an IP address", "write for example 10.10.10.5"
        ) from error
