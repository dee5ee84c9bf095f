# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an offering comes to: CPU, memory and disks in numbers, within the bounds the catalog sets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..model.catalog import Catalog, ComputeOffering
from ..model.errors import AblestackError, Code, invalid
from ..model.values import GIB, UNSET, altered, gib
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
    scaling_chosen: bool = False  # by dynamic_scaling itself and against the offering, so that it outlives the task
    host_tags: tuple[str, ...] = field(default=(), compare=False)  # of the offering: what it asks of a host


@dataclass(frozen=True)
class DiskSize:
    """What a disk offering or a literal size comes to; size in bytes, IOPS 0 where there is no limit."""

    offering: str
    size: int
    min_iops: int = 0
    max_iops: int = 0
    pool: str = ""
    fat: bool = False
    own_limits: bool = False  # given beside the offering, so that they outlive the task

    @property
    def limits(self) -> tuple[int, int]:
        """The IOPS that are meant to be there, and the most it gets."""
        return self.min_iops, self.max_iops


def compute_of(spec: VmSpec, catalog: Catalog, current: Compute | None = None) -> Compute:
    """CPU and memory for the spec; what it leaves out is kept from `current` (a VM that exists).

    Numbers alone stay within the VM's own offering while they fit it; both of them also stand for none.
    Raises InvalidInput where the offering and the numbers contradict each other, NotFound for an unknown offering.
    """
    if spec.compute_offering:
        return _by_offering(catalog.compute_offering(spec.compute_offering), spec, current)
    if current is None or not current.offering:
        return _by_numbers(spec, current)
    if _says_the_same(spec, current):
        return current
    offering = catalog.compute_offerings.get(current.offering)
    if offering is None:
        return _without_catalog(spec, current)
    try:
        return _by_offering(offering, spec, current)
    except AblestackError:
        if spec.cpu and spec.memory:
            return _by_numbers(spec, current)
        raise


def _says_the_same(spec: VmSpec, current: Compute) -> bool:
    given = ((spec.cpu, current.cpu), (spec.memory, current.memory), (spec.dynamic_scaling, current.dynamic_scaling))
    return all(wanted is UNSET or wanted == own for wanted, own in given)


def _by_numbers(spec: VmSpec, current: Compute | None) -> Compute:
    """Without an offering, and so without room to grow."""
    cpu = spec.cpu or (current.cpu if current else 0)
    memory = spec.memory or (current.memory if current else 0)
    if not cpu or not memory:
        raise invalid(
            "neither a compute offering nor cpu and memory are given", "add compute_offering, or cpu and memory"
        )
    return _scaled(Compute("", cpu, memory, cpu, memory), spec, current)


def _without_catalog(spec: VmSpec, current: Compute) -> Compute:
    """The VM's offering is in no catalog of this task, so nobody knows its bounds."""
    if spec.cpu and spec.memory:
        return _by_numbers(spec, current)
    if spec.cpu or spec.memory:
        raise AblestackError(
            Code.NOT_FOUND,
            f"the VM's compute offering '{current.offering}' is not in the catalog",
            "give both cpu and memory for a VM without an offering, or name another offering",
        )
    return _scaled(current, spec, current)


def _by_offering(offering: ComputeOffering, spec: VmSpec, current: Compute | None) -> Compute:
    kept = current if current and current.offering == offering.name else None
    scaling, chosen = _scaling(offering.name, offering.dynamic_scaling, spec, current)
    cpu = _amount(offering, "cpu", spec, kept, scaling)
    memory = _amount(offering, "memory", spec, kept, scaling)
    most = max(cpu, offering.max_cpu or cpu), max(memory, offering.max_memory or memory)
    return _with_room(Compute(offering.name, cpu, memory, *most, scaling, chosen, offering.host_tags))


def _amount(offering: ComputeOffering, key: str, spec: VmSpec, kept: Compute | None, scaling: bool) -> int:
    """CPU or memory. A fixed offering's value is where a VM that scales begins; the maximum is where it ends."""
    what = f"compute offering '{offering.name}'"
    given, own = getattr(spec, key) or 0, getattr(kept, key) if kept else 0
    low, high = getattr(offering, f"min_{key}"), getattr(offering, f"max_{key}")
    stays = offering.custom
    if not stays:
        low = getattr(offering, key)
        # a VM that has grown stays so: its offering named again says nothing of numbers
        stays = (scaling or offering.dynamic_scaling) and low <= own <= (high or low)
        high = (high if scaling else None) or (own if stays else low)
        if given and low == high != given:
            raise invalid(
                f"{what} fixes {key} at {low}, not {given}",
                f"leave {key} out, choose another offering, or give both cpu and memory and none",
            )
    amount = given or (own if stays else low)
    if not amount:
        raise invalid(f"{what} is custom", "say how much: add cpu and memory")
    if (low and amount < low) or (high and amount > high):
        raise invalid(
            f"{key} {amount} is outside {what}", f"choose between {low or 1} and {high or 'any higher number'}"
        )
    return int(amount)


def _scaled(compute: Compute, spec: VmSpec, current: Compute | None) -> Compute:
    scaling, chosen = _scaling(compute.offering, compute.dynamic_scaling, spec, current)
    return _with_room(replace(compute, dynamic_scaling=scaling, scaling_chosen=chosen))


def _scaling(offering: str, own: bool, spec: VmSpec, current: Compute | None) -> tuple[bool, bool]:
    """Whether it scales, and whether that was chosen: as asked for now or once, else as its offering's `own` says."""
    given = spec.dynamic_scaling
    chosen = bool(current and current.scaling_chosen)
    scaling = current.dynamic_scaling if current and chosen else own
    if isinstance(given, bool):
        if current is None or (given, offering) != (current.dynamic_scaling, current.offering):
            chosen = given != own
        scaling = given
    return scaling, chosen


def _with_room(compute: Compute) -> Compute:
    """Only what scales has room to grow set aside, in whole blocks."""
    if not compute.dynamic_scaling:
        return altered(compute, max_cpu=compute.cpu, max_memory=compute.memory)
    room = (compute.max_memory - compute.memory) // ROOM_BLOCK * ROOM_BLOCK
    return altered(compute, max_memory=compute.memory + room)


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
    sized = _offered(disk, catalog, have, what) if disk.offering else _sized(disk, catalog, have, what)
    low, high = sized.limits
    if high and low > high:
        raise invalid(f"{what} has min_iops {low} above max_iops {high}", "it must be min_iops <= max_iops")
    return sized


def _sized(disk: DiskSpec, catalog: Catalog, have: DiskSize | None, what: str) -> DiskSize:
    """By literal numbers; a disk that exists leaves its offering where that fixes another size."""
    if have is None:
        if not disk.size:
            raise invalid(f"{what} has no size", "add size or disk_offering")
        return DiskSize("", disk.size, disk.min_iops or 0, disk.max_iops or 0, disk.pool)
    offering = catalog.disk_offerings.get(have.offering)
    stays = disk.size in (None, have.size) or (offering is not None and offering.custom)
    limits = _first(disk.min_iops, have.min_iops), _first(disk.max_iops, have.max_iops)
    own = stays and bool(have.offering) and (have.own_limits or limits != have.limits)
    kept = have.offering if stays else ""
    return DiskSize(kept, disk.size or have.size, *limits, disk.pool or have.pool, own_limits=own)


def _offered(disk: DiskSpec, catalog: Catalog, have: DiskSize | None, what: str) -> DiskSize:
    """By an offering. It brings its own limits, except to a disk that had it already with others."""
    offering = catalog.disk_offering(disk.offering)
    size = offering.size or disk.size or (have.size if have else 0)
    if not size:
        raise invalid(f"{what}: disk offering '{offering.name}' is custom", "add size")
    if not offering.custom and disk.size and (have is None or disk.size != offering.size):
        raise invalid(
            f"{what}: disk offering '{offering.name}' fixes the size at {gib(offering.size or GIB)} GiB",
            "leave size out",
        )
    same = have if have and have.offering == offering.name else None
    offered = offering.min_iops or 0, offering.max_iops or 0
    base = same.limits if same and same.own_limits else offered
    limits = _first(disk.min_iops, base[0]), _first(disk.max_iops, base[1])
    own = same.own_limits if same and same.limits == limits else limits != offered
    return DiskSize(
        offering.name, size, *limits, disk.pool or offering.pool, offering.provisioning == "fat", own_limits=own
    )


def _first(given: int | None, otherwise: int) -> int:
    """What is given, 0 included: it takes a limit away."""
    return otherwise if given is None else given
