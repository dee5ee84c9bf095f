# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to a VM that exists: what differs, what each difference costs, and the edits that end it (SEMANTICS 4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..model.errors import AblestackError, Code, invalid
from ..model.plan_parts import LIVE, NEXT_BOOT, RESTART, Change, Step
from ..model.seed_content import SeedContent
from ..model.values import UNSET, gib
from ..model.vm import VmConfig, VmFacts, VmRecord
from .deploy import public_keys
from .lifecycle import names_of, record_of
from .offering import Compute, compute_of
from .request import VmRequest
from .steps import GrowVolume, SetAutostart, WriteSeed


@dataclass
class Edits:
    """What the differences add up to: the record and definition to be, and steps beside writing those."""

    record: VmRecord
    config: VmConfig
    changes: list[Change] = field(default_factory=list)
    refusals: list[AblestackError] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def needs_power_off(self) -> bool:
        """Whether any difference cannot be made under a running guest."""
        return any(change.impact == RESTART for change in self.changes)


def compare(request: VmRequest, vm: VmFacts) -> Edits:
    """All differences between the spec and a VM of ours that exists; a left-out option never counts."""
    edits = Edits(record_of(vm), vm.config)
    _refuse_other_origin(request, vm, edits)
    _refuse_what_is_not_done_yet(request, vm, edits)
    _labels_and_flags(request, vm, edits)
    _compute(request, edits)
    _root_disk(request, vm, edits)
    _seed(request, vm, edits)
    return edits


def _refuse_other_origin(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """Another template or place is not a change of this VM; silence about it would be a lie."""
    spec, record = request.spec, edits.record
    for what, wanted, own in (("template", spec.template, record.template), ("iso", spec.iso, record.iso)):
        if wanted and wanted != own:
            made = f"{what} '{own}'" if own else ("an ISO" if record.iso else "a template")
            edits.refusals.append(
                AblestackError(
                    Code.INVALID_STATE,
                    f"VM '{vm.name}' was made from {made}, not from {what} '{wanted}'",
                    "use state: reinstalled to give it a new root disk, or another name for a new VM",
                )
            )
    for what in ("zone", "pod", "cluster", "host"):
        wanted = getattr(spec, what)
        own = vm.host.name if what == "host" else getattr(vm.host, what)
        if wanted and wanted != own:
            edits.refusals.append(
                AblestackError(
                    Code.INVALID_STATE,
                    f"VM '{vm.name}' is on {what} '{own}', not on '{wanted}'",
                    "move it with ablestack_vm_migrate, or leave the placement out",
                )
            )


def _refuse_what_is_not_done_yet(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """A wish that nothing would come of is an error, never silence."""
    spec, config = request.spec, vm.config
    iso = edits.record.disk("iso")
    have = {
        "data_disks": sorted(disk.name for disk in edits.record.data_disks),
        "networks": [nic.network for nic in config.nics],
        "attached_iso": iso.name if iso else "",
        "boot_type": config.boot_type,
        "boot_mode": config.boot_mode,
        "tpm": config.tpm,
    }
    wanted = {
        "data_disks": sorted(disk.name for disk in spec.data_disks or ()),
        "networks": [nic.network for nic in spec.networks or ()],
    }
    for what, own in have.items():
        given = getattr(spec, what)
        if given is not UNSET and wanted.get(what, given) != own:
            edits.refusals.append(
                AblestackError(Code.UNSUPPORTED, f"{what} of VM '{vm.name}' cannot be changed yet", "leave it out")
            )


def _labels_and_flags(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    spec = request.spec
    for name in ("display_name", "group", "labels", "protected", "affinity_groups"):
        wanted, own = getattr(spec, name), getattr(edits.record, name)
        if wanted is UNSET or wanted == own:
            continue
        if name == "affinity_groups":
            for group in wanted:
                request.catalog.affinity_group(group)
        edits.record = replace(edits.record, **{name: wanted})
        plain = dict if name == "labels" else (list if name == "affinity_groups" else lambda value: value)
        edits.changes.append(Change(name, plain(own), plain(wanted), LIVE))
    if isinstance(spec.autostart, bool) and spec.autostart != edits.record.autostart:
        edits.changes.append(Change("autostart", edits.record.autostart, spec.autostart, LIVE))
        edits.record = replace(edits.record, autostart=spec.autostart)
        edits.steps.append(SetAutostart(vm.id, spec.autostart))


def _compute(request: VmRequest, edits: Edits) -> None:
    spec, config, record = request.spec, edits.config, edits.record
    if not (spec.compute_offering or spec.cpu or spec.memory) and spec.dynamic_scaling is UNSET:
        return
    current = Compute(
        record.compute_offering,
        config.cpu,
        config.memory,
        config.max_cpu,
        config.max_memory,
        record.dynamic_scaling,
    )
    wanted = compute_of(spec, request.catalog, current)
    for name in ("cpu", "memory"):
        if getattr(wanted, name) != getattr(config, name):
            edits.changes.append(Change(name, getattr(config, name), getattr(wanted, name), RESTART))
    if wanted.offering != record.compute_offering:
        edits.changes.append(Change("compute_offering", record.compute_offering, wanted.offering, LIVE))
    if wanted.dynamic_scaling != record.dynamic_scaling:
        edits.changes.append(Change("dynamic_scaling", record.dynamic_scaling, wanted.dynamic_scaling, NEXT_BOOT))
    edits.record = replace(record, compute_offering=wanted.offering, dynamic_scaling=wanted.dynamic_scaling)
    edits.config = replace(
        config, cpu=wanted.cpu, memory=wanted.memory, max_cpu=wanted.max_cpu, max_memory=wanted.max_memory
    )


def _root_disk(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    spec, record = request.spec, edits.record
    root = record.disk("root")
    wanted = spec.root_disk_size or 0
    offering = request.catalog.disk_offering(spec.root_disk_offering) if spec.root_disk_offering else None
    wanted = (offering.size if offering else 0) or wanted
    if root is None or not wanted:
        return
    if wanted < root.size:
        raise invalid(
            f"root disk of VM '{vm.name}' has {gib(root.size)} GiB and cannot shrink to {gib(wanted)} GiB",
            "disks only grow: ask for at least what it has",
        )
    if wanted == root.size:
        return
    if record.snapshots:
        edits.refusals.append(snapshots_exist(vm, "its root disk is not resized"))
    edits.changes.append(Change("root_disk_size", gib(root.size), gib(wanted), RESTART))
    edits.steps.append(GrowVolume(root.pool, root.volume, wanted))
    grown = tuple(replace(disk, size=wanted) if disk is root else disk for disk in record.disks)
    edits.record = replace(record, disks=grown)


def _seed(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """Changed user data or keys go onto the seed; the guest reads it when it next boots."""
    spec, digests, record = request.spec, request.digests, edits.record
    seed = record.disk("seed")
    gives_keys = spec.ssh_key_pairs is not UNSET or spec.ssh_public_keys is not UNSET
    new_keys = gives_keys and digests.keys != record.keys_digest
    new_data = spec.user_data is not UNSET and digests.user_data != record.user_data_digest
    if seed is None or not (new_keys or new_data):
        return
    keep = ["nics"]
    if new_data:
        edits.changes.append(Change("user_data", "(before)", "(changed)", NEXT_BOOT))
    else:
        keep.append("user_data")
    if new_keys:
        pairs = list(spec.ssh_key_pairs or ())
        edits.changes.append(Change("ssh_keys", list(record.ssh_key_pairs), pairs, NEXT_BOOT))
    else:
        keep.append("public_keys")
    content = SeedContent(
        vm.id, names_of(vm).domain, public_keys(request) if new_keys else (), (), spec.user_data or ""
    )
    edits.steps.append(WriteSeed(seed.pool, seed.volume, content, tuple(keep)))
    edits.record = replace(
        record,
        ssh_key_pairs=spec.ssh_key_pairs or () if new_keys else record.ssh_key_pairs,
        keys_digest=digests.keys if new_keys else record.keys_digest,
        user_data_digest=digests.user_data if new_data else record.user_data_digest,
    )


def snapshots_exist(vm: VmFacts, what: str) -> AblestackError:
    """Said where a VM snapshot stands in the way (SEMANTICS 4)."""
    names = list(vm.record.snapshots) if vm.record else []
    return AblestackError(
        Code.SNAPSHOTS_EXIST,
        f"VM '{vm.name}' has VM snapshots, so {what}",
        "delete them with ablestack_vm_snapshot first",
        snapshots=names,
    )
