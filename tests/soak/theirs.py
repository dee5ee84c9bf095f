# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab host has that is not ours: a running domain on a network and a volume in a pool of its own."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import libvirt
from lab_tests.lab import Lab

THEIRS = "theirs"
_FOLDER = f"/srv/{THEIRS}"
_IMAGE = f"{_FOLDER}/{THEIRS}.img"
_POOL = f"<pool type='dir'><name>{THEIRS}</name><target><path>{_FOLDER}</path></target></pool>"
_VOLUME = f"<volume><name>{THEIRS}.img</name><capacity>1048576</capacity><allocation>1048576</allocation></volume>"
_NETWORK = (
    f"<network><name>{THEIRS}</name><bridge name='virbr-{THEIRS}'/><ip address='10.78.0.1' netmask='255.255.255.0'>"
    "<dhcp><range start='10.78.0.100' end='10.78.0.199'/><host mac='02:00:00:00:00:07' ip='10.78.0.7'/></dhcp>"
    "</ip></network>"
)
_DOMAIN = (
    f"<domain type='qemu'><name>{THEIRS}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>"
    "<features><acpi/><tcg><tb-cache unit='MiB'>8</tb-cache></tcg></features><devices>"
    f"<disk type='file'><driver name='qemu' type='raw'/><source file='{_IMAGE}'/>"
    "<target dev='vda' bus='virtio'/></disk>"
    f"<interface type='network'><mac address='02:00:00:00:00:07'/><source network='{THEIRS}'/>"
    "<model type='virtio'/></interface></devices></domain>"
)
# what changes by itself: how full the file system is, when a file was read, what a guest's balloon tells
_FICKLE = re.compile(r"<(allocation|available|capacity|[acm]time)[ >].*?</\1>")


def put_theirs(lab: Lab, host: str, connection: Any) -> None:
    """Makes it on a host that was wiped."""
    lab.host(host, "rm", "-rf", _FOLDER)
    pool = connection.storagePoolDefineXML(_POOL)
    pool.build()
    pool.create()
    pool.createXML(_VOLUME)
    lab.host(host, "sh", "-c", f"echo {THEIRS} | dd of={_IMAGE} conv=notrunc status=none")
    connection.networkDefineXML(_NETWORK).create()
    connection.defineXML(_DOMAIN).create()


def theirs(lab: Lab, host: str, connection: Any) -> dict[str, str]:
    """What it is, to the letter; what is gone is said to be."""
    found = dict.fromkeys(
        ("domain", "running domain", "process", "network", "running network", "pool", "volume"), "gone"
    )
    with suppress(libvirt.libvirtError):
        domain = connection.lookupByName(THEIRS)
        found["domain"] = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        found["running domain"] = domain.XMLDesc(0)
        pid = lab.host(host, "cat", f"/run/libvirt/qemu/{THEIRS}.pid", check=False).stdout
        found["process"] = f"{domain.state()} {pid}"
    with suppress(libvirt.libvirtError):
        network = connection.networkLookupByName(THEIRS)
        found["network"] = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        found["running network"] = f"{network.isActive()} {network.XMLDesc(0)}"
    with suppress(libvirt.libvirtError):
        pool = connection.storagePoolLookupByName(THEIRS)
        found["pool"] = f"{pool.isActive()} {_FICKLE.sub('', pool.XMLDesc(0))}"
        found["volume"] = _FICKLE.sub("", pool.storageVolLookupByName(f"{THEIRS}.img").XMLDesc(0))
    found["content"] = lab.host(host, "sha256sum", _IMAGE, check=False).stdout
    return found
