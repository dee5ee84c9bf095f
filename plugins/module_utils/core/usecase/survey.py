# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys the hosts for a new VM: which can have it, and all the definition will need from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Callable, TypeVar

from ..hypervisor.port import Host
from ..model.catalog import Catalog, HostSpec
from ..model.data_volume import holds
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import data_volume
from ..model.plan_parts import Plan
from ..model.resources import HostFacts, NetworkFacts, PoolFacts, Template
from ..model.values import UNSET
from ..model.vm import VmFacts
from ..model.vm_spec import AUTO, DiskSpec, NicSpec, VmSpec
from ..plan.nics import address_key, choose_addresses
from ..plan.offering import compute_of, pool_of_disk
from ..plan.placement import Candidate, Demand, Picture, Placement, place, unwanted
from ..plan.request import Site, VmRequest
from ..plan.vm import plan_vm
from .infrastructure import Infrastructure
from .layering import with_snapshots
from .neighbours import count_members, require_counted
from .query import Reader, every_vm
from .sharing import as_others_see

T = TypeVar("T")
Pools = Mapping[str, PoolFacts]


def choose_site(
    infra: Infrastructure,
    spec: VmSpec,
    draw: float,
    without: VmFacts | None = None,
    picture: Picture | None = None,
) -> tuple[Site, Placement]:
    """The best host for the spec, and why; raises what place() raises when there is none.

    `without` is a half deployed VM that is about to go: what it holds counts as free. `picture` has what other VMs of
    the same run will take.
    """
    catalog, picture = infra.catalog, picture or Picture()
    compute = compute_of(spec, catalog)
    groups, named = spec.affinity_groups or (), spec.host or ""
    chosen = infra.selected(spec.zone, spec.pod, spec.cluster, (named,) if named else ())
    asked = tuple(host for host in chosen if host.state == "enabled")
    counted, unasked = count_members(infra, groups, asked, without)
    found, errors = infra.on_hosts(lambda host: _survey(infra, host, spec, without), asked)
    errors = {**errors, **unasked}
    candidates = []
    for host in catalog.hosts:
        facts = found[host.name].host if host.name in found else None
        out = unwanted(host, named, zone=spec.zone, pod=spec.pod, cluster=spec.cluster)
        members = counted.get(host.name, {})
        candidates.append(picture.candidate(Candidate(host, facts, errors.get(host.name), members, out)))
    require_counted(candidates, groups, unasked, catalog)
    data_on = _data_on(found, without)
    demand = Demand(compute.cpu, compute.memory, compute.host_tags, groups, named, data_on)
    placement = place(tuple(candidates), demand, catalog, draw)
    if without and without.host.name != placement.host:
        _require_data(infra, spec, without, placement)
    return picture.site(found[placement.host]), placement


def _data_on(found: Mapping[str, Site], without: VmFacts | None) -> frozenset[str]:
    """Where most of the free data disks are that are to be adopted; a killed deploy may have made or adopted them."""
    free = {name: len(site.volumes) - len(site.lenders) for name, site in found.items()}
    if without and free.get(without.host.name):
        return frozenset([without.host.name])
    most = max(free.values(), default=0)
    return frozenset(name for name, count in free.items() if count == most and most)


def _require_data(infra: Infrastructure, spec: VmSpec, half: VmFacts, placement: Placement) -> None:
    """InvalidState where a data disk of the half deployed VM would stay behind, and an empty one take its place."""
    host, wanted = infra.host(half.host.name), {disk.name for disk in spec.data_disks or ()}
    for disk in half.record.data_disks if half.record else ():
        facts = host.volume(disk.pool, disk.volume) if disk.name in wanted else None
        if facts is None or any(row.host.name == placement.host for row in as_others_see(infra, host, facts)):
            continue
        why = dict(placement.rejected).get(half.host.name, "")
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{half.name}' is half deployed on host '{half.host.name}' with data disk '{disk.name}', which is"
            f" not on host '{placement.host}'" + (f"; {why}" if why else ""),
            f"let it be deployed on '{half.host.name}', or expunge it first, which leaves the disk there",
            host=half.host.name,
            rejected=placement.as_dict()["rejected"],
        )


def with_room(host: Host, names: Iterable[str], plan: Callable[[Pools | None], T]) -> T:
    """What `plan` makes of the pools as it knows them (None), or where they have no room, as they are now.

    For libvirt tells the room that it saw when it last worked there, and others may have made some since.
    """
    try:
        return plan(None)
    except AblestackError as error:
        if error.code is not Code.INSUFFICIENT_CAPACITY:
            raise
    return plan({name: host.pool(name, True) for name in names})


def plan_with_room(infra: Infrastructure, request: VmRequest, picture: Picture) -> Plan[VmFacts]:
    """plan_vm, for what other VMs of the same run leave of the pools."""
    site = request.site or request.home
    if site is None:
        return plan_vm(request)

    def planned(pools: Pools | None) -> Plan[VmFacts]:
        if request.site and pools is None:
            return plan_vm(request)  # it was chosen for what others leave
        left = picture.site(site if pools is None else replace(site, pools=dict(pools)))
        return plan_vm(replace(request, site=left) if request.site else replace(request, home=left))

    return with_room(infra.host(site.host.spec.name), site.pools, planned)


def _survey(infra: Infrastructure, host: Host, spec: VmSpec, without: VmFacts | None) -> Site:
    """Everything about one host; raises what it lacks, for the placement's reasons."""
    catalog, nics = infra.catalog, spec.networks or ()
    template, template_path = find_image(host, spec.template, "template")
    iso, iso_path = find_image(host, iso_of(spec), "ISO")
    facts = _facts(host, spec, catalog, template)
    check_boot(host.spec, facts, spec, template)
    networks = {nic.network: find_network(host, nic.network, without, nics) for nic in nics}
    pools = _pools(host, spec, catalog)
    return Site(
        host=facts,
        pool=pools[host.spec.pool],
        template=template,
        template_path=template_path,
        iso=iso,
        iso_path=iso_path,
        networks=networks,
        pools=pools,
        **data_volumes(infra, host, spec.data_disks or (), without),
        addresses_taken=taken_addresses(host, spec, networks, without),
    )


def _facts(host: Host, spec: VmSpec, catalog: Catalog, template: Template | None) -> HostFacts:
    """The host's size where the catalog limits it, and its abilities where anything depends on them."""
    facts = HostFacts(host.spec, cpus=0, memory=0) if catalog.implicit else host.facts()
    boots = (spec.boot_type, spec.boot_mode, *((template.boot_type, template.boot_mode) if template else ()))
    if host.spec.virt_type != "auto" and not spec.tpm and not {"uefi", "secure"} & set(boots):
        return replace(facts, firmware=("uefi", "secure"), tpm=True)
    abilities = host.abilities()
    return replace(facts, virt_types=abilities.virt_types, firmware=abilities.firmware, tpm=abilities.tpm)


def find_image(host: Host, name: object, what: str) -> tuple[Template | None, str]:
    from .template_lookup import find_template

    if not isinstance(name, str) or not name:
        return None, ""
    copy = find_template(host, name)
    if copy.template is None or not copy.ready:
        reason = f" ({copy.reason})" if copy.reason else ""
        raise AblestackError(
            Code.NOT_FOUND,
            f"{what} '{name}' is not ready on host '{host.spec.name}'{reason}",
            "register it there with ablestack_template",
        )
    if (copy.template.format == "iso") != (what == "ISO"):
        raise AblestackError(
            Code.INVALID_INPUT,
            f"'{name}' has the format {copy.template.format} and is no {what}",
            "use the other one",
        )
    return copy.template, copy.path


def iso_of(spec: VmSpec) -> str:
    """The ISO in a new VM's CD drive; InvalidInput where the two options that name it contradict each other."""
    if spec.iso and spec.attached_iso is not UNSET and spec.attached_iso != spec.iso:
        raise invalid(
            f"a VM to be deployed from ISO '{spec.iso}' cannot have '{spec.attached_iso}' in its drive",
            "leave attached_iso out until it is installed",
        )
    return spec.iso or spec.attached_iso or ""


def check_boot(host: HostSpec, facts: HostFacts, spec: VmSpec, template: Template | None) -> None:
    mode = spec.boot_mode or (template.boot_mode if template else "")
    kind = spec.boot_type or (template.boot_type if template else "") or ("uefi" if mode == "secure" else "bios")
    if kind == "uefi" and "uefi" not in facts.firmware:
        raise AblestackError(Code.UNSUPPORTED, f"host '{host.name}' has no UEFI firmware", "install OVMF there")
    if mode == "secure" and "secure" not in facts.firmware:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"host '{host.name}' has no firmware for secure boot",
            "install OVMF with secure boot there",
        )
    if spec.tpm and not facts.tpm:
        raise AblestackError(Code.UNSUPPORTED, f"host '{host.name}' cannot emulate a TPM", "install swtpm there")


def find_network(host: Host, name: str, without: VmFacts | None, nics: tuple[NicSpec, ...]) -> NetworkFacts:
    """The network, with its leases where one of the NICs is to have a fixed address of its DHCP."""
    network = host.network(name)
    if network is None:
        raise AblestackError(
            Code.NOT_FOUND,
            f"network '{name}' is not on host '{host.spec.name}'",
            "make it with ablestack_network, or name another",
        )
    if not network.active:
        raise AblestackError(
            Code.INVALID_STATE, f"network '{name}' on host '{host.spec.name}' is not active", "start it first"
        )
    gone = {nic.mac for nic in without.config.nics} if without else set()
    fixed = network.reserves and any(nic.ip and nic.network == name for nic in nics)
    return replace(
        network,
        reservations=tuple(row for row in network.reservations if row.mac not in gone),
        leases=host.leases(name) if fixed else (),
    )


def with_addresses_chosen(infra: Infrastructure, spec: VmSpec, site: Site) -> VmSpec:
    """The spec with a free address of the site wherever any is wanted."""
    wanted = spec.networks or ()
    if all(nic.ip != AUTO for nic in wanted):
        return spec
    taken = site.addresses_taken
    nics = infra.promise(
        site.host.spec.name,
        lambda promised: choose_addresses(wanted, site.networks, {*taken, *promised}),
        lambda chosen: [address_key(nic.network, nic.ip) for nic in chosen],
    )
    return replace(spec, networks=nics)


def _pools(host: Host, spec: VmSpec, catalog: Catalog) -> dict[str, PoolFacts]:
    """The host's own pool, and those that disks and their offerings name."""
    names = {host.spec.pool: None}
    if spec.root_disk_offering:
        names[catalog.disk_offering(spec.root_disk_offering).pool or host.spec.pool] = None
    for disk in spec.data_disks or ():
        names[pool_of_disk(disk, catalog) or host.spec.pool] = None
    return {name: host.pool(name) for name in names}


def data_volumes(
    infra: Infrastructure, host: Host, disks: tuple[DiskSpec, ...], without: VmFacts | None
) -> dict[str, Any]:
    """Data disks of the wanted names that exist and that no VM has: they are adopted with what is on them.

    In storage that hosts share, VMs of any of them count.
    """
    volumes: dict[str, int] = {}
    lenders: dict[str, VmFacts] = {}
    for disk in disks:
        pool = pool_of_disk(disk, infra.catalog) or host.spec.pool
        volume = host.volume(pool, data_volume(disk.name))
        if volume is None:
            continue
        key = f"{pool}/{volume.name}"
        for holder in (vm for vm in _others(host, without) if holds(vm, volume)):
            if holder.exists or holder.record is None:
                raise _belongs(disk, holder)
            # a destroyed VM's kept disk is free all the same (SEMANTICS 6)
            lenders[key] = with_snapshots(host, holder)
        for row in as_others_see(infra, host, volume):
            for holder in row.holders:
                if without is None or holder.id != without.id:
                    raise _belongs(disk, holder)
        volumes[key] = volume.capacity
    return {"volumes": volumes, "lenders": lenders}


def _belongs(disk: DiskSpec, holder: VmFacts) -> AblestackError:
    where = f"VM '{holder.name}' on host '{holder.host.name}'"
    if holder.exists or holder.record is None:
        hint = "choose another name, or detach it there first"
        return AblestackError(Code.IN_USE, f"data disk '{disk.name}' belongs to {where}", hint)
    hint = "expunge that VM, which leaves the disk, or use the disk on that host"
    return AblestackError(Code.IN_USE, f"data disk '{disk.name}' is kept for destroyed {where}", hint)


def taken_addresses(
    host: Host, spec: VmSpec, networks: Mapping[str, NetworkFacts], without: VmFacts | None
) -> dict[str, str]:
    """Addresses and MACs other VMs of the host have; read only where the user names one.

    Two networks have the same address apart, unless both are on one bridge of the host's.
    """
    wanted = [(nic.network, nic.ip.partition("/")[0]) for nic in spec.networks or () if nic.ip]
    if not wanted and not any(nic.mac for nic in spec.networks or ()):
        return {}
    taken: dict[str, str] = {}
    vms = _others(host, without)
    if any((network.name, lease.ip) in wanted for network in networks.values() for lease in network.leases):
        # Who leases it may have been made since the VMs were listed, and is no VM that is gone.
        known = {vm.id for vm in vms}.union((without.id,) if without else ())
        vms += every_vm(host, tuple(ref for ref in host.domains(True) if ref.id not in known))
    for vm in vms:
        holder = vm.name if vm.exists else f"destroyed VM {vm.name}"
        taken.update({nic.mac: holder for nic in vm.config.nics})
        for row in vm.record.nics if vm.record else ():
            if not row.ip:
                continue
            taken[address_key(row.network, row.ip)] = holder
            for name, ip in wanted:
                if ip == row.ip and name != row.network and _one_segment(networks.get(name), host.network(row.network)):
                    taken[address_key(name, ip)] = holder
    return taken


def _one_segment(one: NetworkFacts | None, other: NetworkFacts | None) -> bool:
    """Whether both are on one bridge of the host's, and in one VLAN there."""
    if one is None or other is None or "bridge" not in (one.forward, other.forward):
        return False
    return (one.bridge, one.vlan) == (other.bridge, other.vlan)


def with_segment(infra: Infrastructure, spec: VmSpec, site: Site, vm_id: str = "") -> Site:
    """The site with what VMs on the other hosts have in its networks on bridges, which are one segment for all hosts.

    Read only where the spec names an address or a MAC there. `vm_id` is the VM's own. HostUnavailable where a host
    cannot be asked.
    """
    wanted = {nic.network for nic in spec.networks or () if nic.ip or nic.mac}
    shared = frozenset(name for name in wanted if name in site.networks and site.networks[name].forward == "bridge")
    others = [host for host in infra.catalog.hosts if host.name != site.host.spec.name]
    if not shared or not others:
        return site
    found, errors = infra.on_hosts(lambda host: _taken(host, shared, vm_id), others)
    for name, error in errors.items():
        raise AblestackError(
            Code.HOST_UNAVAILABLE,
            f"host '{name}' cannot be asked which addresses its VMs have in network '{min(shared)}': {error.message}",
            "bring the host back, or take it out of the catalog",
            host=name,
        )
    elsewhere = {key: f"{holder} on host {name}" for name, taken in found.items() for key, holder in taken.items()}
    return replace(site, addresses_taken={**elsewhere, **site.addresses_taken})


def _taken(host: Host, networks: frozenset[str], vm_id: str) -> dict[str, str]:
    """The addresses and MACs that VMs of a host have in these networks, and who."""
    taken: dict[str, str] = {}
    for vm in every_vm(host, tuple(ref for ref in host.domains() if ref.id != vm_id), host.glances):
        holder = vm.name if vm.exists else f"destroyed VM {vm.name}"
        taken.update({nic.mac: holder for nic in vm.config.nics if nic.network in networks})
        rows = vm.record.nics if vm.record else ()
        taken.update({address_key(row.network, row.ip): holder for row in rows if row.ip and row.network in networks})
    return taken


def _others(host: Host, without: VmFacts | None, read: Reader | None = None) -> list[VmFacts]:
    gone = without.id if without else ""
    return every_vm(host, tuple(ref for ref in host.domains() if ref.id != gone), read)
