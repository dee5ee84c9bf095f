# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes: what is wanted of one (`ablestack_volume`), what is found of it, and how people see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .catalog import HostSpec
from .errors import invalid
from .naming import data_volume
from .resources import VolumeFacts
from .values import UNSET, Maybe, gib
from .vm import DiskRecord, VmConfig, VmFacts
from .vm_spec import DiskSpec

STATES = ("present", "attached", "detached", "absent")


@dataclass(frozen=True)
class DataVolumeSpec:
    """The options of one volume; `size` in bytes. What is left out is not managed."""

    name: str
    state: str = "present"
    vm: str = ""
    size: Maybe[int] = UNSET
    disk_offering: str = ""
    min_iops: Maybe[int] = UNSET
    max_iops: Maybe[int] = UNSET
    device: Maybe[int] = UNSET
    pool: str = ""
    host: str = ""

    def check(self) -> None:
        """Raises InvalidInput where the options do not go together. A state that ends something needs less than the
        task that began it gave: what says nothing there is passed over.
        """
        if self.state == "attached" and not self.vm:
            raise invalid("state: attached needs vm", "name the VM, or its id")
        for name in ("min_iops", "max_iops", "device"):
            if getattr(self, name) is not UNSET and self.state == "present":
                raise invalid(
                    f"{name} belongs to a disk of a VM, not to a volume by itself", "give it with state: attached"
                )
        low, high = self.min_iops or 0, self.max_iops or 0
        if low and high and low > high:
            raise invalid("min_iops is above max_iops", "it must be min_iops <= max_iops")

    @property
    def disk(self) -> DiskSpec:
        """The same as an entry of a VM's `data_disks`."""
        return DiskSpec(
            name=self.name,
            offering=self.disk_offering,
            size=self.size or None,
            min_iops=self.min_iops if isinstance(self.min_iops, int) else None,
            max_iops=self.max_iops if isinstance(self.max_iops, int) else None,
            pool=self.pool,
            device=self.device or None,
        )


@dataclass(frozen=True)
class DataVolume:
    """A volume on one host, `facts` None where it is missing; `holders` are the VMs that have it as a disk.

    A destroyed VM's data disk is free (SEMANTICS 6), so at most one holder counts.
    """

    name: str
    host: HostSpec
    pool: str
    facts: VolumeFacts | None = None
    holders: tuple[VmFacts, ...] = field(default=())

    @property
    def holder(self) -> VmFacts | None:
        """The VM that has it now."""
        return next((vm for vm in self.holders if vm.exists or vm.record is None), None)

    @property
    def lenders(self) -> tuple[VmFacts, ...]:
        """The destroyed VMs that would have it back when they are recovered."""
        return tuple(vm for vm in self.holders if vm is not self.holder)


def holds(vm: VmFacts, facts: VolumeFacts) -> bool:
    """Whether the volume is one of the VM's disks, in its record or in either of its definitions."""
    record = vm.record
    if any((disk.pool, disk.volume) == (facts.pool, facts.name) for disk in (record.disks if record else ())):
        return True
    configs: tuple[VmConfig, ...] = (vm.config, vm.live) if vm.live else (vm.config,)
    return any(disk.is_volume(facts.pool, facts.path) for config in configs for disk in config.disks)


def data_volume_view(volume: DataVolume) -> dict[str, Any]:
    """The volume as results show it, empty where there is none; sizes in GiB."""
    facts, vm = volume.facts, volume.holder
    if facts is None:
        return {}
    disk = next((disk for disk in _disks(vm) if (disk.pool, disk.volume) == (facts.pool, facts.name)), None)
    attached = {
        "vm": vm.name if vm else "",
        "vm_id": vm.id if vm else "",
        "device": disk.device if disk else None,
        "target": disk.target if disk else "",
        "offering": disk.offering if disk else "",
        "min_iops": disk.min_iops if disk else 0,
        "max_iops": _limit(vm, disk),
    }
    return _view(volume, facts.capacity, facts.allocation, attached)


def predicted_view(volume: DataVolume, size: int, vm: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same of a volume as it will be: with that many bytes, free or as a disk of the VM given as its view."""
    row = next((disk for disk in (vm or {}).get("disks", ()) if disk["name"] == volume.name), None)
    attached: dict[str, Any] = dict(_FREE)
    if vm and row:
        attached = {
            "vm": vm["name"],
            "vm_id": vm["id"],
            **{key: row[key] for key in ("device", "target", "offering", "min_iops", "max_iops")},
        }
    return _view(volume, size, volume.facts.allocation if volume.facts else None, attached)


_FREE = {"vm": "", "vm_id": "", "device": None, "target": "", "offering": "", "min_iops": 0, "max_iops": 0}


def _view(volume: DataVolume, size: int, allocation: int | None, attached: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": volume.name,
        "state": "Attached" if attached["vm_id"] else "Detached",
        "host": volume.host.name,
        "zone": volume.host.zone,
        "pool": volume.pool,
        "volume": data_volume(volume.name),
        "size_gib": gib(size),
        "allocated_gib": None if allocation is None else gib(allocation),
        "format": volume.facts.format if volume.facts else "qcow2",
        **attached,
    }


def _disks(vm: VmFacts | None) -> tuple[DiskRecord, ...]:
    return vm.record.disks if vm and vm.record else ()


def _limit(vm: VmFacts | None, disk: DiskRecord | None) -> int:
    config = vm.config.disk(disk.target) if vm and disk else None
    return config.max_iops if config else 0
