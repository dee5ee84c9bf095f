# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a VM's disks on its host: read as layers, and the steps on snapshots carried out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Callable

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import VmNames
from ..model.plan_parts import Step
from ..model.snapshot import MEMORY, DiskLayers, Layer, SnapshotFacts, SnapshotWorld
from ..model.vm import DiskRecord, VmFacts
from ..plan import snapshot_steps as verbs
from ..plan.layers import tidy

_SMALL = 1024 * 1024  # bytes: an overlay that takes more holds something for certain


def read_disks(
    host: Host, vm: VmFacts, snapshots: tuple[SnapshotFacts, ...], look_inside: bool = False
) -> tuple[DiskLayers, ...]:
    """Every root and data disk with its images; `look_inside` tells whether the active ones were written to."""
    record = vm.record
    disks = [disk for disk in (record.disks if record else ()) if disk.role in ("root", "data")]
    names = {pool: host.volume_names(pool) for pool in dict.fromkeys(disk.pool for disk in disks)}
    return tuple(
        _read_disk(host, vm, disk, snapshots, names[disk.pool], look_inside)
        for disk in disks
        if vm.config.disk(disk.target) is not None
    )


def _read_disk(
    host: Host,
    vm: VmFacts,
    disk: DiskRecord,
    snapshots: tuple[SnapshotFacts, ...],
    names: tuple[str, ...],
    look_inside: bool,
) -> DiskLayers:
    config = (vm.live.disk(disk.target) if vm.live and vm.is_active else None) or vm.config.disk(disk.target)
    active = config.path if config else ""
    folder = active.rpartition("/")[0]
    base = f"{folder}/{disk.volume}"
    stem = overlay_stem(vm, disk)
    images = [path for snapshot in snapshots for target, path in snapshot.images if target == disk.target]
    own = {base, *(f"{folder}/{name}" for name in names if name.startswith(stem))}
    layers: dict[str, Layer] = {}
    untouched = False
    waiting = sorted({active, *images, *own})
    while waiting:
        path = waiting.pop()
        if path in layers or path.rpartition("/")[0] != folder or path.rpartition("/")[2] not in names:
            continue
        found = host.volume(disk.pool, path.rpartition("/")[2])
        if found is None:
            continue
        layers[path] = Layer(path, found.backing, found.capacity, found.format, path in own)
        if path != base:
            waiting.append(found.backing)
        if path == active and look_inside and path != base and found.allocation <= _SMALL:
            untouched = _is_untouched(host, disk.pool, path.rpartition("/")[2])
    # an image that the pool does not list, as a tool may have made it: it is there, and none of ours
    layers.setdefault(active, Layer(active, "", disk.size, config.format if config else "qcow2", False))
    return DiskLayers(disk.target, disk.pool, stem, base, active, layers, untouched)


def _is_untouched(host: Host, pool: str, name: str) -> bool:
    """Of an overlay that somebody else deletes at this moment it does not matter."""
    try:
        return host.is_untouched(pool, name)
    except AblestackError as error:
        if error.code is Code.NOT_FOUND:
            return False
        raise


def overlay_stem(vm: VmFacts, disk: DiskRecord) -> str:
    """What the names of a disk's overlays begin with: they live and die with the VM, whosever the disk is."""
    slot = "root" if disk.role == "root" else f"data{disk.device}"
    return f"{VmNames(vm.name, vm.id).volume_prefix}{slot}."


def with_snapshots(host: Host, vm: VmFacts) -> VmFacts:
    """The VM with the snapshots that libvirt knows of it in its record: other tools make some, too."""
    if vm.record is None:
        return vm
    record = replace(vm.record, snapshots=host.snapshots(vm.id))
    return replace(vm, config=replace(vm.config, record=record))


def current_vm(host: Host, vm_id: str) -> VmFacts:
    """The VM as it is now; NotFound where it is gone."""
    ref = host.domain(vm_id)
    if ref is None:
        raise AblestackError(Code.NOT_FOUND, f"VM {vm_id} is gone", "somebody removed it meanwhile")
    return host.vm(ref)


def _release(host: Host, step: verbs.ReleaseDisks) -> None:
    """Every snapshot is given up; then each disk's images are merged, down into the disk's own volume."""
    snapshots = host.snapshot_facts(step.vm_id)
    for snapshot in snapshots:
        if snapshot.kind == MEMORY:
            host.delete_checkpoint(step.vm_id, snapshot.name)
        else:
            host.forget_snapshot(step.vm_id, snapshot.name)
    vm = current_vm(host, step.vm_id)
    record = vm.record
    host.refresh_pools(
        dict.fromkeys(disk.pool for disk in (record.disks if record else ()) if disk.target in step.targets)
    )
    disks = tuple(disk for disk in read_disks(host, vm, ()) if disk.target in step.targets)
    steps, after = tidy(SnapshotWorld(vm, (), disks))
    carry_out(host, steps)
    for disk in after.disks:
        if disk.active != disk.base:
            raise AblestackError(
                Code.INVALID_STATE,
                f"disk {disk.target} of VM '{vm.name}' has images that another tool made, so it is not whole by itself",
                "merge them with that tool, or name the disk in delete_data_disks",
                images=sorted(disk.layers),
            )


def carry_out(host: Host, steps: Iterable[Step]) -> None:
    """Runs steps of any kind."""
    from .execute import execute

    execute(host, steps)


DO: dict[type, Callable[[Host, Any], Any]] = {
    verbs.Thaw: lambda host, step: host.thaw(step.vm_id),
    verbs.TakeSnapshot: lambda host, step: host.take_snapshot(
        step.vm_id, step.name, step.description, dict(step.overlays), step.others, step.quiesce
    ),
    verbs.TakeCheckpoint: lambda host, step: host.take_checkpoint(step.vm_id, step.name, step.description),
    verbs.RestoreCheckpoint: lambda host, step: host.restore_checkpoint(step.vm_id, step.name, step.record),
    verbs.ContinueFrom: lambda host, step: host.continue_from(step.vm_id, step.name, dict(step.overlays)),
    verbs.DescribeSnapshot: lambda host, step: host.describe_snapshot(step.vm_id, step.name, step.description),
    verbs.DeleteCheckpoint: lambda host, step: host.delete_checkpoint(step.vm_id, step.name),
    verbs.ForgetSnapshot: lambda host, step: host.forget_snapshot(step.vm_id, step.name),
    verbs.MergeLayers: lambda host, step: host.merge_layers(step.vm_id, step.merges, step.live),
    verbs.RelocateSnapshots: lambda host, step: host.relocate_snapshots(step.vm_id, dict(step.moved)),
    verbs.ReleaseDisks: _release,
}
