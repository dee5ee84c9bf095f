# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots through libvirt: taken, restored and forgotten, and the merges of what is left.

Everything here works alike from libvirt 9.0 on; why it is done this way is told in docs/design/snapshots.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, Callable

from ..model.errors import AblestackError, Code
from ..model.naming import disk_target
from ..model.snapshot import OVERLAY_HEAD, Agent, Merge, SnapshotFacts, holds_nothing
from ..model.vm import VmRecord
from ..xml.domain_mapping import domain_of
from ..xml.snapshot_mapping import (
    chain_of,
    continued,
    described,
    disowned,
    is_ready,
    new_checkpoint,
    new_helper,
    new_snapshot,
    read_snapshot,
    recorded,
    relocated,
)
from .libvirt_domains import snapshots_of
from .libvirt_guests import LibvirtGuests
from .libvirt_power import AGENT_RESPONSE
from .libvirt_storage import LibvirtStorage
from .translate import code_of, libvirt

FREEZE_RESPONSE = 10
"""Seconds a guest may take to freeze: it writes out what it still holds. The usual limit returns afterwards.

So long may it take, too, to say whether it can: one under load would else be kept as after a power cut.
"""
_SYNC = 5
"""Seconds after which libvirt gives up its own handshake with an agent that missed a call, whatever it is told."""
THAW_PATIENCE = 20.0
"""Seconds in which a guest that was asked to freeze and did not answer is seen to be thawed."""
JOB_PATIENCE = 300.0
"""Seconds in which a merge has to make some progress."""
_JOB_PAUSES = (0.05, 1.0)  # seconds between two looks at a merge: the first, and the longest


class LibvirtSnapshots(LibvirtGuests, LibvirtStorage):
    """port.Snapshots. A merge ends with an image that reads as before, wherever it is interrupted."""

    def snapshot_facts(self, vm_id: str) -> tuple[SnapshotFacts, ...]:
        domain = self._domain(vm_id)
        with self._asks(f"read the snapshots of {self._vm(vm_id)}"):
            handles = snapshots_of(domain)
            current = _current(domain) if handles else ""
            found = [read_snapshot(handle.getXMLDesc(0), current) for handle in handles]
        return tuple(sorted(found, key=lambda snapshot: snapshot.created))

    def agent(self, vm_id: str, patient: bool = False) -> Agent | None:
        if self.read_only:
            return None  # it is asked by writing to it
        if not patient:
            return self._agent_within(vm_id, AGENT_RESPONSE)
        with self._answering_within(vm_id, _SYNC):  # where none is connected, libvirt says so at once
            tries = (self._agent_within(vm_id, _SYNC) for _try in range(FREEZE_RESPONSE // _SYNC))
            return next(filter(None, tries), None)

    def _agent_within(self, vm_id: str, seconds: int) -> Agent | None:
        try:
            info = self._agent(vm_id, {"execute": "guest-info"}, seconds)
            status = self._agent(vm_id, {"execute": "guest-fsfreeze-status"}, seconds)
            commands = {row.text("name"): row.flag("enabled") for row in info.rows("supported_commands")}
            version = "".join(filter(str.isprintable, info.text("version")))[:40]
        except AblestackError as error:
            if error.code in (Code.AGENT_UNAVAILABLE, Code.UNSUPPORTED, Code.INVALID_STATE):
                return None
            raise
        frozen = status.value == "frozen"
        return Agent(version, frozen, frozen or commands.get("guest-fsfreeze-freeze", False))

    def thaw(self, vm_id: str) -> None:
        self._bound_agent(vm_id)
        with self._asks(f"thaw the file systems of {self._vm(vm_id)}"):
            self._domain(vm_id).fsThaw(None, 0)

    def take_snapshot(
        self,
        vm_id: str,
        name: str,
        description: str,
        overlays: Mapping[str, str],
        others: tuple[str, ...],
        quiesce: bool,
    ) -> None:
        flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT  # they are there already, so the guest need not wait
        text = new_snapshot(name, description, overlays, others)
        domain = self._domain(vm_id)
        with self._asks(f"take snapshot '{name}' of {self._vm(vm_id)}"):
            if not quiesce:
                domain.snapshotCreateXML(text, flags)
                return
            with self._answering_within(vm_id, FREEZE_RESPONSE), self._seen_thawed(vm_id):
                # libvirt's daemon freezes and thaws: that ends well even where this process dies meanwhile
                domain.snapshotCreateXML(text, flags | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE)

    @contextmanager
    def _answering_within(self, vm_id: str, seconds: int) -> Iterator[None]:
        """The agent gets this long meanwhile for what libvirt asks by itself, such as its handshake before a call."""
        self._bound_agent(vm_id)  # else the first call would set the usual limit again
        domain = self._domain(vm_id)
        with suppress(libvirt.libvirtError):  # not every driver has agents
            domain.agentSetResponseTimeout(seconds, 0)
        try:
            yield
        finally:
            with suppress(libvirt.libvirtError):
                domain.agentSetResponseTimeout(AGENT_RESPONSE, 0)

    @contextmanager
    def _seen_thawed(self, vm_id: str) -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError:
            self._see_thawed(vm_id)
            raise

    def _see_thawed(self, vm_id: str) -> None:
        """A guest that took longer than we wait freezes after all, and then nobody thaws it but we."""
        until = monotonic() + THAW_PATIENCE
        while self._power_is_on(vm_id):
            agent = self.agent(vm_id)
            if agent and not agent.frozen:
                return
            with suppress(AblestackError):
                self.thaw(vm_id)
            if monotonic() > until:
                return
            sleep(0.2)

    def take_checkpoint(self, vm_id: str, name: str, description: str) -> None:
        with self._asks(f"take snapshot '{name}' of {self._vm(vm_id)} with its memory"):
            self._domain(vm_id).snapshotCreateXML(new_checkpoint(name, description), 0)

    def restore_checkpoint(self, vm_id: str, name: str, record: VmRecord) -> None:
        # into the definition that comes back: set afterwards, it would be lost where this process dies in between
        self._edit(vm_id, name, lambda text: recorded(text, record))
        with self._asks(f"restore snapshot '{name}' of {self._vm(vm_id)}"):
            domain = self._domain(vm_id)
            domain.revertToSnapshot(domain.snapshotLookupByName(name, 0), libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING)
        self._running[vm_id] = True
        self._bounded.discard(vm_id)
        self._bound_agent(vm_id)

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        self._drop(vm_id, name, 0)

    def forget_snapshot(self, vm_id: str, name: str) -> None:
        # libvirt takes the overlays it knows of a snapshot for merged once that is deleted, and has the descendants
        # stand on the image below, although only the metadata goes: so it must know of none that they stand on
        try:
            self._edit(vm_id, name, disowned)
        except AblestackError as error:
            if error.code is Code.NOT_FOUND:
                return
            raise
        self._drop(vm_id, name, libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)

    def _drop(self, vm_id: str, name: str, flags: int) -> None:
        with self._asks(f"delete snapshot '{name}' of {self._vm(vm_id)}"):
            try:
                self._domain(vm_id).snapshotLookupByName(name, 0).delete(flags)
            except libvirt.libvirtError as error:
                if not code_of(error, "NO_DOMAIN_SNAPSHOT"):
                    raise

    def describe_snapshot(self, vm_id: str, name: str, description: str) -> None:
        self._edit(vm_id, name, lambda text: described(text, description))

    def continue_from(self, vm_id: str, name: str, overlays: Mapping[str, str]) -> None:
        self._edit(vm_id, name, lambda text: continued(text, overlays), make_current=True)

    def relocate_snapshots(self, vm_id: str, moved: Mapping[str, str]) -> None:
        with self._asks(f"read the snapshots of {self._vm(vm_id)}"):
            names = [handle.getName() for handle in snapshots_of(self._domain(vm_id))]
        for name in names:
            self._edit(vm_id, name, lambda text: relocated(text, moved))

    def _edit(self, vm_id: str, name: str, edit: Callable[[str], str | None], make_current: bool = False) -> None:
        """Edits what libvirt keeps of a snapshot; the one the VM goes on from stays that."""
        domain = self._domain(vm_id)
        with self._asks(f"change snapshot '{name}' of {self._vm(vm_id)}"):
            # SECURE, or a console's password would be lost on the way
            handle = domain.snapshotLookupByName(name, 0)
            text = edit(handle.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
            if text is None:
                return
            flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
            if make_current or handle.isCurrent(0):
                flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
            domain.snapshotCreateXML(text, flags)

    def is_untouched(self, pool: str, name: str) -> bool:
        head = b""
        content = self.download(pool, name)
        for chunk in content:
            head += chunk
            if len(head) >= OVERLAY_HEAD:
                break
        return holds_nothing(head)

    def refresh_pools(self, pools: Iterable[str]) -> None:
        for pool in pools:
            with self._asks(f"look through pool '{pool}'"):
                self._refresh(self._pool(pool))

    def merge_layers(self, vm_id: str, merges: tuple[Merge, ...], live: bool) -> None:
        with self._asks(f"merge the images of deleted snapshots of {self._vm(vm_id)}"):
            if live:
                domain = self._domain(vm_id)
                for merge in merges:
                    self._merge(domain, merge.target, merge)
            else:
                with self._helper(vm_id, merges) as helper:
                    for number, merge in enumerate(merges):
                        self._merge(helper, disk_target(number), merge)
        # what libvirt knows of the images is what it saw when it last looked
        self.refresh_pools(dict.fromkeys(merge.pool for merge in merges))

    @contextmanager
    def _helper(self, vm_id: str, merges: tuple[Merge, ...]) -> Iterator[Any]:
        """A domain that has the images open and never runs. QEMU's locks keep the VM itself off them meanwhile."""
        kind = domain_of(self._domain(vm_id).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).type
        disks = {disk_target(number): (merge.top, "qcow2") for number, merge in enumerate(merges)}
        flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
        name = f"ablestack-merge-{vm_id[:8]}"
        self._end_helper(name)
        helper = self._connection.createXML(new_helper(name, kind, disks), flags)
        try:
            yield helper
        finally:
            with suppress(libvirt.libvirtError):
                helper.destroy()

    def _end_helper(self, name: str) -> None:
        """One of a run that was killed: it ends with its connection, but not at once, and not where the daemon has
        restarted since. The merge it was at begins again.
        """
        try:
            left = self._connection.lookupByName(name)
            if not left.isPersistent():  # else it is somebody's domain
                left.destroy()
        except libvirt.libvirtError as error:
            if not code_of(error, "NO_DOMAIN", "OPERATION_INVALID"):  # it has just ended
                raise

    def _merge(self, domain: Any, target: str, merge: Merge) -> None:
        self._end_job(domain, target)  # that a killed run left
        chain = chain_of(domain.XMLDesc(0), target)
        if merge.layer not in chain or merge.into not in chain:
            return
        if merge.layer == chain[0]:
            domain.blockCommit(target, merge.into, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
        else:
            domain.blockCommit(target, merge.into, merge.layer, 0, 0)
        self._end_job(domain, target)
        if merge.layer in chain_of(domain.XMLDesc(0), target):
            raise AblestackError(
                Code.INTERNAL,
                f"host '{self.spec.name}' did not merge '{merge.layer}' into '{merge.into}'",
                "nothing is lost; see the log of libvirt on the host, and run the task again",
            )

    def _end_job(self, domain: Any, target: str) -> None:
        """Waits for the disk's merge, as long as it goes on; one of the active image goes over to that below.

        InUse where another tool is at work on the disk: what becomes of its job is for that to say.
        """
        pause, longest = _JOB_PAUSES
        seen, since = None, monotonic()
        while job := domain.blockJobInfo(target, 0):
            if job["type"] not in _merges():
                raise AblestackError(
                    Code.IN_USE,
                    f"disk {target} is being copied by another tool on host '{self.spec.name}'",
                    "wait for that to end, or end it there (virsh blockjob), and run the task again",
                )
            if job != seen:
                seen, since = job, monotonic()
            elif monotonic() > since + JOB_PATIENCE:
                raise AblestackError(
                    Code.TIMEOUT,
                    f"the merge of disk {target} on host '{self.spec.name}' has come to a standstill",
                    "nothing is lost; see to the host's storage, and run the task again",
                )
            if is_ready(domain.XMLDesc(0), target):
                try:
                    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
                except libvirt.libvirtError as error:
                    if not code_of(error, "BLOCK_COPY_ACTIVE"):  # it fell behind again
                        raise
            sleep(pause)
            pause = min(pause * 1.5, longest)


def _current(domain: Any) -> str:
    try:
        return str(domain.snapshotCurrent(0).getName())
    except libvirt.libvirtError as error:
        if not code_of(error, "NO_DOMAIN_SNAPSHOT"):
            raise
        return ""


def _merges() -> tuple[int, int]:
    """The block jobs that are merges."""
    return libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT, libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT
