# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of a VM that exists: the data disks as a complete list, the root disk's size, the CD drive (SEMANTICS 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.errors import AblestackError, Code, invalid
from ..model.naming import disk_target, is_data_volume
from ..model.plan_parts import LIVE, RESTART, Change
from ..model.values import UNSET, gib
from ..model.vm import DiskConfig, DiskRecord, VmConfig, VmFacts
from ..model.vm_spec import DiskSpec
from .disks import assign_devices, check_number, check_space, data_disk, freed
from .edits import Edits
from .offering import DiskSize, data_size, pool_of_disk
from .request import Site, VmRequest


@dataclass(frozen=True)
class DiskMatch:
    """The wanted data disks beside those the VM has."""

    kept: tuple[tuple[DiskSpec, DiskRecord], ...]
    new: tuple[DiskSpec, ...]
    gone: tuple[DiskRecord, ...]


def match_disks(wanted: tuple[DiskSpec, ...], vm: VmFacts) -> DiskMatch:
    """Disks are known by their names. One that is recorded and not defined is attached anew."""
    defined = {disk.target for disk in vm.config.disks}
    have = {disk.name: disk for disk in (vm.record.data_disks if vm.record else ()) if disk.target in defined}
    names = {disk.name for disk in wanted}
    recorded = vm.record.data_disks if vm.record else ()
    return DiskMatch(
        kept=tuple((disk, have[disk.name]) for disk in wanted if disk.name in have),
        new=tuple(disk for disk in wanted if disk.name not in have),
        gone=tuple(disk for disk in recorded if disk.name not in names),
    )


def change_data_disks(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """`data_disks` is a complete list: what is missing in it is detached and never deleted, what is new is attached."""
    wanted = request.spec.data_disks
    if wanted is UNSET:
        return
    match = match_disks(wanted, vm)
    if match.new:
        check_number(len(wanted), request.catalog)
    for disk in match.gone:
        before = {"size_gib": gib(disk.size), "device": disk.device}
        edits.changes.append(Change(f"data_disks.{disk.name}", before, None, LIVE))
        edits.touches_hardware = True
    disks = [_kept(request, spec, record, vm, edits) for spec, record in match.kept]
    _refuse_same_device([record for _config, record in disks])
    if match.new:
        disks += _attached(request, match, tuple(record.device for _config, record in disks), edits)
    _put(edits, disks)


def _attached(
    request: VmRequest, match: DiskMatch, kept: tuple[int, ...], edits: Edits
) -> list[tuple[DiskConfig, DiskRecord]]:
    site = home_of(request)
    devices = assign_devices(match.new, kept)
    plans = [data_disk(spec, device, request.catalog, site) for spec, device in zip(match.new, devices)]
    check_space(site, plans)
    edits.first += freed(plans)
    disks = []
    for spec, device, disk in zip(match.new, devices, plans):
        edits.first += disk.steps
        after = {"size_gib": gib(disk.record.size), "device": device}
        edits.changes.append(Change(f"data_disks.{spec.name}", None, after, LIVE))
        edits.touches_hardware = True
        disks.append((disk.config, disk.record))
    return disks


def sized_otherwise(request: VmRequest, vm: VmFacts) -> tuple[DiskRecord, ...]:
    """The disks the VM has that are to have another size than its record tells, which need not be the true one."""
    spec, record = request.spec, vm.record
    kept = match_disks(spec.data_disks, vm).kept if spec.data_disks is not UNSET else ()
    disks = [disk for asked, disk in kept if _data_size(request, asked, disk, vm)[1].size != disk.size]
    root = record.disk("root") if record else None
    if root and (spec.root_disk_size or spec.root_disk_offering):
        disks += [root] if _root_size(request, root, vm)[1].size != root.size else []
    return tuple(disks)


def _data_size(request: VmRequest, spec: DiskSpec, record: DiskRecord, vm: VmFacts) -> tuple[DiskConfig, DiskSize]:
    """What the disk is like, and the size and limits it is to have."""
    config = vm.config.disk(record.target) or DiskConfig(record.target, "")
    have = DiskSize(
        record.offering, record.size, record.min_iops, config.max_iops, record.pool, own_limits=record.own_limits
    )
    return config, data_size(spec, request.catalog, have)


def _true_size(request: VmRequest, record: DiskRecord) -> int:
    """The disk's size as far as it is known: a volume may have grown without its VM's record."""
    volume = request.home.own.get(f"{record.pool}/{record.volume}") if request.home else None
    return max(record.size, volume.capacity if volume else 0)


def _kept(
    request: VmRequest, spec: DiskSpec, record: DiskRecord, vm: VmFacts, edits: Edits
) -> tuple[DiskConfig, DiskRecord]:
    """A disk the VM has: it grows, its limits change; its pool does not."""
    pool = pool_of_disk(spec, request.catalog)
    if pool and pool != record.pool:
        raise invalid(
            f"data disk '{spec.name}' of VM '{vm.name}' is in pool '{record.pool}', not in '{pool}'",
            "a disk stays in its pool: leave the pool out",
        )
    config, size = _data_size(request, spec, record, vm)
    path = f"data_disks.{spec.name}"
    config, changed = resized(path, record, config, size, _true_size(request, record), edits)
    if spec.device is not None and spec.device != record.device:
        edits.changes.append(Change(f"{path}.device", record.device, spec.device, RESTART))
        edits.touches_hardware = True
        target = disk_target(spec.device)
        config, changed = replace(config, target=target), replace(changed, device=spec.device, target=target)
    return config, changed


def _refuse_same_device(disks: list[DiskRecord]) -> None:
    """A disk that moves to another device may take it from one that moves away, and from no other."""
    at: dict[int, str] = {}
    for disk in disks:
        other = at.setdefault(disk.device, disk.name)
        if other != disk.name:
            raise invalid(
                f"data disks '{other}' and '{disk.name}' would both be device {disk.device}",
                "give each a device of its own",
            )


def resized(
    path: str, record: DiskRecord, config: DiskConfig, size: DiskSize, have: int, edits: Edits
) -> tuple[DiskConfig, DiskRecord]:
    """The same disk with another size, limits and offering; every difference is a change. `have` is its true size."""
    if size.size < have:
        raise invalid(
            f"disk '{record.name}' of VM '{edits.record.name}' has {gib(have)} GiB and cannot shrink to"
            f" {gib(size.size)} GiB",
            "disks only grow: ask for at least what it has",
        )
    after = replace(record, size=size.size, offering=size.offering, min_iops=size.min_iops, own_limits=size.own_limits)
    compared = (
        # of one that has its size already, and whose record does not tell, the record's is what changes
        ("size", gib(record.size if have == size.size else have), gib(size.size), record.size == size.size),
        ("max_iops", config.max_iops, size.max_iops, config.max_iops == size.max_iops),
        ("min_iops", record.min_iops, size.min_iops, record.min_iops == size.min_iops),
        ("offering", record.offering, size.offering, record.offering == size.offering),
    )
    for what, own, wanted, same in compared:
        if not same:
            edits.changes.append(Change(f"{path}.{what}", own, wanted, LIVE))
            edits.touches_hardware = edits.touches_hardware or what != "offering"
    if size.size > record.size:
        edits.grown.append(after)
    return replace(config, max_iops=size.max_iops), after


def _put(edits: Edits, disks: list[tuple[DiskConfig, DiskRecord]]) -> None:
    """These are the data disks from now on, in the record and in both definitions."""
    record = edits.record
    disks.sort(key=lambda pair: pair[1].device)
    data = tuple(disk for _config, disk in disks)
    known = {disk.target for disk in record.data_disks}
    if data != record.data_disks:
        kept = tuple(disk for disk in record.disks if disk.role != "data")
        edits.record = replace(record, disks=(*kept[:1], *data, *kept[1:]))
    edits.config = with_data(edits.config, known, [config for config, _record in disks])
    if edits.live is not None:
        edits.live = with_data(edits.live, known, [config for config, _record in disks])


def with_data(config: VmConfig, known: set[str], wanted: list[DiskConfig]) -> VmConfig:
    """A definition with these data disks instead of the known ones, and of what a killed run had attached."""
    others = [disk for disk in config.disks if disk.target not in known and not is_data_volume(disk.path)]
    if {(disk.target, disk.path, disk.max_iops) for disk in config.disks if disk not in others} == {
        (disk.target, disk.path, disk.max_iops) for disk in wanted
    }:
        return config
    return replace(config, disks=(*others[:1], *wanted, *others[1:]))


def change_root(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """The root disk grows, and follows another disk offering."""
    spec, root = request.spec, edits.record.disk("root")
    if root is None or not (spec.root_disk_size or spec.root_disk_offering):
        return
    config, size = _root_size(request, root, vm)
    changed_config, changed = resized("root_disk", root, config, size, _true_size(request, root), edits)
    edits.replace_disks([changed])
    edits.config = _with_disk(edits.config, changed_config)
    edits.live = _with_disk(edits.live, changed_config) if edits.live else None


def _root_size(request: VmRequest, root: DiskRecord, vm: VmFacts) -> tuple[DiskConfig, DiskSize]:
    """The same as of a data disk."""
    spec = request.spec
    asked = DiskSpec("root", spec.root_disk_offering or "", spec.root_disk_size or None)
    if spec.root_disk_offering:
        offering = request.catalog.disk_offering(spec.root_disk_offering)
        if offering.pool and offering.pool != root.pool:
            raise invalid(
                f"root disk of VM '{vm.name}' is in pool '{root.pool}', not in '{offering.pool}' as disk offering"
                f" '{offering.name}' wants",
                "a disk stays in its pool: choose another offering",
            )
        # SEMANTICS 2.2: the fixed size of the root disk's offering wins over a literal one
        asked = replace(asked, size=None if offering.size else asked.size)
    return _data_size(request, asked, root, vm)


def change_iso(request: VmRequest, edits: Edits) -> None:
    """What is in the CD drive: the named ISO, or nothing. A VM snapshot does not hold it."""
    wanted, drive = request.spec.attached_iso, edits.record.disk("iso")
    if wanted is UNSET or drive is None or wanted == drive.name:
        return
    config = edits.config.disk(drive.target)
    if config is None:
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{edits.record.name}' has no CD drive any more",
            "its definition was edited by hand",
        )
    path = home_of(request).iso_path if wanted else ""
    edits.changes.append(Change("attached_iso", drive.name, wanted, LIVE))
    disks = tuple(replace(disk, name=wanted) if disk is drive else disk for disk in edits.record.disks)
    edits.record = replace(edits.record, disks=disks)
    edits.config = _with_disk(edits.config, replace(config, path=path))
    edits.live = _with_disk(edits.live, replace(config, path=path)) if edits.live else None


def _with_disk(config: VmConfig, disk: DiskConfig) -> VmConfig:
    disks = tuple(disk if have.target == disk.target else have for have in config.disks)
    return config if disks == config.disks else replace(config, disks=disks)


def home_of(request: VmRequest) -> Site:
    """The VM's host as surveyed for this change."""
    if request.home is None:
        raise AblestackError(Code.INTERNAL, "a change was planned without a survey of the VM's host")
    return request.home
