# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the differences between a VM and its spec add up to, and the plan that writes them (SEMANTICS 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..model.errors import AblestackError, Code
from ..model.plan_parts import RESTART, Change, Plan, Step
from ..model.seed_content import SeedNic
from ..model.values import altered
from ..model.vm import DiskRecord, VmConfig, VmFacts, VmRecord
from .steps import (
    AttachDisk,
    AttachNic,
    ChangeMedia,
    DetachDisk,
    DetachNic,
    GrowVolume,
    RedefineVm,
    ResizeDisk,
    SetCpus,
    SetMemory,
    SetRecord,
    TuneDisk,
    UpdateNic,
)


@dataclass
class Edits:
    """The record and definitions to be, the stored and the running one, and steps beside writing those.

    `first` make what the definitions will need, `last` free what they needed before. `grown` are disks with the size
    they get, `seed_nics` the network part of a seed to be written, but for those (by MAC) in `seed_kept`.
    """

    record: VmRecord
    config: VmConfig
    live: VmConfig | None = None
    changes: list[Change] = field(default_factory=list)
    refusals: list[AblestackError] = field(default_factory=list)
    first: list[Step] = field(default_factory=list)
    last: list[Step] = field(default_factory=list)
    grown: list[DiskRecord] = field(default_factory=list)
    seed_nics: tuple[SeedNic, ...] | None = None
    seed_kept: tuple[str, ...] = ()
    touches_hardware: bool = False  # a disk or a NIC, which a VM snapshot forbids

    @property
    def needs_power_off(self) -> bool:
        """Whether any difference cannot be made under a running guest."""
        return any(change.impact == RESTART for change in self.changes)

    def touches_nothing_of(self, vm: VmFacts) -> bool:
        """Whether all of it is still what the VM has."""
        same = self.record is vm.record and self.config is vm.config and self.live is vm.live
        return same and not (self.first or self.last or self.grown)

    def boot_by(self, boot_type: str, boot_mode: str, tpm: bool) -> None:
        """Gives it this firmware and TPM. The NVRAM and TPM state of before stay, for a way back, until it is expunged:
        what a TPM holds may be the only key to a disk.
        """
        before = self.config
        self.config = replace(before, boot_type=boot_type, boot_mode=boot_mode, tpm=tpm)
        left = {*self.record.boot_left, *before.boot_state} - {*self.config.boot_state}
        self.record = replace(self.record, boot_left=tuple(sorted(left)))

    def replace_disks(self, changed: Iterable[DiskRecord]) -> None:
        """Puts changed disks into the record, each in the place of the one of its name and role."""
        new = {(disk.role, disk.name): disk for disk in changed}
        disks = tuple(new.get((disk.role, disk.name), disk) for disk in self.record.disks)
        self.record = replace(self.record, disks=disks)


def write_edits(edits: Edits, vm: VmFacts, forced: bool = False, patience: int = 60) -> Plan[VmFacts]:
    """The plan that makes the edits. The guest first, which may refuse; the record last, so that what a killed run
    left undone still shows as a difference. `patience` is how long (s) a guest may take to let a device go.
    """
    if edits.touches_nothing_of(vm):
        return Plan(tuple(edits.changes), predicted=vm)
    config = altered(edits.config, record=edits.record)
    steps = list(edits.first)
    live = None
    if vm.is_active and vm.live is not None and edits.live is not None:
        live = altered(edits.live, record=edits.record)
        steps += live_steps(vm.live, live, forced, patience)
    for disk in edits.grown:
        if vm.is_active:
            steps.append(ResizeDisk(vm.id, disk.target, disk.size))
        else:
            steps.append(GrowVolume(disk.pool, disk.volume, disk.size))
    steps += edits.last
    if edits.config != vm.config:
        # A running VM has its record twice, and only SetRecord writes both: no run may end between the two.
        steps.append(RedefineVm(vm.config, replace(config, record=vm.record) if live else config))
    if edits.record != vm.record:
        steps.append(SetRecord(vm.id, edits.record))
    return Plan(tuple(edits.changes), tuple(steps), predicted=altered(vm, config=config, live=live))


def snapshots_exist(vm: VmFacts, what: str, found: tuple[str, ...] = ()) -> AblestackError:
    """Said where a VM snapshot stands in the way; `found` are libvirt's own, which others may have made."""
    names = list(vm.record.snapshots if vm.record else ()) or list(found)
    return AblestackError(
        Code.SNAPSHOTS_EXIST,
        f"VM '{vm.name}' has VM snapshots ({', '.join(names)}), so {what}",
        "delete them with ablestack_vm_snapshot first",
        snapshots=names,
    )


def live_steps(have: VmConfig, wanted: VmConfig, forced: bool, patience: int) -> list[Step]:
    """In an order that fits: what goes makes room for what comes, and memory comes before processors.

    `forced` opens a CD drive that the guest has locked; `patience` is how long (s) a guest may take to let a device go.
    """
    steps: list[Step] = []
    if wanted.memory != have.memory:
        steps.append(SetMemory(have.id, wanted.memory))
    if wanted.cpu != have.cpu:
        steps.append(SetCpus(have.id, wanted.cpu))
    steps += _disks_and_media(have, wanted, forced, patience)
    steps += _nics(have, wanted, patience)
    return steps


def _disks_and_media(have: VmConfig, wanted: VmConfig, forced: bool, patience: int) -> Iterator[Step]:
    for old in have.disks:
        new = wanted.disk(old.target)
        if old.kind == "disk" and (new is None or new.path != old.path):
            yield DetachDisk(have.id, old, patience)
    for new in wanted.disks:
        old_disk = have.disk(new.target)
        if new.kind != "disk":
            if old_disk and old_disk.path != new.path:
                yield ChangeMedia(have.id, new, forced)
        elif old_disk is None or old_disk.path != new.path:
            yield AttachDisk(have.id, new)
        elif old_disk.max_iops != new.max_iops:
            yield TuneDisk(have.id, new)


def _nics(have: VmConfig, wanted: VmConfig, patience: int) -> Iterator[Step]:
    old = {nic.mac: nic for nic in have.nics}
    new = {nic.mac: nic for nic in wanted.nics}
    for mac, nic in old.items():
        if mac not in new:
            yield DetachNic(have.id, nic, patience)
    for mac, nic in new.items():
        if mac not in old:
            yield AttachNic(have.id, nic)
        elif old[mac].network != nic.network:
            yield UpdateNic(have.id, nic)
