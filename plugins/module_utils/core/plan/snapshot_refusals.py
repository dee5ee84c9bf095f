# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a snapshot is not taken or restored, in sentences (SEMANTICS 5)."""

from __future__ import annotations

from ..model.errors import AblestackError, Code
from ..model.snapshot import DISK, MEMORY, MIN_AGENT, SnapshotFacts, SnapshotWorld
from ..model.vm import Phase, Power, VmFacts


def refuse_unsettled(vm: VmFacts) -> None:
    """A VM that is being deployed, changed or shut down has no state worth keeping."""
    if vm.phase is not Phase.SETTLED:
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' is between two states ({vm.phase.value})",
            "run the task that began it again, then this one",
        )
    if vm.power is Power.SHUTDOWN:
        raise AblestackError(Code.INVALID_STATE, f"VM '{vm.name}' is going down", "wait until it is stopped")


def refuse_foreign_disks(world: SnapshotWorld) -> None:
    """A snapshot has all disks or none, so there may be none that we do not know."""
    known = {disk.target for disk in world.disks}
    for disk in world.vm.config.disks:
        if disk.kind == "disk" and disk.target not in known:
            raise AblestackError(
                Code.UNSUPPORTED,
                f"disk {disk.target} of VM '{world.vm.name}' was attached by another tool, so no snapshot can have it",
                "detach it, or attach it as a data disk",
            )


def refuse_half_plugged(vm: VmFacts) -> None:
    """A guest that let go of a disk only after we gave up waiting, or a killed task, leaves it in one definition."""
    if not vm.is_active or vm.live is None:
        return
    stored, running = ({disk.target for disk in one.disks} for one in (vm.config, vm.live))
    for target in sorted({*stored, *running}):
        if (target in stored) is not (target in running):
            where = "is still in the definition of" if target in stored else "is not in the definition of"
            raise AblestackError(
                Code.INVALID_STATE,
                f"disk {target} {where} VM '{vm.name}', and its running guest "
                + ("does not have it" if target in stored else "has it"),
                "run the task that changed its disks again, or stop and start the VM",
            )


def too_many(world: SnapshotWorld, limit: int) -> AblestackError | None:
    """None is ever pruned: the user decides which one goes."""
    if len(world.snapshots) < limit:
        return None
    names = [snapshot.name for snapshot in world.snapshots]
    return AblestackError(
        Code.INVALID_STATE,
        f"VM '{world.vm.name}' has {len(names)} VM snapshots, and max_vm_snapshots is {limit}",
        "delete one, or raise max_vm_snapshots in the settings of the catalog",
        snapshots=names,
    )


def exists_otherwise(world: SnapshotWorld, found: SnapshotFacts) -> AblestackError:
    """The name is taken by a snapshot without memory."""
    return AblestackError(
        Code.ALREADY_EXISTS,
        f"snapshot '{found.name}' of VM '{world.vm.name}' is there, without the memory",
        "choose another name, or delete it first",
    )


def wrong_kind(world: SnapshotWorld) -> AblestackError | None:
    """An overlay on top would hide the checkpoints, which lie in the images below."""
    names = [snapshot.name for snapshot in world.snapshots if snapshot.kind != DISK]
    if not names:
        return None
    return AblestackError(
        Code.INVALID_STATE,
        f"VM '{world.vm.name}' has snapshots with memory ({', '.join(names)}), and one of the disks alone would keep "
        "them from being restored",
        "take one with memory: true, or delete those first",
        snapshots=names,
    )


def memory_refusal(world: SnapshotWorld) -> AblestackError | None:
    """What keeps a snapshot with memory from being taken, or from being restored later."""
    vm = world.vm
    names = [snapshot.name for snapshot in world.snapshots if snapshot.kind == DISK]
    if not vm.is_active:
        return AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' is stopped, so there is no memory to keep",
            "start it, or leave memory out",
        )
    if names:
        return AblestackError(
            Code.INVALID_STATE,
            f"VM '{vm.name}' has snapshots of its disks ({', '.join(names)}), and restoring one of them would lose a "
            "snapshot with memory",
            "leave memory out, or delete those first",
            snapshots=names,
        )
    if vm.config.boot_type == "uefi":
        return AblestackError(
            Code.UNSUPPORTED,
            f"VM '{vm.name}' boots by UEFI, and a snapshot with memory of it needs libvirt 10.10 and firmware "
            "variables in a qcow2 file, which our VMs do not have",
            "leave memory out",
        )
    if vm.config.tpm:
        return AblestackError(
            Code.UNSUPPORTED,
            f"VM '{vm.name}' has a TPM, whose state libvirt keeps in no snapshot with memory",
            "leave memory out",
        )
    for disk in vm.config.disks:
        if disk.kind == "disk" and disk.format != "qcow2":
            return AblestackError(
                Code.UNSUPPORTED,
                f"disk {disk.target} of VM '{vm.name}' is {disk.format}, and only qcow2 can hold memory",
                "leave memory out",
            )
    return None


def agent_refusal(world: SnapshotWorld, wish: str) -> AblestackError | None:
    """With `quiesce: true` a running guest that cannot be frozen is an error."""
    if wish != "true" or not world.vm.is_active:
        return None
    agent, least = world.agent, ".".join(str(number) for number in MIN_AGENT)
    if agent is None:
        why = "its guest agent does not answer"
    elif not agent.is_new_enough:
        why = f"its guest agent is of version {agent.version}, and {least} is needed"
    elif not agent.freezes:
        why = "its guest agent may not freeze"
    else:
        return None
    return AblestackError(
        Code.AGENT_UNAVAILABLE,
        f"VM '{world.vm.name}' cannot be quiesced: {why}",
        "see to qemu-guest-agent in the guest, or set quiesce: auto",
    )


def missing(world: SnapshotWorld, name: str) -> AblestackError:
    """There is no such snapshot."""
    names = [snapshot.name for snapshot in world.snapshots]
    return AblestackError(
        Code.NOT_FOUND,
        f"VM '{world.vm.name}' has no snapshot '{name}'",
        f"it has: {', '.join(names) or 'none'}",
        snapshots=names,
    )


def runs(world: SnapshotWorld) -> AblestackError:
    """A restore under a running guest would pull the disks from under it."""
    return AblestackError(
        Code.INVALID_STATE,
        f"VM '{world.vm.name}' is running, and a snapshot is restored only while it is stopped",
        "stop it first with ablestack_vm and state: stopped",
    )


def not_restorable(world: SnapshotWorld, found: SnapshotFacts) -> AblestackError | None:
    """A snapshot that another tool made in a way we do not know, or whose images are gone."""
    if found.kind == MEMORY and not found.images:
        return None
    images = dict(found.images)
    lost = [disk.target for disk in world.disks if images.get(disk.target) not in disk.layers]
    if found.kind == DISK and not lost and len(images) == len(world.disks):
        return None
    return AblestackError(
        Code.UNSUPPORTED,
        f"snapshot '{found.name}' of VM '{world.vm.name}' was not made by this collection, or its images are gone"
        + (f" (disk {', '.join(lost)})" if lost else ""),
        "restore it with the tool that made it",
    )
