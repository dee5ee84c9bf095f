# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans one task on a VM's snapshots: take, restore, delete; and what is refused (SEMANTICS 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.plan_parts import Change, Plan, Step
from ..model.resources import VolumeSpec
from ..model.snapshot import DISK, MEMORY, Layer, SnapshotFacts, SnapshotSpec, SnapshotWorld
from ..model.vm import DiskConfig, Mark, Owner, Power, VmConfig, VmRecord
from .layers import tidy
from .lifecycle import record_of
from .power import memory_saved, on
from .snapshot_refusals import (
    agent_refusal,
    exists_otherwise,
    memory_refusal,
    missing,
    not_restorable,
    refuse_foreign_disks,
    refuse_half_plugged,
    refuse_unsettled,
    runs,
    too_many,
    wrong_kind,
)
from .snapshot_steps import (
    ContinueFrom,
    DeleteCheckpoint,
    DescribeSnapshot,
    ForgetSnapshot,
    RestoreCheckpoint,
    TakeCheckpoint,
    TakeSnapshot,
    Thaw,
)
from .steps import CreateVolume, RedefineVm, SetRecord


@dataclass(frozen=True)
class SnapshotRequest:
    """The plan's input. `now` is a stored time, `seconds` the same since 1970; `limit` is max_vm_snapshots."""

    spec: SnapshotSpec
    world: SnapshotWorld
    limit: int
    now: str
    seconds: int = 0
    owner: Owner | None = None
    volumes: frozenset[str] = frozenset()  # names that are taken in the disks' pools
    asked: bool = True  # whether the guest's agent was asked: in check mode it is not


def plan_snapshot(request: SnapshotRequest) -> Plan[SnapshotWorld]:
    """The plan for one task. Whatever it is, it also finishes what a killed run has left."""
    world = request.world
    refuse_unsettled(world.vm)
    refuse_half_plugged(world.vm)
    record_of(world.vm)
    state = request.spec.state
    healed, world = _healed(world)
    plan = {"present": _present, "absent": _absent, "reverted": _reverted}[state](request, world)
    if plan.refusals:
        return plan
    held = _held(request, healed, plan)
    if world.vm.saved and (held.steps or state == "reverted"):
        raise memory_saved(world.vm, "its snapshots stay as they are")
    return held


def _healed(world: SnapshotWorld) -> tuple[tuple[Step, ...], SnapshotWorld]:
    """Thaws a guest that was left frozen, and tidies up what was left of a snapshot."""
    steps: tuple[Step, ...] = ()
    if world.agent and world.agent.frozen:
        steps = (Thaw(world.vm.id),)
        world = replace(world, agent=replace(world.agent, frozen=False))
    tidied, world = tidy(world)
    return steps + tidied, world


def _held(request: SnapshotRequest, healed: tuple[Step, ...], plan: Plan[SnapshotWorld]) -> Plan[SnapshotWorld]:
    """Around the steps: the mark, which tells of a run cut off, and in the end the record as libvirt has it."""
    after = plan.predicted or request.world
    record = _recorded(after)
    changes = plan.changes
    if (healed or record != record_of(request.world.vm)) and not changes:
        changes = (Change("snapshots", list(record_of(request.world.vm).snapshots), list(record.snapshots)),)
    steps = healed + plan.steps
    after = _with_record(after, record)
    if not steps and record == request.world.vm.record:
        return Plan(predicted=after)
    if steps:
        steps = (SetRecord(after.vm.id, replace(record_of(request.world.vm), mark=_mark(request))), *steps)
    steps = (*steps, SetRecord(after.vm.id, record))
    return Plan(changes, steps, predicted=after)


def _mark(request: SnapshotRequest) -> Mark:
    """Tells whoever comes that this process works on the VM; once it is dead, that there is something to finish."""
    return Mark(since=request.now, owner=request.owner)


def _recorded(world: SnapshotWorld) -> VmRecord:
    """The record that agrees with libvirt's list."""
    record = record_of(world.vm)
    names = tuple(snapshot.name for snapshot in world.snapshots)
    quiesced = tuple(name for name in names if name in record.quiesced)
    return replace(record, mark=Mark(), snapshots=names, quiesced=quiesced)


def _with_record(world: SnapshotWorld, record: VmRecord) -> SnapshotWorld:
    vm = replace(world.vm, config=replace(world.vm.config, record=record))
    if vm.live is not None:
        vm = replace(vm, live=replace(vm.live, record=record))
    return replace(world, vm=vm)


# --- take


def _present(request: SnapshotRequest, world: SnapshotWorld) -> Plan[SnapshotWorld]:
    spec = request.spec
    found = world.snapshot(spec.name)
    if found is not None:
        return _described(request, world, found)
    refusal = too_many(world, request.limit) or (
        memory_refusal(world)
        if spec.memory
        else wrong_kind(world) or (agent_refusal(world, spec.quiesce) if request.asked else None)
    )
    if refusal:
        return Plan(refusals=(refusal,), predicted=world)
    names = tuple(snapshot.name for snapshot in world.snapshots)
    change = Change("snapshots", list(names), [*names, spec.name])
    if spec.memory:
        steps: tuple[Step, ...] = (TakeCheckpoint(world.vm.id, spec.name, spec.description or ""),)
        return Plan((change,), steps, predicted=_added(request, world, MEMORY, ()))
    refuse_foreign_disks(world)
    return _take_disks(request, world, change)


def _described(request: SnapshotRequest, world: SnapshotWorld, found: SnapshotFacts) -> Plan[SnapshotWorld]:
    """It is there already: only its description may differ."""
    spec = request.spec
    if spec.memory and found.kind != MEMORY:
        return Plan(refusals=(exists_otherwise(world, found),), predicted=world)
    if spec.description is None or spec.description == found.description:
        return Plan(predicted=world)
    change = Change(f"snapshots[{found.name}].description", found.description, spec.description)
    after = _changed(world, replace(found, description=spec.description))
    return Plan((change,), (DescribeSnapshot(world.vm.id, found.name, spec.description),), predicted=after)


def _take_disks(request: SnapshotRequest, world: SnapshotWorld, change: Change) -> Plan[SnapshotWorld]:
    """The overlays first, then the record, which libvirt keeps with the snapshot, then the snapshot."""
    spec, vm = request.spec, world.vm
    quiesce = _quiesces(world, spec.quiesce)
    made, overlays = _overlays(request, world, {disk.target: disk.active for disk in world.disks})
    taken = {disk.target for disk in world.disks}
    others = tuple(disk.target for disk in vm.config.disks if disk.target not in taken)
    record = record_of(vm)
    noted = replace(
        record,
        mark=_mark(request),
        snapshots=(*record.snapshots, spec.name),
        quiesced=(*record.quiesced, spec.name) if quiesce else record.quiesced,
    )
    take = TakeSnapshot(vm.id, spec.name, spec.description or "", tuple(overlays.items()), others, quiesce)
    images = tuple((disk.target, disk.active) for disk in world.disks)
    after = _on_overlays(_added(request, _with_record(world, noted), DISK, images), overlays, dict(images))
    return Plan((change,), (*made, SetRecord(vm.id, noted), take), predicted=after)


def _quiesces(world: SnapshotWorld, wish: str) -> bool:
    agent = world.agent
    able = agent is not None and agent.is_new_enough and agent.freezes and world.vm.power is Power.RUNNING
    return able and wish != "false"


def _overlays(
    request: SnapshotRequest, world: SnapshotWorld, below: dict[str, str]
) -> tuple[tuple[Step, ...], dict[str, str]]:
    """New overlays on those images (by target): the steps that make them, and their paths by target."""
    steps: list[Step] = []
    paths: dict[str, str] = {}
    for disk in world.disks:
        if disk.target not in below:
            continue
        image = disk.layers[below[disk.target]]
        volume = _free_name(f"{disk.stem}{request.spec.name}", request.volumes)
        paths[disk.target] = f"{disk.folder}/{volume}"
        overlay = VolumeSpec(disk.pool, volume, image.capacity, backing=image.path, backing_format=image.format)
        steps.append(CreateVolume(overlay))
    return tuple(steps), paths


def _free_name(stem: str, taken: frozenset[str]) -> str:
    """`+` is in no snapshot's name, so a counted name is never another snapshot's."""
    name, count = f"{stem}.qcow2", 1
    while name in taken:
        count += 1
        name = f"{stem}+{count}.qcow2"
    return name


def _added(
    request: SnapshotRequest, world: SnapshotWorld, kind: str, images: tuple[tuple[str, str], ...]
) -> SnapshotWorld:
    spec = request.spec
    taken = SnapshotFacts(
        name=spec.name,
        kind=kind,
        created=request.seconds,
        config=world.vm.live or world.vm.config,
        description=spec.description or "",
        parent=world.current,
        current=True,
        images=images,
    )
    return replace(_current(world, ""), snapshots=(*_current(world, "").snapshots, taken))


def _current(world: SnapshotWorld, name: str) -> SnapshotWorld:
    """The VM goes on from that snapshot."""
    snapshots = tuple(replace(snapshot, current=snapshot.name == name) for snapshot in world.snapshots)
    return replace(world, snapshots=snapshots)


def _changed(world: SnapshotWorld, after: SnapshotFacts) -> SnapshotWorld:
    return replace(world, snapshots=tuple(after if row.name == after.name else row for row in world.snapshots))


def _on_disks(config: VmConfig, paths: dict[str, str]) -> VmConfig:
    def one(disk: DiskConfig) -> DiskConfig:
        return replace(disk, path=paths[disk.target], format="qcow2") if disk.target in paths else disk

    return replace(config, disks=tuple(one(disk) for disk in config.disks))


# --- restore


def _reverted(request: SnapshotRequest, world: SnapshotWorld) -> Plan[SnapshotWorld]:
    spec, vm = request.spec, world.vm
    found = world.snapshot(spec.name)
    if found is None:
        raise missing(world, spec.name)
    if vm.is_active and found.kind == MEMORY and found.current and record_of(vm).mark.owner:
        return Plan(predicted=world)  # a killed run has restored it, and is but to be tidied up after
    if vm.is_active:
        return Plan(refusals=(runs(world),), predicted=world)
    refusal = not_restorable(world, found)
    if refusal:
        return Plan(refusals=(refusal,), predicted=world)
    then = found.config
    offered = then.record or record_of(vm)
    record = replace(
        record_of(vm),
        compute_offering=offered.compute_offering,
        dynamic_scaling=offered.dynamic_scaling,
        scaling_chosen=offered.scaling_chosen,
    )
    if found.kind == MEMORY:
        record = _with_drive(record, offered)
    changes = _restored_changes(world, found, record)
    if found.kind == MEMORY:
        back = replace(on(replace(vm, config=_with_drives(_sized(vm.config, then), then))), addresses={})
        after = _with_record(replace(_current(world, found.name), vm=back), record)
        steps: tuple[Step, ...] = (RestoreCheckpoint(vm.id, found.name, replace(record, mark=_mark(request))),)
        return Plan((*changes, Change("state", vm.state, "Running")), steps, predicted=after)
    return _restore_disks(request, _with_record(world, record), found, changes)


def _restored_changes(world: SnapshotWorld, found: SnapshotFacts, record: VmRecord) -> tuple[Change, ...]:
    vm = world.vm
    rows = [
        ("current_snapshot", world.current, found.name),
        ("cpu", vm.config.cpu, found.config.cpu),
        ("memory", vm.config.memory, found.config.memory),
        ("compute_offering", record_of(vm).compute_offering, record.compute_offering),
        ("dynamic_scaling", record_of(vm).dynamic_scaling, record.dynamic_scaling),
        ("attached_iso", _inserted(record_of(vm)), _inserted(record)),
    ]
    return tuple(Change(path, before, after) for path, before, after in rows if before != after)


def _sized(now: VmConfig, then: VmConfig) -> VmConfig:
    """The present definition with the processors and the memory of that time."""
    return replace(now, cpu=then.cpu, max_cpu=then.max_cpu, memory=then.memory, max_memory=then.max_memory)


def _with_drive(now: VmRecord, then: VmRecord) -> VmRecord:
    """The record with the ISO that was in the drive at that time: a guest that goes on from then has it open."""
    disks = tuple(replace(disk, name=_inserted(then)) if disk.role == "iso" else disk for disk in now.disks)
    return replace(now, disks=disks)


def _inserted(record: VmRecord) -> str:
    drive = record.disk("iso")
    return drive.name if drive else ""


def _with_drives(now: VmConfig, then: VmConfig) -> VmConfig:
    """The definition with what was in the CD drives at that time."""
    disks = tuple((then.disk(disk.target) or disk) if disk.kind == "cdrom" else disk for disk in now.disks)
    return replace(now, disks=disks)


def _restore_disks(
    request: SnapshotRequest, world: SnapshotWorld, found: SnapshotFacts, changes: tuple[Change, ...]
) -> Plan[SnapshotWorld]:
    """New overlays on the snapshot's images, unless the VM has those already and wrote nothing into them."""
    vm, images = request.world.vm, dict(found.images)
    stale = {
        disk.target: images[disk.target]
        for disk in world.disks
        if not (disk.untouched and disk.layers[disk.active].backing == images[disk.target])
    }
    made, overlays = _overlays(request, world, stale)
    steps: list[Step] = list(made)
    after = _on_overlays(_current(world, found.name), overlays, stale)
    after = replace(after, vm=replace(after.vm, config=_sized(after.vm.config, found.config)))
    if replace(after.vm.config, record=None) != replace(vm.config, record=None):
        steps.append(RedefineVm(replace(vm.config, record=None), replace(after.vm.config, record=None)))
    if overlays or not found.current:
        paths = tuple((disk.target, disk.active) for disk in after.disks)
        steps.append(ContinueFrom(vm.id, found.name, paths))
    if overlays and not changes:
        changes = (Change("content", "written to since the snapshot", f"as of snapshot '{found.name}'"),)
    tidied, after = tidy(after)
    return Plan(changes, (*steps, *tidied), predicted=after)


def _on_overlays(world: SnapshotWorld, overlays: dict[str, str], below: dict[str, str]) -> SnapshotWorld:
    """The VM goes on in new overlays, by target, each on the image that `below` names."""
    disks = tuple(
        replace(
            disk,
            layers={
                **disk.layers,
                overlays[disk.target]: Layer(
                    overlays[disk.target], below[disk.target], disk.layers[below[disk.target]].capacity
                ),
            },
            active=overlays[disk.target],
            untouched=True,
        )
        if disk.target in overlays
        else disk
        for disk in world.disks
    )
    vm = replace(world.vm, config=_on_disks(world.vm.config, overlays))
    if vm.live is not None:
        vm = replace(vm, live=_on_disks(vm.live, overlays))
    return replace(world, vm=vm, disks=disks)


# --- delete


def _absent(request: SnapshotRequest, world: SnapshotWorld) -> Plan[SnapshotWorld]:
    """The snapshot is forgotten first: from then on nobody restores it, and its images may be dropped or merged."""
    found = world.snapshot(request.spec.name)
    if found is None:
        return Plan(predicted=world)
    names = [snapshot.name for snapshot in world.snapshots]
    change = Change("snapshots", names, [name for name in names if name != found.name])
    after = _without(world, found)
    if found.kind == MEMORY:
        return Plan((change,), (DeleteCheckpoint(world.vm.id, found.name),), predicted=after)
    tidied, after = tidy(after)
    return Plan((change,), (ForgetSnapshot(world.vm.id, found.name), *tidied), predicted=after)


def _without(world: SnapshotWorld, gone: SnapshotFacts) -> SnapshotWorld:
    """Its children become those of its parent; so does the VM where it went on from it."""
    left = tuple(
        replace(row, parent=gone.parent if row.parent == gone.name else row.parent)
        for row in world.snapshots
        if row is not gone
    )
    after = replace(world, snapshots=left)
    return _current(after, gone.parent) if gone.current else after
