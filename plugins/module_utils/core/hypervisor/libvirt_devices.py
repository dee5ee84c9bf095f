# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot-plug through libvirt: devices, sizes and limits of running domains, and of those alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.vm import DiskConfig, NicConfig, VmConfig
from ..xml.domain_mapping import new_disk, new_nic, read_live
from .connection import Session
from .translate import code_of, libvirt

ASK_EVERY = 10.0
"""Seconds between two requests to let a device go: a guest that is still booting does not hear the first."""
LOOK_EVERY = 0.3
"""Seconds between two looks whether it did."""


class LibvirtDevices(Session):
    """port.Devices."""

    def _running_config(self, vm_id: str) -> VmConfig:
        """The running definition; InvalidState where it does not run."""
        domain = self._domain(vm_id)
        with self._asks(f"read the definition of {self._vm(vm_id)}"):
            config = read_live(domain.XMLDesc(0))
        if config is None:
            raise AblestackError(Code.INVALID_STATE, f"{self._vm(vm_id)} does not run", "run the task again")
        return config

    def attach_disk(self, vm_id: str, disk: DiskConfig) -> None:
        self._plug(vm_id, new_disk(disk).text, f"attach disk {disk.target} to", lambda config: _has_disk(config, disk))

    def attach_nic(self, vm_id: str, nic: NicConfig) -> None:
        self._plug(vm_id, new_nic(nic).text, f"attach NIC {nic.mac} to", lambda config: _has_nic(config, nic))

    def _plug(self, vm_id: str, text: str, doing: str, present: Callable[[VmConfig], bool]) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"{doing} {self._vm(vm_id)}"):
            try:
                domain.attachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                if code_of(error, "OPERATION_FAILED", "OPERATION_INVALID") and present(self._running_config(vm_id)):
                    return
                if "No more available PCI slots" in str(error):
                    raise _full(self._vm(vm_id)) from None
                raise

    def detach_disk(self, vm_id: str, disk: DiskConfig, timeout: float) -> bool:
        text, what = new_disk(disk).text, f"detach disk {disk.target} from"
        return self._unplug(vm_id, text, what, timeout, lambda config: _has_disk(config, disk))

    def detach_nic(self, vm_id: str, nic: NicConfig, timeout: float) -> bool:
        text, what = new_nic(nic).text, f"detach NIC {nic.mac} from"
        return self._unplug(vm_id, text, what, timeout, lambda config: _has_nic(config, nic))

    def _unplug(self, vm_id: str, text: str, doing: str, timeout: float, present: Callable[[VmConfig], bool]) -> bool:
        """Asks the guest, and asks again, until it let go: libvirt returns before that."""
        domain = self._domain(vm_id)
        until = monotonic() + timeout
        asked = None
        while present(self._running_config(vm_id)):
            now = monotonic()
            if now >= until:
                return False
            if asked is None or now >= asked + ASK_EVERY:
                with self._asks(f"{doing} {self._vm(vm_id)}"):
                    self._ask_off(domain, text, first=asked is None)
                asked = now
            else:
                sleep(LOOK_EVERY)
        return True

    @staticmethod
    def _ask_off(domain: Any, text: str, first: bool) -> None:
        try:
            domain.detachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            # gone meanwhile, or the first request is still under way
            if code_of(error, "DEVICE_MISSING", "OPERATION_FAILED") or not first:
                return
            if "in the process of unplug" not in str(error):
                raise

    def resize_disk(self, vm_id: str, target: str, size: int) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"grow disk {target} of {self._vm(vm_id)}"):
            domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def tune_disk(self, vm_id: str, disk: DiskConfig) -> None:
        domain = self._domain(vm_id)
        limits = {libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC: disk.max_iops}
        with self._asks(f"limit disk {disk.target} of {self._vm(vm_id)}"):
            domain.setBlockIoTune(disk.target, limits, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def change_media(self, vm_id: str, drive: DiskConfig, force: bool) -> None:
        domain = self._domain(vm_id)
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE | (libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE if force else 0)
        with self._asks(f"change what is in the CD drive of {self._vm(vm_id)}"):
            try:
                domain.updateDeviceFlags(new_disk(drive).text, flags)
            except libvirt.libvirtError as error:
                text = str(error)
                if "is locked" not in text and "tray" not in text:
                    raise
                raise AblestackError(
                    Code.INVALID_STATE,
                    f"the guest of {self._vm(vm_id)} has locked its CD drive",
                    "unmount it in the guest, or set forced: true to take it out all the same",
                ) from None

    def update_nic(self, vm_id: str, nic: NicConfig) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"connect NIC {nic.mac} of {self._vm(vm_id)} to network '{nic.network}'"):
            domain.updateDeviceFlags(new_nic(nic).text, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def set_cpus(self, vm_id: str, cpus: int) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"give {self._vm(vm_id)} {cpus} CPUs"):
            domain.setVcpusFlags(cpus, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        with suppress(libvirt.libvirtError):  # most guests do it by themselves, the others where their agent answers
            domain.setVcpusFlags(cpus, libvirt.VIR_DOMAIN_VCPU_GUEST)

    def set_memory(self, vm_id: str, memory: int) -> None:
        raise AblestackError(Code.UNSUPPORTED, f"the memory of {self._vm(vm_id)} cannot grow while it runs")


def _has_disk(config: VmConfig, disk: DiskConfig) -> bool:
    have = config.disk(disk.target)
    return have is not None and have.path == disk.path


def _has_nic(config: VmConfig, nic: NicConfig) -> bool:
    return any(have.mac == nic.mac for have in config.nics)


def _full(vm: str) -> AblestackError:
    return AblestackError(
        Code.INSUFFICIENT_CAPACITY,
        f"{vm} has no free PCI Express port left for another device",
        "stop and start it, which gives it new ones",
    )
