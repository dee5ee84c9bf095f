# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an offering comes to: CPU, memory and disks in numbers, within the bounds the catalog sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.catalog import Catalog, ComputeOffering
from ..model.errors import invalid
from ..model.values import GIB, gib
from ..model.vm import ROOM_BLOCK
from ..model.vm_spec import DiskSpec, VmSpec


@dataclass(frozen=True)
class Compute:
    """CPU count and memory (MiB), with the maxima a running VM can grow to (equal where it cannot)."""

    offering: str
    cpu: int
    memory: int
    max_cpu: int
    max_memory: int
    dynamic_scaling: bool = False
    host_tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DiskSize:
    """What a disk offering or a literal size comes to; size in bytes."""

    offering: str
    size: int
    min_iops: int = 0
    max_iops: int = 0
    pool: str = ""
    fat: bool = False


def compute_of(spec: VmSpec, catalog: Catalog, current: Compute | None = None) -> Compute:
    """CPU and memory for the spec; what it leaves out is kept from `current` (a VM that exists).

    Raises InvalidInput where the offering and the numbers contradict each other, NotFound for an unknown offering.
    """
    name = spec.compute_offering or ""
    if not name and current and current.offering and (spec.cpu or spec.memory):
        name = current.offering
    if name:
        return _with_scaling(_by_offering(catalog.compute_offering(name), spec, current), spec)
    cpu = spec.cpu or (current.cpu if current else 0)
    memory = spec.memory or (current.memory if current else 0)
    if not cpu or not memory:
        raise invalid(
            "neither a compute offering nor cpu and memory are given", "add compute_offering, or cpu and memory"
        )
    if current and (cpu, memory) == (current.cpu, current.memory):
        return _with_scaling(current, spec)
    return _with_scaling(Compute("", cpu, memory, cpu, memory), spec)


def _by_offering(offering: ComputeOffering, spec: VmSpec, current: Compute | None) -> Compute:
    what = f"compute offering '{offering.name}'"
    kept = current if current and current.offering == offering.name else None
    if not offering.custom:
        for key, fixed in (("cpu", offering.cpu), ("memory", offering.memory)):
            given = getattr(spec, key)
            if given and given != fixed:
                raise invalid(
                    f"{what} fixes {key} at {fixed}, not {given}", f"leave {key} out, or choose another offering"
                )
        cpu, memory = offering.cpu or 0, offering.memory or 0
    else:
        cpu = spec.cpu or (kept.cpu if kept else 0)
        memory = spec.memory or (kept.memory if kept else 0)
        if not cpu or not memory:
            raise invalid(f"{what} is custom", "say how much: add cpu and memory")
        _within(what, "cpu", cpu, offering.min_cpu, offering.max_cpu)
        _within(what, "memory", memory, offering.min_memory, offering.max_memory)
    return Compute(
        offering=offering.name,
        cpu=cpu,
        memory=memory,
        max_cpu=max(cpu, offering.max_cpu or cpu),
        max_memory=max(memory, offering.max_memory or memory),
        dynamic_scaling=offering.dynamic_scaling,
        host_tags=offering.host_tags,
    )


def _with_scaling(compute: Compute, spec: VmSpec) -> Compute:
    """Room to grow is set aside only for a VM that may use it."""
    scaling = spec.dynamic_scaling if isinstance(spec.dynamic_scaling, bool) else compute.dynamic_scaling
    if not scaling:
        return replace(compute, max_cpu=compute.cpu, max_memory=compute.memory, dynamic_scaling=False)
    room = (compute.max_memory - compute.memory) // ROOM_BLOCK * ROOM_BLOCK
    return replace(compute, max_memory=compute.memory + room, dynamic_scaling=True)


def _within(what: str, key: str, value: int, low: int | None, high: int | None) -> None:
    if (low and value < low) or (high and value > high):
        raise invalid(
            f"{key} {value} is outside {what}", f"choose between {low or 1} and {high or 'any higher number'}"
        )


def root_size(spec: VmSpec, catalog: Catalog, template_size: int) -> DiskSize:
    """The root disk: the offering's fixed size wins over `root_disk_size`; never below the template's (bytes)."""
    size = spec.root_disk_size or 0
    sized = DiskSize("", size)
    if spec.root_disk_offering:
        offering = catalog.disk_offering(spec.root_disk_offering)
        if offering.custom and not size and not template_size:
            raise invalid(f"disk offering '{offering.name}' is custom", "add root_disk_size")
        sized = DiskSize(
            offering.name,
            offering.size or size,
            offering.min_iops or 0,
            offering.max_iops or 0,
            offering.pool,
            offering.provisioning == "fat",
        )
    if not sized.size and not template_size:
        raise invalid("a VM from an ISO needs a root disk", "add root_disk_size or root_disk_offering")
    if sized.size and sized.size < template_size:
        raise invalid(
            f"root disk of {gib(sized.size)} GiB is smaller than the template's {gib(template_size)} GiB",
            f"ask for at least {gib(template_size)} GiB, or leave the size out",
        )
    return DiskSize(sized.offering, sized.size or template_size, sized.min_iops, sized.max_iops, sized.pool, sized.fat)


def pool_of_disk(disk: DiskSpec, catalog: Catalog) -> str:
    """The pool a data disk or its offering names; empty where neither does."""
    offered = catalog.disk_offering(disk.offering).pool if disk.offering else ""
    return disk.pool or offered


def data_size(disk: DiskSpec, catalog: Catalog, have: DiskSize | None = None) -> DiskSize:
    """A data disk's size: custom offerings need one, fixed ones refuse one (SEMANTICS 2.4).

    Of a disk that exists, `have`, what the spec leaves out is kept.
    """
    what = f"data disk '{disk.name}'"
    if not disk.offering:
        if have:
            offering_kept = have.offering if disk.size in (None, have.size) else ""
            return DiskSize(
                offering_kept,
                disk.size or have.size,
                disk.min_iops or have.min_iops,
                disk.max_iops or have.max_iops,
                disk.pool or have.pool,
            )
        if not disk.size:
            raise invalid(f"{what} has no size", "add size or disk_offering")
        return DiskSize("", disk.size, disk.min_iops or 0, disk.max_iops or 0, disk.pool)
    offering = catalog.disk_offering(disk.offering)
    if offering.custom and have and not disk.size:
        disk = replace(disk, size=have.size)
    if offering.custom and not disk.size:
        raise invalid(f"{what}: disk offering '{offering.name}' is custom", "add size")
    if not offering.custom and disk.size and disk.size != offering.size:
        raise invalid(
            f"{what}: disk offering '{offering.name}' fixes the size at {gib(offering.size or GIB)} GiB",
            "leave size out",
        )
    return DiskSize(
        offering.name,
        offering.size or disk.size or 0,
        disk.min_iops or offering.min_iops or 0,
        disk.max_iops or offering.max_iops or 0,
        disk.pool or offering.pool,
        offering.provisioning == "fat",
    )
