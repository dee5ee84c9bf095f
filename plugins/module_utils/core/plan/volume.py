# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans one data volume: made, grown, deleted by itself, or by way of the VM that has it or shall have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..model.catalog import Catalog
from ..model.data_volume import DataVolume, DataVolumeSpec
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import data_volume
from ..model.plan_parts import Step
from ..model.resources import PoolFacts, VolumeFacts, VolumeSpec
from ..model.values import gib
from ..model.vm import VmFacts
from ..model.vm_spec import DiskSpec, VmSpec
from .disks import refuse_standing, take_out
from .offering import DiskSize, data_size
from .steps import CreateVolume, DeleteVolume, GrowVolume, SetRecord


@dataclass(frozen=True)
class VolumePlan:
    """Steps on the volume itself, or the change of a VM that brings it there. `size` is what it will have, in bytes;
    None where nothing will be left.
    """

    steps: tuple[Step, ...] = ()
    size: int | None = None
    vm: VmSpec | None = None


def plan_volume(
    spec: DataVolumeSpec, catalog: Catalog, volume: DataVolume, pool: PoolFacts, vm: VmFacts | None
) -> VolumePlan:
    """`vm` is the one that `spec.vm` names. Raises what the volume's state forbids."""
    if spec.state == "attached":
        return _attached(spec, volume, vm)
    if spec.state == "absent":
        return _absent(volume)
    if spec.state == "detached":
        return _detached(spec, volume, vm)
    return _present(spec, catalog, volume, pool)


def _present(spec: DataVolumeSpec, catalog: Catalog, volume: DataVolume, pool: PoolFacts) -> VolumePlan:
    have, holder = volume.facts, volume.holder
    if holder is not None and (spec.size or spec.disk_offering):
        return _through(holder, spec, have.capacity if have else 0)
    size = data_size(spec.disk, catalog, DiskSize("", have.capacity) if have else None)
    if have is None:
        if size.fat and pool.available < size.size:
            raise AblestackError(
                Code.INSUFFICIENT_CAPACITY,
                f"pool '{pool.name}' on host '{volume.host.name}' has {gib(pool.available)} of {gib(size.size)} GiB",
                "free some space, or choose another pool or host",
            )
        made = VolumeSpec(volume.pool, data_volume(volume.name), size.size, fat=size.fat)
        return VolumePlan((CreateVolume(made),), size.size)
    if size.size < have.capacity:
        raise invalid(
            f"volume '{volume.name}' has {gib(have.capacity)} GiB and cannot shrink to {gib(size.size)} GiB",
            "volumes only grow: ask for at least what it has",
        )
    here = [vm for vm in volume.lenders if vm.host.name == volume.host.name]
    grown: tuple[Step, ...] = ()
    if size.size > have.capacity:
        for lender in volume.lenders:
            refuse_standing(lender, have.name, "does not grow")
        grown = (GrowVolume(have.pool, have.name, size.size),)
    return VolumePlan((*grown, *_told(here, have, size.size)), size.size)


def _told(lenders: Iterable[VmFacts], volume: VolumeFacts, size: int) -> Iterator[Step]:
    """Tells the destroyed VMs that have the volume how large it is, for when they are recovered."""
    for vm in lenders:
        disks = vm.record.disks if vm.record else ()
        known = tuple(
            replace(disk, size=size) if (disk.pool, disk.volume) == (volume.pool, volume.name) else disk
            for disk in disks
        )
        if vm.record and known != disks:
            yield SetRecord(vm.id, replace(vm.record, disks=known))


def _attached(spec: DataVolumeSpec, volume: DataVolume, vm: VmFacts | None) -> VolumePlan:
    if vm is None:
        raise AblestackError(Code.NOT_FOUND, f"VM '{spec.vm}' does not exist", "deploy it with ablestack_vm first")
    holder = volume.holder
    if holder is not None and holder.id != vm.id:
        raise in_use(volume, holder, f"detach it there first, with state: detached and vm: {holder.name}")
    if volume.facts is None and not (spec.size or spec.disk_offering):
        raise invalid(f"{_nothing(volume)}, nor a size to make it with", "check its name, or add size or disk_offering")
    return _through(vm, spec, volume.facts.capacity if volume.facts else 0)


def _through(vm: VmFacts, spec: DataVolumeSpec, size: int) -> VolumePlan:
    """As a data disk of the VM's, beside the others it has."""
    others = tuple(DiskSpec(disk.name) for disk in _data_disks(vm) if disk.name != spec.name)
    return VolumePlan(size=size, vm=_change(vm, (*others, spec.disk)))


def _detached(spec: DataVolumeSpec, volume: DataVolume, vm: VmFacts | None) -> VolumePlan:
    if volume.facts is None:
        raise AblestackError(Code.NOT_FOUND, _nothing(volume), "name its pool and host, or make it with state: present")
    holder, size = volume.holder, volume.facts.capacity
    if holder is None:
        return VolumePlan(size=size)
    if spec.vm and (vm is None or vm.id != holder.id):
        raise in_use(volume, holder, f"detach it from there, with vm: {holder.name}")
    left = tuple(DiskSpec(disk.name) for disk in _data_disks(holder) if disk.name != spec.name)
    return VolumePlan(size=size, vm=_change(holder, left))


def _nothing(volume: DataVolume) -> str:
    return f"there is no volume '{volume.name}' in pool '{volume.pool}' on host '{volume.host.name}'"


def _absent(volume: DataVolume) -> VolumePlan:
    if volume.facts is None:
        return VolumePlan()
    if volume.holder is not None:
        raise in_use(volume, volume.holder, "detach it first")
    freed = tuple(step for lender in volume.lenders for step in take_out(lender, (volume.facts.name,)))
    return VolumePlan((*freed, DeleteVolume(volume.facts.pool, volume.facts.name)))


def _change(vm: VmFacts, disks: tuple[DiskSpec, ...]) -> VmSpec:
    if vm.record is None:
        raise AblestackError(
            Code.NOT_MANAGED,
            f"domain '{vm.config.domain_name}' on host '{vm.host.name}' was not made by this collection",
            "it is left alone: change it with the tool that made it",
        )
    return VmSpec(id=vm.id, data_disks=disks, wait="none")


def _data_disks(vm: VmFacts) -> tuple[DiskSpec, ...]:
    return tuple(DiskSpec(disk.name) for disk in (vm.record.data_disks if vm.record else ()))


def in_use(volume: DataVolume, holder: VmFacts, hint: str) -> AblestackError:
    """Said where a VM has the volume."""
    return AblestackError(
        Code.IN_USE, f"volume '{volume.name}' is attached to VM '{holder.name}'", hint, vm=holder.name, id=holder.id
    )
