# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merges of images through libvirt: under the running guest, or in a helper domain that ends with our connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.naming import disk_target
from ..model.snapshot import Merge
from ..xml.domain_mapping import domain_of
from ..xml.snapshot_mapping import chain_of, is_ready, new_helper
from .libvirt_snapshots import LibvirtSnapshots
from .translate import code_of, libvirt

_PAUSES = (0.05, 1.0)  # seconds between two looks at a job: the first, and the longest


class LibvirtMerges(LibvirtSnapshots):
    """The merges of port.Snapshots. Each ends with an image that reads as before, wherever it is interrupted."""

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
        helper = self._connection.createXML(new_helper(f"ablestack-merge-{vm_id[:8]}", kind, disks), flags)
        try:
            yield helper
        finally:
            with suppress(libvirt.libvirtError):
                helper.destroy()

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

    @staticmethod
    def _end_job(domain: Any, target: str) -> None:
        """Waits for the disk's job; one that has copied the active image goes over to the copy."""
        pause, longest = _PAUSES
        while domain.blockJobInfo(target, 0):
            if is_ready(domain.XMLDesc(0), target):
                try:
                    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
                except libvirt.libvirtError as error:
                    if not code_of(error, "BLOCK_COPY_ACTIVE"):  # it fell behind again
                        raise
            sleep(pause)
            pause = min(pause * 1.5, longest)
