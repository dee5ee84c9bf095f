# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to a VM that exists: what differs, what it costs, and what has to be known of its host (SEMANTICS 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.errors import AblestackError, Code
from ..model.plan_parts import LIVE, NEXT_BOOT, RESTART, Change
from ..model.seed_content import SeedContent
from ..model.values import UNSET, altered
from ..model.vm import MEMORY_BLOCK, VmConfig, VmFacts, VmRecord
from ..model.vm_spec import DiskSpec
from .change_disks import change_data_disks, change_iso, change_root, match_disks, sized_otherwise
from .change_nics import are_as_wanted, change_nics, match_nics
from .deploy import boot_of, pair_keys
from .edits import Edits, snapshots_exist
from .lifecycle import names_of, record_of
from .offering import Compute, compute_of
from .power import memory_saved
from .reinstall import origin_of, reinstalls
from .request import VmRequest
from .steps import SetAutostart, WriteSeed


@dataclass(frozen=True)
class Needs:
    """Data disks and networks to look up, the addresses in use, an ISO, the template, firmware, snapshots.

    `own` are volumes the VM has itself, by pool and name, of which more has to be known than its record tells.
    `root_pool` is where a new root disk is to be made, for which the template must be Ready.
    """

    disks: tuple[DiskSpec, ...] = ()
    networks: tuple[str, ...] = ()
    iso: str = ""
    template: str = ""
    firmware: bool = False
    snapshots: bool = False
    root_pool: str = ""
    own: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())


def needs_of(request: VmRequest, vm: VmFacts) -> Needs:
    """For a VM of ours that exists."""
    spec, record = request.spec, vm.record
    if record is None:
        return Needs()
    disks = match_disks(spec.data_disks, vm) if spec.data_disks is not UNSET else None
    sized = spec.root_disk_size or spec.root_disk_offering or any(_says_more(disk) for disk in spec.data_disks or ())
    networks = _networks_needed(request, vm)
    drive = record.disk("iso")
    boots = _boots_otherwise(request, vm.config)
    again = reinstalls(request, vm)
    needs = Needs(
        disks=disks.new if disks else (),
        networks=networks,
        iso=spec.attached_iso if spec.attached_iso and drive and drive.name != spec.attached_iso else "",
        template=record.template if boots else "",
        firmware=boots,
        snapshots=bool(networks or sized or (disks and (disks.new or disks.gone))),
        own=tuple((disk.pool, disk.volume) for disk in sized_otherwise(request, vm)) if sized and not again else (),
    )
    if not again:
        return needs
    template, iso = origin_of(request, record)
    root = record.disk("root")
    offered = request.catalog.disk_offering(spec.root_disk_offering).pool if spec.root_disk_offering else ""
    pool = offered or (root.pool if root else vm.host.pool)
    own = dict.fromkeys([*([(root.pool, root.volume)] if root else []), (pool, names_of(vm).root_volume)])
    return replace(
        needs,
        template=template,
        iso=iso or needs.iso,
        firmware=True,
        snapshots=True,
        root_pool=pool,
        own=tuple(own),
    )


def _says_more(disk: DiskSpec) -> bool:
    numbers = (disk.size, disk.min_iops, disk.max_iops, disk.device)
    return bool(disk.offering) or any(number is not None for number in numbers)


def _networks_needed(request: VmRequest, vm: VmFacts) -> tuple[str, ...]:
    """Those of the wanted NICs, those they leave, and those of fixed addresses that go, where anything differs."""
    wanted = request.spec.networks
    if wanted is UNSET or are_as_wanted(wanted, vm):
        return ()
    matches, gone = match_nics(wanted, vm)
    same_order = [match.have for match in matches] == list(vm.config.nics)
    same_model = all(match.have and match.spec.model in ("", match.have.model) for match in matches)
    if same_order and same_model and not gone and not any(match.moves for match in matches):
        return ()
    fixed = [nic.network for nic in (vm.record.nics if vm.record else ()) if nic.ip]
    left = [match.have.network for match in matches if match.have and match.have.network]
    return tuple(dict.fromkeys([*(match.spec.network for match in matches), *fixed, *left]))


def compare(request: VmRequest, vm: VmFacts) -> Edits:
    """All differences between the spec and a VM of ours that exists; a left-out option never counts."""
    spec = request.spec
    edits = Edits(record_of(vm), vm.config, vm.live if vm.is_active else None)
    _refuse_other_origin(request, vm, edits)
    _labels_and_flags(request, vm, edits)
    _compute(request, vm, edits)
    change_root(request, vm, edits)
    change_data_disks(request, vm, edits)
    change_nics(request, vm, edits)
    change_iso(request, edits)
    _boot(request, vm, edits)
    _seed(request, vm, edits)
    found = request.home.snapshots if request.home else ()
    if edits.touches_hardware and (edits.record.snapshots or found):
        edits.refusals.append(snapshots_exist(vm, "its disks and NICs are not changed", found))
    if (
        vm.saved
        and not (spec.state == "stopped" and spec.forced)
        and (edits.touches_hardware or edits.config != vm.config)
    ):
        edits.refusals.append(memory_saved(vm, "its disks, NICs and definition are not changed"))
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
                    "leave the placement out, or move it with ablestack_vm_migrate",
                )
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
        edits.first.append(SetAutostart(vm.id, spec.autostart))


def _compute(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
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
        record.scaling_chosen,
    )
    wanted = compute_of(spec, request.catalog, current)
    if wanted == current:
        return
    for name, live in (("cpu", _cpu_grows(edits, wanted)), ("memory", _memory_grows(edits, wanted))):
        if getattr(wanted, name) != getattr(config, name):
            impact = LIVE if live else RESTART
            edits.changes.append(Change(name, getattr(config, name), getattr(wanted, name), impact))
    if wanted.offering != record.compute_offering:
        _refuse_without_tags(wanted, vm)
        edits.changes.append(Change("compute_offering", record.compute_offering, wanted.offering, LIVE))
    if wanted.dynamic_scaling != record.dynamic_scaling:
        edits.changes.append(Change("dynamic_scaling", record.dynamic_scaling, wanted.dynamic_scaling, NEXT_BOOT))
    for name, of in (("max_cpu", "cpu"), ("max_memory", "memory")):
        own, new = getattr(config, name), getattr(wanted, name)
        roomless = (own, new) == (getattr(config, of), getattr(wanted, of))  # then it says the same again
        if own != new and not roomless:
            edits.changes.append(Change(name, own, new, NEXT_BOOT))
    edits.record = altered(
        record,
        compute_offering=wanted.offering,
        dynamic_scaling=wanted.dynamic_scaling,
        scaling_chosen=wanted.scaling_chosen,
    )
    edits.config = altered(
        config, cpu=wanted.cpu, memory=wanted.memory, max_cpu=wanted.max_cpu, max_memory=wanted.max_memory
    )
    if edits.live is not None and not edits.needs_power_off:
        # What the definition has already, and the guest has not, waits for the next start.
        differ = [name for name in ("cpu", "memory") if getattr(wanted, name) != getattr(config, name)]
        grown = {name: max(getattr(wanted, name), getattr(edits.live, name)) for name in differ}
        edits.live = altered(edits.live, **grown)


def _refuse_without_tags(wanted: Compute, vm: VmFacts) -> None:
    """An offering for hosts of a kind is for VMs on such hosts: where it is now, the VM does not get it."""
    missing = [tag for tag in wanted.host_tags if tag not in vm.host.tags]
    if missing:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"compute offering '{wanted.offering}' needs a host tagged {', '.join(missing)}, and VM '{vm.name}' is on"
            f" '{vm.host.name}', which is not",
            "move the VM with ablestack_vm_migrate first, or choose another offering",
        )


def _cpu_grows(edits: Edits, wanted: Compute) -> bool:
    """Whether the running guest can have the processors: it was started with room for them."""
    live = edits.live
    return live is not None and edits.record.dynamic_scaling and live.cpu <= wanted.cpu <= live.max_cpu


def _memory_grows(edits: Edits, wanted: Compute) -> bool:
    """The same of memory, which grows in whole blocks."""
    live = edits.live
    if live is None or not edits.record.dynamic_scaling:
        return False
    return live.memory <= wanted.memory <= live.max_memory and (wanted.memory - live.memory) % MEMORY_BLOCK == 0


def _boots_otherwise(request: VmRequest, config: VmConfig) -> bool:
    """Whether firmware or TPM are asked for that the VM does not have."""
    spec = request.spec
    if spec.boot_type is UNSET and spec.boot_mode is UNSET and spec.tpm is UNSET:
        return False
    given = ((spec.boot_type, config.boot_type), (spec.boot_mode, config.boot_mode), (spec.tpm, config.tpm))
    return any(wanted is not UNSET and wanted != own for wanted, own in given)


def _boot(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """Firmware, mode and TPM: the survey has refused what the host cannot do, here the template is asked."""
    spec, config = request.spec, edits.config
    if not _boots_otherwise(request, vm.config):
        return
    asked = replace(
        spec,
        # Of two options that go together, one given alone leaves the other as it is where that is possible.
        boot_type=spec.boot_type or ("uefi" if spec.boot_mode == "secure" else config.boot_type),
        boot_mode=spec.boot_mode or ("legacy" if spec.boot_type == "bios" else config.boot_mode),
    )
    boot_type, boot_mode = boot_of(asked, request.home.template if request.home else None)
    tpm = spec.tpm if isinstance(spec.tpm, bool) else config.tpm
    for name, own, wanted in (
        ("boot_type", config.boot_type, boot_type),
        ("boot_mode", config.boot_mode, boot_mode),
        ("tpm", config.tpm, tpm),
    ):
        if own != wanted:
            edits.changes.append(Change(name, own, wanted, RESTART))
    edits.boot_by(boot_type, boot_mode, tpm)


def _seed(request: VmRequest, vm: VmFacts, edits: Edits) -> None:
    """Changed user data, keys or NICs go onto the seed; the guest reads it when it next boots."""
    spec, digests, record = request.spec, request.digests, edits.record
    seed = record.disk("seed")
    new_pairs, new_keys = _other_keys(request, record)
    new_data = spec.user_data is not UNSET and digests.user_data != record.user_data_digest
    new_nics = edits.seed_nics is not None
    if seed is None or not (new_pairs or new_keys or new_data or new_nics):
        return
    if new_data:
        edits.changes.append(Change("user_data", "(before)", "(changed)", NEXT_BOOT))
        edits.record = replace(edits.record, user_data_digest=digests.user_data)
    if new_pairs:
        pairs = spec.ssh_key_pairs or ()
        edits.changes.append(Change("ssh_key_pairs", list(record.ssh_key_pairs), list(pairs), NEXT_BOOT))
        edits.record = replace(edits.record, ssh_key_pairs=pairs, key_pairs_digest=digests.key_pairs, keys_digest="")
    if new_keys:
        edits.changes.append(Change("ssh_public_keys", "(before)", "(changed)", NEXT_BOOT))
        edits.record = replace(edits.record, public_keys_digest=digests.public_keys, keys_digest="")
    renewed = {"pair_keys": new_pairs, "public_keys": new_keys, "nics": new_nics, "user_data": new_data}
    content = SeedContent(
        vm.id,
        names_of(vm).domain,
        tuple(spec.ssh_public_keys or ()),
        edits.seed_nics or (),
        spec.user_data or "",
        pair_keys(request),
    )
    keep = tuple(name for name, new in renewed.items() if not new)
    known = request.catalog.ssh_key_pairs
    old_keys = tuple(known[name] for name in record.ssh_key_pairs if name in known)
    if edits.live is not None and any(change.impact == NEXT_BOOT for change in edits.changes):
        edits.config = replace(edits.config, seeds=edits.config.seeds + 1)
    # A new VM's seed keeps nothing, so something has to be kept for an old one to be known as such.
    edits.first.append(WriteSeed(seed.pool, seed.volume, content, keep or ("hostname",), edits.seed_kept, old_keys))


def _other_keys(request: VmRequest, record: VmRecord) -> tuple[bool, bool]:
    """Whether key pairs, and whether literal keys are given that the VM does not have."""
    spec, digests = request.spec, request.digests
    pairs, keys = spec.ssh_key_pairs is not UNSET, spec.ssh_public_keys is not UNSET
    if record.keys_digest:
        other = digests.keys != record.keys_digest
        return pairs and other, keys and other
    return (
        pairs and digests.key_pairs != record.key_pairs_digest,
        keys and digests.public_keys != record.public_keys_digest,
    )
