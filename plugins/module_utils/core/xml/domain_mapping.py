# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's definition and VmConfig: a new one from scratch, one read, one edited in place."""

from __future__ import annotations

from dataclasses import replace

from ..model.errors import AblestackError, Code
from ..model.vm import MEMORY_BLOCK, ROOM_BLOCK, DiskConfig, NicConfig, VmConfig, VmRecord
from .boot_mapping import is_secure, set_cd_boot, set_firmware, set_tpm
from .document import DocumentError
from .domain import (
    DEVICES,
    BalloonElement,
    BootElement,
    ChannelElement,
    ControllerElement,
    DiskElement,
    DomainElement,
    GraphicsElement,
    MemoryElement,
    NicElement,
    PtyElement,
    RngElement,
    SerialElement,
    TpmElement,
    VideoElement,
    without_controllers,
    without_metadata,
)
from .metadata_mapping import put_record, put_seeds, read_record, read_seeds, tells_of_seeds

SPARE_PORTS = 8
"""PCI Express ports left free for hot-plug: a port cannot be added to a running guest."""
MEMORY_SLOTS = 16
GROWING = "virtio-mem"
_DEFAULT_CPU = "qemu64"
_CPU_MODES = ("host-model", "host-passthrough", "maximum")


def new_domain(config: VmConfig) -> DomainElement:
    """A definition from scratch: q35, virtio throughout, no USB, serial console, guest agent, VNC on the loopback."""
    domain = DomainElement(
        type=config.virt_type,
        name=config.domain_name,
        uuid=config.id,
        os_type="hvm",
        arch="x86_64",
        machine="q35",
        acpi=True,
        apic=True,
        on_reboot="restart",
        on_crash="destroy",
    )
    nothing = replace(config, disks=(), nics=(), record=None)
    put_record(domain, config.record)
    put_seeds(domain, config.seeds)
    domain.add(BootElement(device="hd"), "os")
    set_cd_boot(domain, config)
    _set_size(domain, config)
    _set_cpu_mode(domain, config)
    set_firmware(domain, config)
    domain.add(ControllerElement(type="usb", model="none"), DEVICES)
    domain.add(ControllerElement(type="pci", index="0", model="pcie-root"), DEVICES)
    _set_disks(domain, nothing, config)
    _set_nics(domain, nothing, config)
    set_tpm(domain, config)
    for device in (
        SerialElement(type="pty", target_type="isa-serial", port="0"),
        PtyElement(type="pty", target_type="serial", port="0"),
        ChannelElement(type="unix", target_type="virtio", name="org.qemu.guest_agent.0"),
        RngElement(model="virtio", backend_model="random", backend="/dev/urandom"),
        BalloonElement(model="virtio"),
        GraphicsElement(type="vnc", autoport=True, listen_type="address", address="127.0.0.1"),
        VideoElement(model="vga", memory="8192"),
    ):
        domain.add(device, DEVICES)
    _spare_ports(domain)
    return domain


def read_domain(text: str) -> VmConfig:
    """What a definition says. Whatever others wrote is read as far as it has a meaning here, without an error.

    Unsupported or InvalidState, naming the domain, where our own record in it is newer than we or damaged.
    """
    return _read_with_record(domain_of(without_controllers(text)))


def read_live(text: str, stored: VmConfig | None = None) -> VmConfig | None:
    """The same of a running domain's definition; None where it does not run, for only running ones carry an id.

    The record is that of the stored definition, where it is given: that one counts.
    """
    if stored and not tells_of_seeds(text):
        text = without_metadata(text)
    domain = domain_of(without_controllers(text))
    if not domain.running_id:
        return None
    return _read(domain, stored.record) if stored else _read_with_record(domain)


def read_shown(text: str) -> tuple[VmConfig, bool]:
    """Whichever definition libvirt showed, and whether it is the running one."""
    domain = domain_of(without_controllers(text))
    return _read_with_record(domain), bool(domain.running_id)


def _read_with_record(domain: DomainElement) -> VmConfig:
    return _read(domain, read_record(domain, f"domain '{domain.name}'"))


def _read(domain: DomainElement, record: VmRecord | None) -> VmConfig:
    growing = growing_memory(domain)
    memory = domain.memory - sum(device.size - device.requested for device in growing)
    return VmConfig(
        id=domain.uuid,
        domain_name=domain.name,
        record=record,
        cpu=domain.current_vcpus or domain.vcpus,
        memory=memory,
        max_cpu=domain.vcpus,
        max_memory=max(domain.max_memory, memory),
        boot_type="uefi" if domain.firmware == "efi" or domain.loader_type == "pflash" else "bios",
        boot_mode="secure" if is_secure(domain) else "legacy",
        tpm=bool(domain.children(TpmElement, DEVICES)),
        virt_type=domain.type,
        cpu_mode=_cpu_mode(domain),
        seeds=read_seeds(domain),
        disks=tuple(_disk(disk) for disk in domain.children(DiskElement, DEVICES)),
        nics=tuple(_nic(nic) for nic in domain.children(NicElement, DEVICES)),
        # only the definition of a running domain says so
        agent=bool(domain.running_id) and domain.agent_state == "connected",
    )


def domain_of(text: str) -> DomainElement:
    """The document of a text libvirt gave us."""
    try:
        return DomainElement.parse(text)
    except DocumentError as error:
        raise AblestackError(Code.INTERNAL, f"libvirt gave a domain definition we cannot read: {error}") from None


def apply(domain: DomainElement, before: VmConfig, after: VmConfig) -> None:
    """Edits the definition where `after` differs from `before`, and nowhere else. The domain's name stays."""
    if before.record != after.record:
        put_record(domain, after.record)
    if before.seeds != after.seeds:
        put_seeds(domain, after.seeds)
    if _size(before) != _size(after):
        _set_size(domain, after)
    if before.cpu_mode != after.cpu_mode:
        _set_cpu_mode(domain, after)
    if (before.boot_type, before.boot_mode) != (after.boot_type, after.boot_mode):
        set_firmware(domain, after)
    if before.tpm != after.tpm:
        set_tpm(domain, after)
    if before.virt_type != after.virt_type:
        domain.type = after.virt_type
        domain.translation_cache = _translation_cache(after)
    if before.disks != after.disks:
        _set_disks(domain, before, after)
        set_cd_boot(domain, after)
    if before.nics != after.nics:
        _set_nics(domain, before, after)
    if (before.disks, before.nics) != (after.disks, after.nics):
        _spare_ports(domain)


# --- processors and memory


def _size(config: VmConfig) -> tuple[int, int, int, int]:
    return config.cpu, config.max_cpu, config.memory, config.max_memory


def _set_size(domain: DomainElement, config: VmConfig) -> None:
    domain.vcpus = config.max_cpu
    domain.current_vcpus = config.cpu
    domain.vcpu_states = False  # libvirt's list of single CPUs would overrule the count
    room = (config.max_memory - config.memory) // ROOM_BLOCK * ROOM_BLOCK
    # Room to grow is one device that gives the guest as much of itself as is asked (docs/design/dynamic-scaling.md).
    _set_room(domain, room)
    plugged = sum(device.size for device in domain.children(MemoryElement, DEVICES) if device.model != GROWING)
    domain.memory = config.memory + room
    domain.current_memory = config.memory
    # Devices of memory need an address space of their own, and that a NUMA cell.
    growing = bool(room or plugged)
    domain.max_memory = max(config.max_memory, config.memory + room) if growing else 0
    domain.memory_slots = MEMORY_SLOTS if growing else 0
    domain.numa_cell = "0" if growing else ""
    domain.numa_cpus = (f"0-{config.max_cpu - 1}" if config.max_cpu > 1 else "0") if growing else ""
    domain.numa_memory = config.memory - plugged if growing else 0
    domain.translation_cache = _translation_cache(config)


def _set_room(domain: DomainElement, room: int) -> None:
    devices = growing_memory(domain)
    for device in devices[1:] if room else devices:
        domain.remove(device, DEVICES)
    if not room:
        return
    device = devices[0] if devices else MemoryElement(model=GROWING)
    device.size, device.node, device.block, device.requested = room, "0", MEMORY_BLOCK, 0
    device.current = 0
    if not devices:
        domain.add(device, DEVICES)


def growing_memory(domain: DomainElement) -> list[MemoryElement]:
    """The devices whose memory the guest gets as it is asked for: one in domains of ours that may grow."""
    return [device for device in domain.children(MemoryElement, DEVICES) if device.model == GROWING]


def boot_memory(domain: DomainElement) -> int:
    """MiB that the guest has by all means: what libvirt counts as memory includes all that a device may give."""
    return domain.memory - sum(device.size for device in growing_memory(domain))


def _translation_cache(config: VmConfig) -> int:
    """MiB for software emulation; QEMU would take hundreds by itself, whatever the guest's size.

    0 leaves that to QEMU, also where processors may come: one that is plugged in while the whole cache is given out to
    those there are ends QEMU (docs/design/dynamic-scaling.md), and a small cache is given out soon.
    """
    if config.virt_type != "qemu" or config.cpu < config.max_cpu:
        return 0
    return 32 if config.memory <= 256 else 128


def _cpu_mode(domain: DomainElement) -> str:
    if domain.cpu_mode in _CPU_MODES:
        return domain.cpu_mode
    # libvirt writes QEMU's default model into definitions that name none
    return "" if domain.cpu_model == _DEFAULT_CPU else domain.cpu_model


def _set_cpu_mode(domain: DomainElement, config: VmConfig) -> None:
    named = bool(config.cpu_mode) and config.cpu_mode not in _CPU_MODES
    for old in ("check", "migratable"):
        cpu = domain.element.find("cpu")
        if cpu is not None:
            cpu.attrib.pop(old, None)
    domain.cpu_fallback = "allow" if named else ""
    domain.cpu_model = config.cpu_mode if named else ""
    domain.cpu_mode = "custom" if named else config.cpu_mode
    domain.cpu_match = "exact" if named else ""


# --- disks and NICs


def _disk(disk: DiskElement) -> DiskConfig:
    return DiskConfig(
        target=disk.target,
        path=disk.file or disk.block,
        kind=disk.device,
        bus=disk.bus,
        format=disk.format,
        max_iops=disk.max_iops,
        source=f"{disk.pool}/{disk.volume}" if disk.type == "volume" else "",
    )


def _nic(nic: NicElement) -> NicConfig:
    """On a running domain, a NIC on a network that is but a bridge shows as type bridge: no DHCP of libvirt's there."""
    return NicConfig(mac=nic.mac.lower(), network=nic.network, model=nic.model, leased=nic.type == "network")


def _set_disks(domain: DomainElement, before: VmConfig, after: VmConfig) -> None:
    elements = {disk.target: disk for disk in domain.children(DiskElement, DEVICES)}
    for gone in {disk.target for disk in before.disks} - {disk.target for disk in after.disks}:
        if gone in elements:
            domain.remove(elements.pop(gone), DEVICES)
    for disk in after.disks:
        element = elements.get(disk.target)
        if element is None:
            domain.add(new_disk(disk), DEVICES)
        elif disk != before.disk(disk.target):
            _fill_disk(element, disk)
    _add_scsi(domain)


def new_disk(disk: DiskConfig) -> DiskElement:
    """A disk or CD drive from scratch."""
    element = DiskElement(type="file", driver="qemu")
    element.target = disk.target
    element.discard = "unmap" if disk.kind == "disk" else ""
    _fill_disk(element, disk)
    return element


def _fill_disk(element: DiskElement, disk: DiskConfig) -> None:
    if element.file != disk.path:
        element.backing = False  # the chain of the image before
    element.type = "file"
    element.device = disk.kind
    element.bus = disk.bus
    element.format = disk.format
    element.file = disk.path
    element.pool = element.volume = ""
    element.max_iops = disk.max_iops
    element.readonly = disk.kind == "cdrom"


def _add_scsi(domain: DomainElement) -> None:
    """One virtio-scsi controller for all SCSI targets; guests of cloud images know no SATA."""
    used = any(disk.bus == "scsi" for disk in domain.children(DiskElement, DEVICES))
    if used and not any(controller.type == "scsi" for controller in domain.children(ControllerElement, DEVICES)):
        domain.add(ControllerElement(type="scsi", index="0", model="virtio-scsi"), DEVICES)


def _set_nics(domain: DomainElement, before: VmConfig, after: VmConfig) -> None:
    """NICs are told apart by their MAC; their order becomes that of `after`."""
    known = {nic.mac: nic for nic in before.nics}
    elements = {nic.mac.lower(): nic for nic in domain.children(NicElement, DEVICES)}
    for mac in {*known, *(nic.mac for nic in after.nics)} & set(elements):
        domain.remove(elements[mac], DEVICES)
    for nic in after.nics:
        element = elements.get(nic.mac)
        if element is None:
            element = new_nic(nic)
        elif nic != known.get(nic.mac):
            _fill_nic(element, nic)
        domain.add(element, DEVICES)


def new_nic(nic: NicConfig) -> NicElement:
    """A NIC from scratch."""
    element = NicElement(type="network", mac=nic.mac)
    _fill_nic(element, nic)
    return element


def _fill_nic(element: NicElement, nic: NicConfig) -> None:
    element.type = "network"
    element.network = nic.network
    element.model = nic.model


def _spare_ports(domain: DomainElement) -> None:
    """Tops up the PCI Express ports: one for each virtio device, and the spare ones."""
    controllers = domain.children(ControllerElement, DEVICES)
    disks = sum(disk.bus == "virtio" for disk in domain.children(DiskElement, DEVICES))
    nics = len(domain.children(NicElement, DEVICES))
    others = sum(controller.type == "scsi" for controller in controllers) + 3  # virtio-serial, balloon, rng
    ports = sum(controller.model == "pcie-root-port" for controller in controllers)
    for _missing in range(disks + nics + others + SPARE_PORTS - ports):
        domain.add(ControllerElement(type="pci", model="pcie-root-port"), DEVICES)
