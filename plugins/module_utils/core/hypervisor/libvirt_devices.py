# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot-plug through libvirt: devices, sizes and limits of running domains, and of those alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.vm import DiskConfig, NicConfig, VmConfig
from ..xml.domain import DomainElement, MemoryElement
from ..xml.domain_mapping import boot_memory, domain_of, growing_memory, new_disk, new_nic, read_live
from .libvirt_guests import LibvirtGuests
from .libvirt_storage import refuse_to_shrink
from .translate import code_of, libvirt

ASK_EVERY = 10.0
"""Seconds between two requests to let a device go: a guest that is still booting does not hear the first."""
LOOK_EVERY = 0.3
"""Seconds between two looks whether it did."""
MEMORY_TIMEOUT = 30.0
"""Seconds a guest gets to take more memory; it does so within one where it has the driver."""
AGENT_TIME = 5.0
"""Seconds its agent gets to bring that memory online."""
CRASH_TIME = 5.0
"""Seconds libvirt gets to notice that a QEMU process is gone, after the call that met its end."""


class LibvirtDevices(LibvirtGuests):
    """port.Devices."""

    def _running_config(self, vm_id: str) -> VmConfig:
        """The running definition; InvalidState where it does not run."""
        domain = self._domain(vm_id)
        with self._asks(f"read the definition of {self._vm(vm_id)}"):
            config = read_live(domain.XMLDesc(0))
        if config is None:
            raise AblestackError(Code.INVALID_STATE, f"{self._vm(vm_id)} does not run", "run the task again")
        return config

    @contextmanager
    def _changes(self, vm_id: str, doing: str) -> Iterator[None]:
        """Around calls that change a running guest; where its QEMU process dies of one, the error says so."""
        try:
            with self._asks(doing):
                yield
        except AblestackError as error:
            if "monitor" in str(error.details.get("libvirt")) and self._crashes(vm_id):
                raise _crashed(self._vm(vm_id), doing, error) from None
            raise

    def _crashes(self, vm_id: str) -> bool:
        """Whether its QEMU process ended by itself: libvirt tells that a little later than the call that failed."""
        gone = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
        domain, until = self._domain(vm_id), monotonic() + CRASH_TIME
        with suppress(libvirt.libvirtError):
            while domain.state() != gone:
                if monotonic() >= until:
                    return False
                sleep(LOOK_EVERY)
            return True
        return False

    def attach_disk(self, vm_id: str, disk: DiskConfig) -> None:
        self._plug(vm_id, new_disk(disk).text, f"attach disk {disk.target} to", lambda config: _has_disk(config, disk))

    def attach_nic(self, vm_id: str, nic: NicConfig) -> None:
        self._plug(vm_id, new_nic(nic).text, f"attach NIC {nic.mac} to", lambda config: _has_nic(config, nic))

    def _plug(self, vm_id: str, text: str, doing: str, present: Callable[[VmConfig], bool]) -> None:
        domain = self._domain(vm_id)
        with self._changes(vm_id, f"{doing} {self._vm(vm_id)}"):
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
                with self._changes(vm_id, f"{doing} {self._vm(vm_id)}"):
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
        with self._changes(vm_id, f"grow disk {target} of {self._vm(vm_id)}"):
            refuse_to_shrink(f"disk {target} of {self._vm(vm_id)}", domain.blockInfo(target)[0], size)
            domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def tune_disk(self, vm_id: str, disk: DiskConfig) -> None:
        domain = self._domain(vm_id)
        limits = {libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC: disk.max_iops}
        with self._changes(vm_id, f"limit disk {disk.target} of {self._vm(vm_id)}"):
            domain.setBlockIoTune(disk.target, limits, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def change_media(self, vm_id: str, drive: DiskConfig, force: bool) -> None:
        domain = self._domain(vm_id)
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE | (libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE if force else 0)
        with self._changes(vm_id, f"change what is in the CD drive of {self._vm(vm_id)}"):
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
        with self._changes(vm_id, f"connect NIC {nic.mac} of {self._vm(vm_id)} to network '{nic.network}'"):
            domain.updateDeviceFlags(new_nic(nic).text, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def set_cpus(self, vm_id: str, cpus: int) -> None:
        domain = self._domain(vm_id)
        with self._changes(vm_id, f"give {self._vm(vm_id)} {cpus} CPUs"):
            domain.setVcpusFlags(cpus, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self._bound_agent(vm_id)
        with suppress(libvirt.libvirtError):  # most guests do it by themselves, the others where their agent answers
            domain.setVcpusFlags(cpus, libvirt.VIR_DOMAIN_VCPU_GUEST)

    def set_memory(self, vm_id: str, memory: int) -> None:
        doing = f"give {self._vm(vm_id)} {memory} MiB of memory"
        document, device = self._growing_memory(vm_id)
        before, wanted = device.requested, memory - boot_memory(document)
        if not 0 <= wanted <= device.size:
            raise AblestackError(
                Code.INVALID_STATE, f"{self._vm(vm_id)} was not started with room for {memory} MiB", "stop and start it"
            )
        self._request_memory(vm_id, device, wanted, doing)
        until = monotonic() + MEMORY_TIMEOUT
        taken = device.current
        while taken != wanted and monotonic() < until:
            sleep(LOOK_EVERY)
            taken = self._growing_memory(vm_id)[1].current
        if taken != wanted:
            self._request_memory(vm_id, device, before, doing)
            raise AblestackError(
                Code.TIMEOUT,
                f"the guest of {self._vm(vm_id)} did not take the memory within {MEMORY_TIMEOUT:g} s",
                "see that it has booted and has a driver for virtio-mem, or stop it first",
            )
        with suppress(AblestackError):  # most guests do it by themselves, the others where their agent answers
            self._online_memory(vm_id)

    def _growing_memory(self, vm_id: str) -> tuple[DomainElement, MemoryElement]:
        domain = self._domain(vm_id)
        with self._asks(f"read the definition of {self._vm(vm_id)}"):
            document = domain_of(domain.XMLDesc(0))
        devices = growing_memory(document)
        if not devices:
            raise AblestackError(
                Code.INVALID_STATE, f"{self._vm(vm_id)} was not started with room for more memory", "stop and start it"
            )
        return document, devices[0]

    def _request_memory(self, vm_id: str, device: MemoryElement, size: int, doing: str) -> None:
        device.requested = size
        domain = self._domain(vm_id)
        with self._changes(vm_id, doing):
            domain.updateDeviceFlags(device.text, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def _online_memory(self, vm_id: str) -> None:
        """Guests whose rules leave new memory offline have it only then."""
        blocks = self._agent(vm_id, {"execute": "guest-get-memory-blocks"}, AGENT_TIME)
        dark = [block.number("phys-index") for block in blocks.rows() if not block.flag("online")]
        offline = [{"phys-index": index, "online": True} for index in dark]
        if offline:
            asked = {"execute": "guest-set-memory-blocks", "arguments": {"mem-blks": offline}}
            self._agent(vm_id, asked, AGENT_TIME)


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


def _crashed(vm: str, doing: str, error: AblestackError) -> AblestackError:
    """`crashed` in its details tells the caller that the VM is off now, and that nobody wanted that."""
    return AblestackError(
        Code.INTERNAL,
        f"the QEMU process of {vm} died when its host was to {doing}, so the guest lost its power",
        "its log in /var/log/libvirt/qemu on the host says why; run the task again, to make the change while it is off",
        **{**error.details, "crashed": True},
    )
