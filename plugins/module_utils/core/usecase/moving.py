# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a migration, each at its host, and what of it concerns two hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.plan_parts import Step
from ..model.resources import VolumeFacts, VolumeSpec
from ..model.vm import VmConfig
from ..plan import migrate as verbs
from .digest import Digest
from .execute import execute
from .holding import leave_mark
from .infrastructure import Infrastructure

_LOOKS = 3  # at a file that is being written, before we give up telling which it is


def execute_at(infra: Infrastructure, steps: Iterable[Step]) -> None:
    """Runs the steps in order, each at its host."""
    for at in steps:
        if not isinstance(at, verbs.At):
            raise AblestackError(Code.INTERNAL, f"a step of a migration names no host: {type(at).__name__}")
        host, step = infra.host(at.host), at.step
        if type(step) in _DO:
            _DO[type(step)](infra, host, step)
        else:
            execute(host, (step,))


def is_same_file(here: Host, there: Host, pool: str, name: str) -> bool:
    """Whether two hosts mean the same file by a volume: one they share. A file tells by when it last changed.

    NotFound where the first host has no such volume, Conflict where it changes all the time.
    """
    for _look in range(_LOOKS):
        other = there.fresh_volume(pool, name)
        before = _volume(here, pool, name)
        if other is None or other.path != before.path:
            return False
        after = _volume(here, pool, name)
        if other.changed in (before.changed, after.changed):
            return True
        if before.changed == after.changed:
            return False
    raise AblestackError(
        Code.CONFLICT,
        f"volume '{name}' of pool '{pool}' is written to all the time, so it cannot be told whether hosts"
        f" '{here.spec.name}' and '{there.spec.name}' share it",
        "try again while the VM is less busy, or stop it first",
    )


def _volume(host: Host, pool: str, name: str) -> VolumeFacts:
    found = host.fresh_volume(pool, name)
    if found is None:
        raise AblestackError(
            Code.NOT_FOUND,
            f"pool '{pool}' on host '{host.spec.name}' has no volume '{name}'",
            "bring it back, or take the disk out of the VM",
            pool=pool,
            volume=name,
        )
    return found


def _copy_volume(infra: Infrastructure, host: Host, step: verbs.CopyVolume) -> None:
    """The file as it is, whatever format it has; it stands on the same template there."""
    source = infra.host(step.source)
    sent = Digest()
    size = _volume(source, step.pool, step.volume).file_size
    host.create_volume(VolumeSpec(step.pool, step.volume, size, format="raw"))
    host.upload(step.pool, step.volume, sent.passing(source.download(step.pool, step.volume)))
    got = Digest().drain(host.download(step.pool, step.volume))
    if got.checksum() != sent.checksum():
        raise AblestackError(
            Code.CHECKSUM_MISMATCH,
            f"volume '{step.volume}' arrived on host '{host.spec.name}' with another content",
            "run the task again; if that does not help, check the storage of both hosts",
        )


def _copy_state(infra: Infrastructure, host: Host, step: verbs.CopyState) -> None:
    files = infra.host(step.source).firmware_state(step.config, step.kinds)
    have = _changes(host, step.config, step.kinds)
    missing = tuple(file for file in files if have.get((file.folder, file.name)) != file.changed)
    if missing:
        host.put_firmware_state(step.config, missing)


def _drop_copy(infra: Infrastructure, host: Host, step: verbs.DropCopy) -> None:
    """Never the only file of it, and never one that both hosts have."""
    if host.fresh_volume(step.pool, step.volume) is None:
        return
    if not is_same_file(host, infra.host(step.other), step.pool, step.volume):
        _volume(infra.host(step.other), step.pool, step.volume)
        host.delete_volume(step.pool, step.volume)


def _drop_state(infra: Infrastructure, host: Host, step: verbs.DropState) -> None:
    ours = host.firmware_state(step.config, step.kinds)
    theirs = _changes(infra.host(step.other), step.config, step.kinds) if ours else {}
    surplus = tuple(file for file in ours if theirs.get((file.folder, file.name), file.changed) != file.changed)
    if surplus:
        host.drop_firmware_state(step.config, surplus)


def _changes(host: Host, config: VmConfig, kinds: tuple[str, ...]) -> dict[tuple[str, str], str]:
    return {(file.folder, file.name): file.changed for file in host.firmware_state(config, kinds)}


_DO: dict[type, Callable[[Infrastructure, Host, Any], None]] = {
    verbs.SetOut: lambda _infra, host, step: leave_mark(host, step.seen, step.mark),
    verbs.HandOver: lambda _infra, host, step: host.move(step.vm_id, step.transfer),
    verbs.CopyVolume: _copy_volume,
    verbs.CopyState: _copy_state,
    verbs.DropCopy: _drop_copy,
    verbs.DropState: _drop_state,
    verbs.Forget: lambda _infra, host, step: host.undefine(step.vm_id, keep_state=True),
}
