# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data disks: device ids, and the volume that is made, grown or adopted for each (SEMANTICS 2.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import count

from ..model.catalog import Catalog
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import data_volume, disk_target
from ..model.plan_parts import Step
from ..model.resources import VolumeSpec
from ..model.values import gib
from ..model.vm import CDROM_DEVICE, DiskConfig, DiskRecord, VmFacts
from ..model.vm_spec import DiskSpec
from .edits import snapshots_exist
from .lifecycle import standing_on_snapshots
from .offering import DiskSize, data_size, pool_of_disk
from .request import Site
from .steps import CreateVolume, GrowVolume, RedefineVm, SetRecord


@dataclass(frozen=True)
class DiskPlan:
    """One disk: its definition and record, the steps that make its volume, and the destroyed VM it is taken from."""

    config: DiskConfig
    record: DiskRecord
    steps: tuple[Step, ...] = ()
    needs: int = 0  # bytes that must be available now
    lender: VmFacts | None = None


def data_disk(disk: DiskSpec, device: int, catalog: Catalog, site: Site) -> DiskPlan:
    """A data disk: its volume is made, or adopted with its data where a free one of that name exists."""
    pool = site.pools.get(pool_of_disk(disk, catalog) or site.pool.name, site.pool)
    volume = data_volume(disk.name)
    key = f"{pool.name}/{volume}"
    have = site.volumes.get(key)
    size = data_size(disk, catalog, DiskSize("", have) if have else None)
    steps: tuple[Step, ...] = ()
    needs = 0
    if have is None:
        steps = (CreateVolume(VolumeSpec(pool.name, volume, size.size, fat=size.fat)),)
        needs = size.size if size.fat else 0
    elif have > size.size:
        raise invalid(f"data disk '{disk.name}' exists with {gib(have)} GiB", "disks only grow: ask for at least that")
    elif have < size.size:
        steps = (GrowVolume(pool.name, volume, size.size),)
    target = disk_target(device)
    return DiskPlan(
        DiskConfig(target, f"{pool.path}/{volume}", max_iops=size.max_iops),
        DiskRecord(
            disk.name,
            "data",
            device,
            target,
            pool.name,
            volume,
            size.size,
            size.offering,
            size.min_iops,
            size.own_limits,
        ),
        steps,
        needs,
        site.lenders.get(key),
    )


def freed(disks: Iterable[DiskPlan]) -> tuple[Step, ...]:
    """Takes the disks out of the destroyed VMs that have them: all of a VM's at once, since each edit begins anew."""
    lenders: dict[str, VmFacts] = {}
    volumes: dict[str, list[str]] = {}
    for disk in disks:
        if disk.lender is not None:
            lenders[disk.lender.id] = disk.lender
            volumes.setdefault(disk.lender.id, []).append(disk.record.volume)
    return tuple(step for vm_id, vm in lenders.items() for step in take_out(vm, volumes[vm_id]))


def take_out(vm: VmFacts, volumes: Collection[str]) -> tuple[Step, ...]:
    """Takes disks out of a destroyed VM, so that recovering it never makes a second writer."""
    if vm.record is None:
        return ()
    for volume in volumes:
        refuse_standing(vm, volume, "cannot be taken out of it")
    targets = {disk.target for disk in vm.record.disks if disk.volume in volumes}
    record = replace(vm.record, disks=tuple(disk for disk in vm.record.disks if disk.target not in targets))
    disks = tuple(disk for disk in vm.config.disks if disk.target not in targets)
    return (
        RedefineVm(vm.config, replace(vm.config, disks=disks, record=record)),
        SetRecord(vm.id, record),
    )


def refuse_standing(vm: VmFacts, volume: str, what: str) -> None:
    """SnapshotsExist where the volume alone is not what the VM's disk reads, or not what its snapshots need."""
    for disk in vm.record.disks if vm.record else ():
        if disk.volume == volume and standing_on_snapshots(vm, disk):
            raise snapshots_exist(vm, f"its data disk '{disk.name}' {what}")


def check_number(wanted: int, catalog: Catalog) -> None:
    """A VM has at most `settings.max_data_disks` data disks."""
    limit = catalog.settings.max_data_disks
    if wanted > limit:
        raise invalid(f"{wanted} data disks are more than the {limit} a VM may have", "see settings.max_data_disks")


def check_space(site: Site, disks: Iterable[DiskPlan], gone: Collection[tuple[str, str]] = ()) -> None:
    """A pool that is full already is told before anything is made; thin disks may overcommit it.

    `gone` are volumes of the VM's, by pool and name, that are deleted before.
    """
    needed: dict[str, int] = {}
    for disk in disks:
        needed[disk.record.pool] = needed.get(disk.record.pool, 0) + disk.needs
    for name, size in needed.items():
        pool = site.pools.get(name)
        left = [volume for volume in site.own.values() if (volume.pool, volume.name) in gone and volume.pool == name]
        room = pool.available + sum(volume.allocation for volume in left) if pool else size
        if room < size:
            raise AblestackError(
                Code.INSUFFICIENT_CAPACITY,
                f"pool '{name}' on host '{site.host.spec.name}' has {gib(room)} of {gib(size)} GiB needed",
                "free some space, or choose another pool or host",
            )


def assign_devices(wanted: tuple[DiskSpec, ...], taken: tuple[int, ...]) -> list[int]:
    """Device ids for data disks in list order: given ones are kept, others get the lowest free (never 0 or 3)."""
    used = {0, CDROM_DEVICE, *taken}
    for disk in wanted:
        if disk.device is None:
            continue
        if disk.device in used or not 0 < disk.device < 24:
            raise invalid(f"device {disk.device} of data disk '{disk.name}' is taken or not usable", "leave it out")
        used.add(disk.device)
    devices = []
    for disk in wanted:
        device = disk.device if disk.device is not None else next(n for n in count(1) if n not in used)
        used.add(device)
        devices.append(device)
    return devices
