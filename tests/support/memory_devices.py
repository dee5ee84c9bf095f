# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot-plug on a memory host: what changes in running definitions alone."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, NicConfig, VmConfig

from .memory_calls import Calls, writes
from .memory_state import MemoryDomain


class MemoryDevices(Calls):
    """port.Devices. A guest whose `unplugs` is false holds on to its devices."""

    def _live(self, vm_id: str) -> tuple[MemoryDomain, VmConfig]:
        domain = self.state.domains.get(vm_id)
        if domain is None or domain.live is None or not domain.active:
            raise AblestackError(Code.INVALID_STATE, f"domain {vm_id} is not running")
        return domain, domain.live

    @writes
    def attach_disk(self, vm_id: str, disk: DiskConfig) -> None:
        domain, live = self._live(vm_id)
        present = live.disk(disk.target)
        if present:
            if present.path != disk.path:
                raise AblestackError(Code.INVALID_STATE, f"target {disk.target} is taken")
            return
        if self.state.volume_at(disk.path) is None:
            raise AblestackError(Code.INTERNAL, f"cannot access storage file '{disk.path}'")
        others = [other for other in self.state.domains.values() if other is not domain and other.active]
        if any(other.uses(disk.path) for other in others):
            raise AblestackError(Code.IN_USE, f"'{disk.path}' is locked by another domain")
        domain.live = replace(live, disks=(*live.disks, disk))

    @writes
    def detach_disk(self, vm_id: str, disk: DiskConfig, timeout: float) -> bool:
        domain, live = self._live(vm_id)
        if live.disk(disk.target) is None:
            return True
        if not domain.guest.unplugs:
            return False
        domain.live = replace(live, disks=tuple(other for other in live.disks if other.target != disk.target))
        return True

    @writes
    def resize_disk(self, vm_id: str, target: str, size: int) -> None:
        """Shrinks it, too, as libvirt would: the guard of the libvirt side is the last one, and no plan may need it."""
        _domain, live = self._live(vm_id)
        disk = live.disk(target)
        volume = self.state.volume_at(disk.path) if disk else None
        if volume is None:
            raise AblestackError(Code.INVALID_INPUT, f"disk {target} cannot become {size} bytes")
        volume.resize(size)

    def _change_disk(self, vm_id: str, disk: DiskConfig) -> None:
        domain, live = self._live(vm_id)
        if live.disk(disk.target) is None:
            raise AblestackError(Code.NOT_FOUND, f"there is no {disk.target}")
        changed = tuple(disk if have.target == disk.target else have for have in live.disks)
        domain.live = replace(live, disks=changed)

    @writes
    def tune_disk(self, vm_id: str, disk: DiskConfig) -> None:
        self._change_disk(vm_id, disk)

    @writes
    def change_media(self, vm_id: str, drive: DiskConfig, force: bool) -> None:
        domain, _live = self._live(vm_id)
        if domain.guest.locks_drive and not force:
            raise AblestackError(Code.INVALID_STATE, "the guest has locked its CD drive")
        self._change_disk(vm_id, drive)

    @writes
    def attach_nic(self, vm_id: str, nic: NicConfig) -> None:
        domain, live = self._live(vm_id)
        if any(other.mac == nic.mac for other in live.nics):
            return
        self._lease(nic, domain)
        domain.live = replace(live, nics=(*live.nics, nic))

    def _lease(self, nic: NicConfig, domain: MemoryDomain) -> None:
        network = self.state.networks.get(nic.network)
        if network is None or not network.facts.active:
            raise AblestackError(Code.INVALID_STATE, f"network '{nic.network}' is not active")
        network.lease(nic.mac, domain.config.domain_name)

    @writes
    def detach_nic(self, vm_id: str, nic: NicConfig, timeout: float) -> bool:
        domain, live = self._live(vm_id)
        if not any(other.mac == nic.mac for other in live.nics):
            return True
        if not domain.guest.unplugs:
            return False
        domain.live = replace(live, nics=tuple(other for other in live.nics if other.mac != nic.mac))
        return True

    @writes
    def update_nic(self, vm_id: str, nic: NicConfig) -> None:
        domain, live = self._live(vm_id)
        self._lease(nic, domain)
        changed = tuple(replace(have, network=nic.network) if have.mac == nic.mac else have for have in live.nics)
        domain.live = replace(live, nics=changed)

    @writes
    def set_cpus(self, vm_id: str, cpus: int) -> None:
        domain, live = self._live(vm_id)
        if cpus > live.max_cpu:
            raise AblestackError(Code.INVALID_INPUT, f"{cpus} is more than the {live.max_cpu} it was started with")
        domain.live = replace(live, cpu=cpus)

    @writes
    def set_memory(self, vm_id: str, memory: int) -> None:
        domain, live = self._live(vm_id)
        if memory > live.max_memory:
            raise AblestackError(Code.INVALID_INPUT, f"{memory} is more than the {live.max_memory} it was started with")
        domain.live = replace(live, memory=memory)
