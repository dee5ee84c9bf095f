# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys a VM: designs its definition and record, and the steps that make it whole (SEMANTICS 2, DESIGN 5)."""

from __future__ import annotations

from dataclasses import replace

from ..model.errors import AblestackError, Code, invalid
from ..model.naming import VmNames
from ..model.plan_parts import Change, Plan, Step
from ..model.resources import Reservation, Template, VolumeSpec
from ..model.seed_content import SeedContent
from ..model.vm import CDROM_DEVICE, DiskConfig, DiskRecord, Mark, Phase, Power, VmConfig, VmFacts, VmRecord
from ..model.vm_spec import VmSpec
from .disks import DiskPlan, assign_devices, check_number, check_space, data_disk, freed
from .nics import NicPlan, address_key, one_name, plan_nic
from .offering import Compute, DiskSize, compute_of, root_size
from .request import Site, VmRequest
from .steps import (
    CloneVolume,
    CreateVolume,
    DefineVm,
    GrowVolume,
    Reserve,
    SetAutostart,
    SetRecord,
    Start,
    WriteSeed,
)

ISO_TARGET, SEED_TARGET = "sdd", "sde"
_SEED_SIZE = 1024**2  # what a seed takes at the most, for the capacity check


def plan_deploy(request: VmRequest, site: Site) -> Plan[VmFacts]:
    """Everything from nothing to a VM that is Running, or Stopped with `start: false`."""
    spec, fresh = request.spec, request.fresh
    names = VmNames(spec.name, fresh.id)
    compute = compute_of(spec, request.catalog)
    nics = _nics(request, site)
    disks = _disks(request, site, names)
    record = _record(request, site, compute, disks, nics)
    config = _config(request, site, names, compute, disks, nics, record)
    wants_start = spec.state != "stopped" and (spec.start or spec.state in ("started", "restarted"))
    deploying = replace(record, mark=Mark(Phase.DEPLOYING, fresh.now, owner=fresh.owner))
    steps: list[Step] = list(freed(disks))
    steps.append(DefineVm(replace(config, record=deploying)))
    steps += [step for disk in disks for step in disk.steps]
    steps.append(WriteSeed(site.host.spec.pool, names.seed_volume, _seed(request, names, nics)))
    steps += [_reserve(site, nic.config.network, row) for nic, row in zip(nics, one_name(nics)) if row]
    if record.autostart:
        steps.append(SetAutostart(fresh.id, True))
    if wants_start:
        starting = replace(record, mark=Mark(Phase.STARTING, fresh.now, owner=fresh.owner))
        steps += [SetRecord(fresh.id, starting), Start(fresh.id)]
    steps.append(SetRecord(fresh.id, record))
    check_space(site, disks)
    power = Power.RUNNING if wants_start else Power.OFF
    predicted = VmFacts(site.host.spec, power, config, config if wants_start else None)
    return Plan((Change("vm", None, spec.name),), tuple(steps), predicted=predicted)


def _nics(request: VmRequest, site: Site) -> list[NicPlan]:
    spec = request.spec
    if not spec.networks:
        raise invalid(f"VM '{spec.name}' has no network", "name at least one under networks")
    taken = dict(site.addresses_taken)
    nics = []
    for nic, mac in zip(spec.networks, request.fresh.macs):
        planned = plan_nic(nic, site.networks[nic.network], mac, spec.name, taken)
        taken[planned.config.mac] = spec.name
        if planned.record.ip:
            taken[address_key(nic.network, planned.record.ip)] = spec.name
        nics.append(planned)
    return nics


def _reserve(site: Site, network: str, row: Reservation) -> Reserve:
    """What is reserved by hand for this MAC becomes the VM's, and is by hand again where the deploy fails."""
    before = next((found for found in site.networks[network].reservations if found.mac == row.mac), None)
    return Reserve(network, row, before)


def _disks(request: VmRequest, site: Site, names: VmNames) -> list[DiskPlan]:
    spec = request.spec
    disks = [_root(request, site, names)]
    wanted = spec.data_disks or ()
    check_number(len(wanted), request.catalog)
    for disk, device in zip(wanted, assign_devices(wanted, ())):
        disks.append(data_disk(disk, device, request.catalog, site))
    pool = site.host.spec.pool
    iso_target = DiskConfig(ISO_TARGET, site.iso_path, "cdrom", "scsi", "raw")
    disks.append(
        DiskPlan(iso_target, DiskRecord(site.iso.name if site.iso else "", "iso", CDROM_DEVICE, ISO_TARGET, "", ""))
    )
    seed = DiskConfig(SEED_TARGET, f"{site.pool.path}/{names.seed_volume}", "cdrom", "scsi", "raw")
    disks.append(DiskPlan(seed, DiskRecord("seed", "seed", -1, SEED_TARGET, pool, names.seed_volume), needs=_SEED_SIZE))
    return disks


def _root(request: VmRequest, site: Site, names: VmNames) -> DiskPlan:
    template = site.template
    size = root_size(request.spec, request.catalog, template.size if template else 0)
    return root_disk(site, names, size, request.spec.clone)


def root_disk(site: Site, names: VmNames, size: DiskSize, clone: str) -> DiskPlan:
    """A root disk from the site's template, or an empty one."""
    template = site.template
    pool = site.pools.get(size.pool) if size.pool else site.pool
    if pool is None:
        raise AblestackError(
            Code.NOT_FOUND,
            f"pool '{size.pool}' of the root disk offering is not on this host",
            "make it with ablestack_pool, or name another",
        )
    volume = VolumeSpec(pool.name, names.root_volume, size.size, fat=size.fat)
    step: tuple[Step, ...]
    needs = size.size if size.fat else 0
    if template and clone == "full":
        source = site.template_path.rpartition("/")[2]
        step = (CloneVolume(volume, site.host.spec.templates, source),)
        needs = template.file_size
        if size.size > template.size:
            step += (GrowVolume(pool.name, names.root_volume, size.size),)
    elif template:
        step = (CreateVolume(replace(volume, backing=site.template_path, backing_format=template.format)),)
    else:
        step = (CreateVolume(volume),)
    config = DiskConfig("vda", f"{pool.path}/{names.root_volume}", max_iops=size.max_iops)
    record = DiskRecord("root", "root", 0, "vda", pool.name, names.root_volume, size.size, size.offering, size.min_iops)
    return DiskPlan(config, record, step, needs)


def _record(request: VmRequest, site: Site, compute: Compute, disks: list[DiskPlan], nics: list[NicPlan]) -> VmRecord:
    spec = request.spec
    return VmRecord(
        name=spec.name,
        display_name=spec.display_name or "",
        group=spec.group or "",
        labels=spec.labels or (),
        template=site.template.name if site.template else "",
        template_checksum=site.template.checksum if site.template else "",
        iso=spec.iso or "",
        clone=spec.clone,
        compute_offering=compute.offering,
        dynamic_scaling=compute.dynamic_scaling,
        scaling_chosen=compute.scaling_chosen,
        affinity_groups=spec.affinity_groups or (),
        ssh_key_pairs=spec.ssh_key_pairs or (),
        key_pairs_digest=request.digests.key_pairs,
        public_keys_digest=request.digests.public_keys,
        user_data_digest=request.digests.user_data,
        protected=bool(spec.protected),
        autostart=bool(spec.autostart),
        created=request.fresh.now,
        disks=tuple(disk.record for disk in disks),
        nics=tuple(nic.record for nic in nics),
    )


def _config(
    request: VmRequest,
    site: Site,
    names: VmNames,
    compute: Compute,
    disks: list[DiskPlan],
    nics: list[NicPlan],
    record: VmRecord,
) -> VmConfig:
    spec, host = request.spec, site.host
    boot_type, boot_mode = boot_of(spec, site.template)
    virt_type = host.spec.virt_type
    if virt_type == "auto":
        virt_type = "kvm" if "kvm" in host.virt_types else "qemu"
    cpu_mode = host.spec.cpu_mode
    if cpu_mode == "auto":
        cpu_mode = "host-model" if virt_type == "kvm" else ""
    return VmConfig(
        id=names.id,
        domain_name=names.domain,
        record=record,
        cpu=compute.cpu,
        memory=compute.memory,
        max_cpu=compute.max_cpu,
        max_memory=compute.max_memory,
        boot_type=boot_type,
        boot_mode=boot_mode,
        tpm=bool(spec.tpm),
        virt_type=virt_type,
        cpu_mode=cpu_mode,
        disks=tuple(disk.config for disk in disks),
        nics=tuple(nic.config for nic in nics),
    )


def boot_of(spec: VmSpec, template: Template | None) -> tuple[str, str]:
    """Boot type and mode: the template's, unless asked for and suiting it (SEMANTICS 2.7)."""
    own_type = template.boot_type if template else ""
    own_mode = template.boot_mode if template else ""
    for what, own, wanted in (("type", own_type, spec.boot_type), ("mode", own_mode, spec.boot_mode)):
        if own and wanted and own != wanted:
            raise invalid(
                f"template '{template.name if template else ''}' has boot {what} {own}, not {wanted}",
                f"leave boot_{what} out, or use a template made for it",
            )
    boot_mode = spec.boot_mode or own_mode or "legacy"
    boot_type = spec.boot_type or own_type or ("uefi" if boot_mode == "secure" else "bios")
    if boot_type == "bios" and boot_mode == "secure":
        raise invalid("secure boot needs UEFI", "set boot_type: uefi, or boot_mode: legacy")
    return boot_type, boot_mode


def _seed(request: VmRequest, names: VmNames, nics: list[NicPlan]) -> SeedContent:
    return SeedContent(
        instance_id=names.id,
        hostname=names.domain,
        pair_keys=pair_keys(request),
        public_keys=tuple(request.spec.ssh_public_keys or ()),
        nics=tuple(nic.seed for nic in nics),
        user_data=request.spec.user_data or "",
    )


def pair_keys(request: VmRequest) -> tuple[str, ...]:
    """The public keys of the key pairs that are asked for."""
    return tuple(request.catalog.ssh_key(name) for name in request.spec.ssh_key_pairs or ())
