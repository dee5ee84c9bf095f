# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys the hosts that a VM could move to: which can have it, and what would have to be copied."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from ..hypervisor.port import Host
from ..model.catalog import Catalog
from ..model.errors import AblestackError, Code
from ..model.migration import GuestNeeds, MigrateSpec
from ..model.resources import HostFacts, NetworkFacts, VolumeFacts, VolumeSpec
from ..model.values import gib
from ..model.vm import DiskRecord, VmFacts, VmRecord
from ..plan.lifecycle import record_of
from ..plan.migrate import Copy, MoveSite
from ..plan.placement import Candidate, Demand, Picture, Placement, place, unwanted
from .infrastructure import Infrastructure
from .moving import is_same_file
from .neighbours import count_members, require_counted
from .survey import find_image, find_network
from .template_lookup import find_template


def choose_target(
    infra: Infrastructure, spec: MigrateSpec, vm: VmFacts, draw: float, picture: Picture | None = None
) -> tuple[MoveSite, Placement]:
    """The best host to move it to, and why; raises what place() raises where there is none.

    Without a named one, the hosts of its own cluster are asked. `picture` has what other VMs of the same run will take,
    where this is only planned; a move that is made sees what they have taken.
    """
    picture = picture or Picture()
    catalog, record, home = infra.catalog, record_of(vm), vm.host
    groups = tuple(name for name in record.affinity_groups if name in catalog.affinity_groups)
    chosen = (catalog.host(spec.host),) if spec.host else infra.selected(home.zone, home.pod, home.cluster)
    asked = tuple(host for host in chosen if host.state == "enabled")
    source = infra.host(home.name)
    needs = source.guest_needs(vm.id)
    if not (vm.is_active and spec.live):
        needs = replace(needs, cpu="")

    def survey(host: Host) -> tuple[MoveSite, HostFacts]:
        if host.spec.name == home.name:
            raise AblestackError(Code.INVALID_STATE, f"the VM is on host '{home.name}' now")
        return _site(source, host, spec, vm, needs), host.facts(fresh=not infra.check)

    counted, unasked = count_members(infra, groups, asked, vm)
    # A host that is to be emptied binds nobody: the first of a group to leave it chooses, the others follow.
    counted = {name: count for name, count in counted.items() if catalog.host(name).state == "enabled"}
    found, errors = infra.on_hosts(survey, asked)
    errors = {**errors, **unasked}
    candidates = []
    for host in catalog.hosts:
        facts = found[host.name][1] if host.name in found else None
        place_of = {} if spec.host else {"zone": home.zone, "pod": home.pod, "cluster": home.cluster}
        out = unwanted(host, spec.host, **place_of)
        members = counted.get(host.name, {})
        candidates.append(picture.candidate(Candidate(host, facts, errors.get(host.name), members, out)))
    require_counted(candidates, groups, unasked, catalog)
    demand = Demand(vm.config.cpu, vm.config.memory, _tags(catalog, record), groups, spec.host)
    placement = place(tuple(candidates), demand, catalog, draw)
    return found[placement.host][0], placement


def _tags(catalog: Catalog, record: VmRecord) -> tuple[str, ...]:
    """What its offering asks of a host, as long as the catalog has it."""
    offering = catalog.compute_offerings.get(record.compute_offering)
    return offering.host_tags if offering else ()


def _site(source: Host, target: Host, spec: MigrateSpec, vm: VmFacts, needs: GuestNeeds) -> MoveSite:
    """Raises the first thing that is in the way."""
    name = target.spec.name
    if not target.spec.peer_uri:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"the catalog does not say how host '{source.spec.name}' reaches host '{name}'",
            f"give host '{name}' a migration_uri, such as qemu+tls://{name}/system",
        )
    reason = target.refuses_guest(needs)
    if reason:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"host '{name}' cannot run VM '{vm.name}' as it is now: {' '.join(reason.split())[:200]}",
            "choose a host like its own; or set live: false, which stops it first" if needs.cpu else "choose another",
        )
    _check_firmware(target, vm)
    networks = {nic.network: _network(target, nic.network, vm) for nic in vm.config.nics}
    return MoveSite(target.spec, tuple(_copies(source, target, spec, vm)), networks)


def _check_firmware(target: Host, vm: VmFacts) -> None:
    config = vm.config
    if config.boot_type != "uefi" and not config.tpm:
        return
    has = target.abilities()
    kind = "secure" if config.boot_mode == "secure" else "uefi"
    if config.boot_type == "uefi" and kind not in has.firmware:
        raise AblestackError(Code.UNSUPPORTED, f"host '{target.spec.name}' has no firmware for {kind}", "install OVMF")
    if config.tpm and not has.tpm:
        raise AblestackError(Code.UNSUPPORTED, f"host '{target.spec.name}' cannot emulate a TPM", "install swtpm there")


def _network(target: Host, name: str, vm: VmFacts) -> NetworkFacts:
    """The network, in which the VM's fixed addresses are valid and free."""
    network = find_network(target, name, vm, ())
    for nic in record_of(vm).nics:
        if nic.network != name or not nic.ip:
            continue
        if network.cidr and ":" not in network.cidr + nic.ip and ip_address(nic.ip) not in ip_network(network.cidr):
            raise AblestackError(
                Code.INVALID_STATE,
                f"network '{name}' on host '{target.spec.name}' is {network.cidr}, in which {nic.ip} is not valid",
                "give the network the same addresses on both hosts",
            )
        holder = next((row for row in network.reservations if row.ip == nic.ip and row.mac != nic.mac), None)
        if holder and network.reserves:
            raise AblestackError(
                Code.IN_USE,
                f"address {nic.ip} on network '{name}' of host '{target.spec.name}' is reserved for {holder.mac}",
                "free it there, or give the VM another address",
            )
    return network


def _copies(source: Host, target: Host, spec: MigrateSpec, vm: VmFacts) -> list[Copy]:
    """The disks that only the source can reach; refused where they are not to be copied, or cannot be."""
    record = record_of(vm)
    _refuse_unknown_disks(vm, record)
    _check_iso(target, vm, record)
    copies: list[Copy] = []
    # seeds first: nobody writes to them, so they tell at once whether a pool is shared
    disks = sorted((disk for disk in record.disks if disk.pool and disk.volume), key=lambda disk: disk.role != "seed")
    shared: dict[str, bool] = {}
    for disk in disks:
        config = vm.config.disk(disk.target)
        if config is None or not config.path:
            continue
        name = config.path.rpartition("/")[2]
        found = source.fresh_volume(disk.pool, name)
        if found is None:
            raise AblestackError(
                Code.NOT_FOUND,
                f"pool '{disk.pool}' has no volume '{name}', a disk of the VM",
                "stop and start the VM, which brings its seed back where a killed task has left a spare"
                if disk.role == "seed"
                else "bring it back, or take the disk out of the VM",
            )
        if disk.pool not in shared:
            shared[disk.pool] = is_same_file(source, target, disk.pool, name)
        if found.backing:
            _check_backing(source, target, record, found.backing)
        if not shared[disk.pool]:
            copies.append(_copy(target, spec, vm, disk, found))
    for pool in {copy.disk.pool for copy in copies}:
        _check_pool(source, target, pool, copies)
    return copies


def _refuse_unknown_disks(vm: VmFacts, record: VmRecord) -> None:
    """Of a disk that our record does not have nobody knows whether the other host reaches it."""
    known = {disk.target for disk in record.disks}
    present = {disk.target for one in (vm.config, vm.live) if one for disk in one.disks if disk.kind == "disk"}
    for target in sorted(present - known):
        raise AblestackError(
            Code.UNSUPPORTED,
            f"disk {target} of VM '{vm.name}' was attached by another tool, or by a task that was cut off, so the VM "
            "is not moved",
            "run the task that changed its disks again, or detach it",
        )


def _check_iso(target: Host, vm: VmFacts, record: VmRecord) -> None:
    drive = record.disk("iso")
    config = vm.config.disk(drive.target) if drive else None
    if drive is None or config is None or not config.path:
        return
    _template, path = find_image(target, drive.name, "ISO")
    if path != config.path:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"ISO '{drive.name}' is at {path} on host '{target.spec.name}', not at {config.path}",
            "take it out of the drive first: attached_iso: ''",
        )


def _check_backing(source: Host, target: Host, record: VmRecord, path: str) -> None:
    """The template a linked clone stands on has to be there, the same and at the same place."""
    name = path.rpartition("/")[2]
    there = target.fresh_volume(target.spec.templates, name)
    if there is None or there.path != path:
        raise AblestackError(
            Code.NOT_FOUND,
            f"template '{record.template}', on which its root disk stands, is not at {path} on host"
            f" '{target.spec.name}'",
            "register it there with ablestack_template, in a pool of the same path",
        )
    here = source.fresh_volume(source.spec.templates, name)
    if here is not None and here.changed == there.changed:
        return
    template = find_template(target, record.template).template
    if template is None or template.checksum != record.template_checksum:
        raise AblestackError(
            Code.CHECKSUM_MISMATCH,
            f"template '{record.template}' on host '{target.spec.name}' is another one than the VM was made from",
            "bring the same template there",
        )


def _copy(target: Host, spec: MigrateSpec, vm: VmFacts, disk: DiskRecord, found: VolumeFacts) -> Copy:
    name = target.spec.name
    if not spec.copy_storage:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"host '{name}' does not reach disk '{disk.name or disk.role}' of VM '{vm.name}': pool '{disk.pool}' is"
            f" not storage that it shares with host '{vm.host.name}'",
            "use ablestack_vm_migrate with copy_storage: true, which takes its disks along",
        )
    if found.name != disk.volume:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"disk '{disk.name}' of VM '{vm.name}' is not in its own volume, so it is not copied",
            "restart from a VM without snapshots, or use shared storage",
        )
    mark = record_of(vm).mark
    ours = mark.target == name and disk.target in mark.copies
    if not ours and target.fresh_volume(disk.pool, disk.volume) is not None:
        raise AblestackError(
            Code.IN_USE,
            f"pool '{disk.pool}' on host '{name}' has a volume '{disk.volume}' already",
            "rename or remove it there if nothing needs it",
        )
    if disk.role == "seed":
        return Copy(disk)
    kind = "raw" if found.backing and not found.backing.endswith(".qcow2") else "qcow2"
    empty = VolumeSpec(disk.pool, disk.volume, found.capacity, found.format, found.backing, kind)
    return Copy(disk, empty)


def _check_pool(source: Host, target: Host, name: str, copies: list[Copy]) -> None:
    here, there = source.pool(name), target.pool(name)
    if here.path != there.path:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"pool '{name}' is at {here.path} on host '{source.spec.name}' and at {there.path} on '{target.spec.name}'",
            "give it the same path on both",
        )
    volumes = (source.fresh_volume(name, copy.disk.volume) for copy in copies if copy.disk.pool == name)
    needed = sum(volume.allocation for volume in volumes if volume)
    if there.available < needed:
        there = target.pool(name, True)  # libvirt tells the room that it saw when it last worked there
    if there.available < needed:
        raise AblestackError(
            Code.INSUFFICIENT_CAPACITY,
            f"pool '{name}' on host '{target.spec.name}' has {gib(there.available)} of {gib(needed)} GiB needed",
            "free some space there, or choose another host",
        )
