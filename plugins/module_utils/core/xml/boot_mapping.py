# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition says of booting: firmware and its NVRAM, TPM, the order of disks and CDs."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

from ..model.vm import VmConfig
from .domain import DEVICES, BootElement, DomainElement, FeatureElement, TpmElement

NVRAM_FOLDER = "/var/lib/libvirt/qemu/nvram"


def set_cd_boot(domain: DomainElement, config: VmConfig) -> None:
    """Disks before CDs: a VM with an empty root disk falls through to its installer.

    An empty drive is not in the order: firmware that may boot from it looks for a disc for two seconds at every boot.
    Who gave the devices an order of their own keeps that.
    """
    order = domain.children(BootElement, "os")
    if not order:
        return
    drive = next((disk for disk in config.disks if disk.kind == "cdrom"), None)
    entry = next((entry for entry in order if entry.device == "cdrom"), None)
    if drive and drive.path and not entry:
        domain.add(BootElement(device="cdrom"), "os")
    elif entry and not (drive and drive.path):
        domain.remove(entry, "os")


def is_secure(domain: DomainElement) -> bool:
    """Whether the firmware runs signed loaders alone."""
    return domain.secure_boot if domain.firmware_features else domain.loader_secure


def nvram_path(config: VmConfig) -> str:
    """Where the firmware keeps its variables, which each boot mode needs for itself.

    Under the name alone, as libvirt would have it, a destroyed VM and its successor would share them.
    """
    mode = "_SECURE" if config.boot_mode == "secure" else ""
    return f"{NVRAM_FOLDER}/{config.domain_name.partition('.')[0]}-{config.id[:8]}{mode}_VARS.fd"


def nvram_holder(config: VmConfig, boot_mode: str) -> DomainElement:
    """A definition to be removed at once, with the NVRAM that the VM has left of this boot mode: libvirt has no other
    way to delete one. Its names are always the same, so that one left by a killed run is found.
    """
    return DomainElement(
        type=config.virt_type,
        name=f"{config.domain_name}.nvram-{boot_mode}",
        uuid=str(uuid5(UUID(config.id), boot_mode)),
        memory=1,
        os_type="hvm",
        arch="x86_64",
        machine="q35",
        acpi=True,
        loader="/dev/null",  # never booted
        loader_type="pflash",
        loader_readonly=True,
        nvram=nvram_path(replace(config, boot_type="uefi", boot_mode=boot_mode)),
    )


def set_firmware(domain: DomainElement, config: VmConfig) -> None:
    """By what it must be able to do: libvirt chooses the files."""
    uefi, secure = config.boot_type == "uefi", config.boot_mode == "secure"
    system = domain.element.find("os")
    for tag in ("firmware", "loader", "nvram"):  # also what libvirt chose by them
        for old in [] if system is None else system.findall(tag):
            system.remove(old)  # type: ignore[union-attr]
    domain.smm = uefi and secure
    domain.firmware = "efi" if uefi else ""
    if not uefi:
        return
    domain.nvram = nvram_path(config)
    if secure:
        domain.secure_boot = True
        domain.enrolled_keys = True
        domain.loader_secure = True
    else:
        # Asked for nothing, libvirt 9.0 takes the firmware that comes first, and on Debian it enforces signatures.
        domain.add(FeatureElement(name="secure-boot", enabled="no"), "os/firmware")


def set_tpm(domain: DomainElement, config: VmConfig) -> None:
    """An emulated TPM 2.0, or none."""
    for old in domain.children(TpmElement, DEVICES):
        domain.remove(old, DEVICES)
    if config.tpm:
        domain.add(TpmElement(model="tpm-crb", backend="emulator", version="2.0"), DEVICES)
