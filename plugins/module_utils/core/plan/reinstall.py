# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reinstalls a VM: a new root disk from its template or another one; everything else of it stays (Mold: restore VM).

Killed half way the VM has no whole root disk. Its mark says so, and the next task that wants the VM ends the job.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.errors import AblestackError, Code
from ..model.plan_parts import RESTART, Change, Plan, Step
from ..model.values import gib
from ..model.vm import DiskRecord, Mark, Phase, Power, VmFacts, VmRecord
from .deploy import boot_of, root_disk
from .disks import check_space
from .edits import Edits, snapshots_exist, write_edits
from .lifecycle import names_of, refuse_protected
from .offering import DiskSize, root_size
from .power import memory_saved, off, on, stop_steps
from .request import Site, VmRequest
from .steps import DeleteVolume, RedefineVm, SetRecord, Start


def reinstalls(request: VmRequest, vm: VmFacts) -> bool:
    """Whether the root disk is to be made anew: it is asked for, or a killed run had begun it."""
    return request.spec.state == "reinstalled" or vm.phase is Phase.REINSTALLING


def origin_of(request: VmRequest, record: VmRecord) -> tuple[str, str]:
    """The template and the ISO of the new root disk, one of them empty: those of before unless another is named."""
    spec = request.spec
    if spec.state == "reinstalled" and (spec.template or spec.iso):
        return spec.template or "", spec.iso or ""
    return record.template, record.iso


def plan_reinstall(request: VmRequest, vm: VmFacts, edits: Edits) -> Plan[VmFacts]:
    """`edits` are what else the task changes; they are made while it is off."""
    refuse_protected(vm, "reinstalled")
    if vm.saved:
        raise memory_saved(vm, "its root disk is not made anew")
    site = request.home
    if site is None:
        raise AblestackError(Code.INTERNAL, "a reinstall was planned without a survey of the VM's host")
    if edits.record.snapshots or site.snapshots:
        edits.refusals.append(snapshots_exist(vm, "its root disk is not made anew", site.snapshots))
    if edits.refusals:
        return Plan(tuple(edits.changes), (), tuple(edits.refusals), vm)
    runs = _runs(request, vm)
    template, iso = origin_of(request, edits.record)
    change = Change("root_disk", edits.record.template or edits.record.iso, template or iso, RESTART)
    made = _new_root(request, vm, site, edits)
    edits.record = replace(
        edits.record, template=template, template_checksum=site.template.checksum if site.template else "", iso=iso
    )
    if iso:
        _insert(edits, iso, site.iso_path)
    stopped = off(vm)
    written = write_edits(replace(edits, record=replace(edits.record, mark=Mark()), live=None), stopped)
    settled = written.predicted or stopped
    working = Mark(Phase.REINSTALLING, request.fresh.now, owner=request.fresh.owner, runs=runs)
    begun = replace(_begun(vm, edits.record), mark=working)
    # The marked record goes into the definition with the new one's disk, so the last step alone clears the mark.
    marked = [_with_mark(step, working, vm.id) for step in written.steps]
    steps = [*_stop(request, vm), SetRecord(vm.id, begun), *made, *marked]
    if runs:
        steps.append(Start(vm.id))
    steps.append(SetRecord(vm.id, replace(edits.record, mark=Mark())))
    return Plan((change, *edits.changes), tuple(steps), predicted=on(settled) if runs else settled)


def _runs(request: VmRequest, vm: VmFacts) -> bool:
    """Whether it is to run afterwards: as before, unless the task says otherwise."""
    state, mark = request.spec.state, vm.record.mark if vm.record else Mark()
    if state in ("started", "restarted"):
        return True
    if state == "stopped":
        return False
    return vm.is_active or mark.runs or mark.phase is Phase.RESTARTING


def _stop(request: VmRequest, vm: VmFacts) -> list[Step]:
    """A guest that does not go down must not be taken for half reinstalled: until it is off, it is but restarting."""
    if vm.power is Power.OFF or vm.record is None:
        return []
    mark = Mark(Phase.RESTARTING, request.fresh.now, owner=request.fresh.owner)
    return [SetRecord(vm.id, replace(vm.record, mark=mark)), *stop_steps(request, vm)]


def _new_root(request: VmRequest, vm: VmFacts, site: Site, edits: Edits) -> list[Step]:
    """The steps that make the root disk anew, at least as large as before unless another size is asked for."""
    spec, old = request.spec, edits.record.disk("root")
    present = edits.config.disk(old.target) if old else None
    size = _size(request, site, old, present.max_iops if present else 0)
    clone = "full" if "full" in (spec.clone, edits.record.clone) else "linked"
    plan = root_disk(site, names_of(vm), size, clone)
    if old is None or plan.record.size != old.size:
        edits.changes.append(Change("root_disk.size", gib(old.size) if old else None, gib(plan.record.size), RESTART))
    disks = tuple(disk for disk in edits.record.disks if disk.role != "root")
    edits.record = replace(edits.record, disks=(plan.record, *disks), clone=clone)
    others = tuple(disk for disk in edits.config.disks if disk.target != plan.config.target)
    config = replace(edits.config, disks=(plan.config, *others))
    boot_type, boot_mode = boot_of(
        replace(spec, boot_type=spec.boot_type or _own(site, "boot_type") or config.boot_type,
                boot_mode=spec.boot_mode or _own(site, "boot_mode") or config.boot_mode),
        site.template,
    )  # fmt: skip
    for name, value in (("boot_type", boot_type), ("boot_mode", boot_mode)):
        if value != getattr(edits.config, name):
            edits.changes.append(Change(name, getattr(edits.config, name), value, RESTART))
    edits.config = config
    edits.boot_by(boot_type, boot_mode, config.tpm)
    gone = [(old.pool, old.volume)] if old else []
    if (plan.record.pool, plan.record.volume) not in gone:
        gone.append((plan.record.pool, plan.record.volume))  # of a killed run
    check_space(site, [plan], gone)
    return [*(DeleteVolume(pool, volume) for pool, volume in gone), *plan.steps]


def _own(site: Site, name: str) -> str:
    return str(getattr(site.template, name)) if site.template else ""


def _size(request: VmRequest, site: Site, old: DiskRecord | None, limit: int) -> DiskSize:
    least = site.template.size if site.template else 0
    spec = request.spec
    if not spec.root_disk_size and not spec.root_disk_offering and old:
        return DiskSize(old.offering, max(old.size, least), old.min_iops, limit, old.pool)
    size = root_size(spec, request.catalog, least)
    return replace(size, pool=size.pool or (old.pool if old else ""))


def _insert(edits: Edits, iso: str, path: str) -> None:
    """The installer goes into the CD drive again."""
    drive = edits.record.disk("iso")
    if drive is None:
        return
    disks = tuple(replace(disk, name=iso) if disk is drive else disk for disk in edits.record.disks)
    edits.record = replace(edits.record, disks=disks)
    target = drive.target
    edits.config = replace(
        edits.config,
        disks=tuple(replace(disk, path=path) if disk.target == target else disk for disk in edits.config.disks),
    )


def _begun(vm: VmFacts, record: VmRecord) -> VmRecord:
    """The present record with what a later run must know to end this one: where the root disk comes from, its size."""
    if vm.record is None:
        return record
    old, new = vm.record.disk("root"), record.disk("root")
    disks = vm.record.disks
    if old and new and (old.pool, old.volume) == (new.pool, new.volume):
        disks = tuple(new if disk is old else disk for disk in disks)
    return replace(
        vm.record,
        template=record.template,
        template_checksum=record.template_checksum,
        iso=record.iso,
        clone=record.clone,
        disks=disks,
    )


def _with_mark(step: Step, mark: Mark, vm_id: str) -> Step:
    """The same step writing a marked record, where it is the VM's own: one that lends it a disk stays destroyed."""
    if isinstance(step, SetRecord) and step.vm_id == vm_id:
        return replace(step, record=replace(step.record, mark=mark))
    if isinstance(step, RedefineVm) and step.after.record and step.after.id == vm_id:
        return replace(step, after=replace(step.after, record=replace(step.after.record, mark=mark)))
    return step
