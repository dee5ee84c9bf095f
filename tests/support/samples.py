# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of each kind, as tests of documents and of the libvirt host want them, and the golden files they become."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import VolumeSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    DiskRecord,
    Mark,
    NicConfig,
    NicRecord,
    Owner,
    Phase,
    VmConfig,
    VmRecord,
)

GOLDEN = Path(__file__).resolve().parent.parent / "unit" / "golden"
ID = "5e1f0e2c-7a4b-4c1d-9a86-0d3c1f2b4a55"

FULL_RECORD = VmRecord(
    name="Web1",
    mark=Mark(
        phase=Phase.DESTROYED,
        since="2026-01-02T03:04:05Z",
        expunge_at="2026-01-03T03:04:05Z",
        delete_data_disks=("data1", "data2"),
        owner=Owner("boot-id/4026531836", 4711, 123456, "t0ken"),
        runs=True,
        source="kvm01",
        target="kvm02",
        copies=("vda", "sde"),
    ),
    display_name='Müller & Söhne <"web">\ttab\nline',
    group="shop",
    labels=(("color", "blå \\u0041"), ("empty", ""), ("ctrl\x00", "\x1b[31m\r\n\ud800\uffff")),
    template="debian12",
    template_checksum="sha256:0123",
    iso="rescue",
    clone="full",
    compute_offering="small",
    dynamic_scaling=True,
    affinity_groups=("web", "near"),
    ssh_key_pairs=("ops",),
    scaling_chosen=True,
    keys_digest="a1",
    key_pairs_digest="a2",
    public_keys_digest="a3",
    user_data_digest="b2",
    protected=True,
    autostart=True,
    created="2026-01-01T00:00:00Z",
    disks=(
        DiskRecord("ROOT", "root", 0, "vda", "default", "vm-web1-5e1f0e2c-root.qcow2", 5 << 30),
        DiskRecord("data1", "data", 1, "vdb", "nvme", "vol-data1.qcow2", 20 << 30, "fast", 500, True),
    ),
    nics=(NicRecord("52:54:00:00:00:01", "default", "192.168.122.50"), NicRecord("52:54:00:00:00:02", "lan")),
    snapshots=("before", "after"),
    quiesced=("after",),
    boot_left=("secure", "tpm"),
)


def vm_config(**values: Any) -> VmConfig:
    """A small VM of ours: BIOS, a linked root disk, an empty CD drive, a seed, one NIC."""
    config = VmConfig(
        id=ID,
        domain_name="web1",
        record=VmRecord(name="web1", created="2026-01-01T00:00:00Z"),
        cpu=1,
        memory=256,
        max_cpu=1,
        max_memory=256,
        virt_type="qemu",
        disks=(
            DiskConfig("vda", "/srv/default/vm-web1-5e1f0e2c-root.qcow2"),
            DiskConfig("sdd", "", "cdrom", "scsi", "raw"),
            DiskConfig("sde", "/srv/default/vm-web1-5e1f0e2c-seed.iso", "cdrom", "scsi", "raw"),
        ),
        nics=(NicConfig("52:54:00:00:00:01", "default"),),
    )
    return replace(config, **values)


KINDS = {
    "bios": vm_config(),
    "uefi": vm_config(boot_type="uefi", virt_type="kvm", cpu_mode="host-model"),
    "secure": vm_config(boot_type="uefi", boot_mode="secure", tpm=True, virt_type="kvm", cpu_mode="host-passthrough"),
    "growing": vm_config(
        cpu=2, max_cpu=8, memory=2048, max_memory=16384, record=FULL_RECORD, cpu_mode="EPYC",
        disks=(
            *vm_config().disks[:1],
            DiskConfig("vdb", "/srv/nvme/vol-data1.qcow2", max_iops=5000),
            DiskConfig("sdd", "/srv/default/tmpl-rescue.iso", "cdrom", "scsi", "raw"),
        ),
        nics=(NicConfig("52:54:00:00:00:01", "default"), NicConfig("52:54:00:00:00:02", "lan", "e1000e")),
    ),
    "bare": vm_config(record=None, disks=(), nics=()),
}  # fmt: skip
"""One VM of each kind the documents differ by."""

DATA = DiskConfig("vdb", "/srv/default/vol-data1.qcow2")
SECOND = NicConfig("52:54:00:00:00:02", "lan", "e1000e")
BASE = vm_config()

SMALL = {"cpu": 1, "max_cpu": 1, "memory": 256, "max_memory": 256}

EDITS: dict[str, tuple[VmConfig, dict[str, Any]]] = {
    "record": (BASE, {"record": FULL_RECORD}),
    "no record": (BASE, {"record": None}),
    "another seed": (BASE, {"seeds": 1}),
    "yet another seed": (vm_config(seeds=1), {"seeds": 2}),
    "more memory": (BASE, {"memory": 1024, "max_memory": 1024}),
    "memory that can grow": (BASE, {"max_memory": 4096}),
    "memory that no longer grows": (vm_config(max_memory=4096), {"max_memory": 256}),
    "processors": (BASE, {"cpu": 2, "max_cpu": 4}),
    "cpu mode": (BASE, {"cpu_mode": "host-model"}),
    "named cpu": (vm_config(cpu_mode="host-model"), {"cpu_mode": "EPYC"}),
    "default cpu": (vm_config(cpu_mode="EPYC", max_memory=4096), {"cpu_mode": ""}),
    "uefi": (BASE, {"boot_type": "uefi"}),
    "secure boot": (vm_config(boot_type="uefi"), {"boot_mode": "secure"}),
    "no secure boot": (vm_config(boot_type="uefi", boot_mode="secure"), {"boot_mode": "legacy"}),
    "bios": (vm_config(boot_type="uefi", boot_mode="secure"), {"boot_type": "bios", "boot_mode": "legacy"}),
    "tpm": (BASE, {"tpm": True}),
    "no tpm": (vm_config(tpm=True), {"tpm": False}),
    "kvm": (BASE, {"virt_type": "kvm"}),
    "disk added": (BASE, {"disks": (*BASE.disks, DATA)}),
    "disk removed": (vm_config(disks=(*BASE.disks, DATA)), {"disks": BASE.disks}),
    "iops": (BASE, {"disks": (replace(BASE.disks[0], max_iops=100), *BASE.disks[1:])}),
    "no iops": (
        replace(BASE, disks=(replace(BASE.disks[0], max_iops=100), *BASE.disks[1:])),
        {"disks": BASE.disks},
    ),
    "cd inserted": (BASE, {"disks": (BASE.disks[0], replace(BASE.disks[1], path="/srv/x.iso"), BASE.disks[2])}),
    "cd ejected": (BASE, {"disks": (*BASE.disks[:2], replace(BASE.disks[2], path=""))}),
    "nic added": (BASE, {"nics": (*BASE.nics, SECOND)}),
    "nic removed": (vm_config(nics=(*BASE.nics, SECOND)), {"nics": (SECOND,)}),
    "nic moved": (BASE, {"nics": (replace(BASE.nics[0], network="lan", model="rtl8139"),)}),
    "nic order": (vm_config(nics=(*BASE.nics, SECOND)), {"nics": (SECOND, *BASE.nics)}),
    "all at once": (KINDS["growing"], {**SMALL, "disks": (), "nics": (), "cpu_mode": ""}),
}  # fmt: skip
"""One edit of every kind: what it starts from, and what it changes."""

ROOT = VolumeSpec("default", "vm-web1-5e1f0e2c-root.qcow2", 5 << 30, backing="/srv/default/tmpl-tiny.qcow2")
VOLUMES = {
    "linked": ROOT,
    "raw": VolumeSpec("default", "seed.iso", 374784, "raw", mode=0o640),
    "fat": VolumeSpec("nvme", "vol-data1.qcow2", 1 << 30, fat=True),
    "raw-backing": VolumeSpec("default", "x.qcow2", 0, backing="/srv/base.raw", backing_format="raw"),
}


def pretty(text: str) -> str:
    """XML as golden files hold it: one element a line."""
    root = ElementTree.fromstring(text)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def check_golden(name: str, text: str) -> None:
    """Compares with the golden file; with UPDATE_GOLDEN in the environment it is written instead."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(pretty(text), encoding="utf-8")
    assert pretty(text) == path.read_text(encoding="utf-8")


def golden(name: str) -> str:
    """A document libvirt gave, or that others wrote."""
    return (GOLDEN / name).read_text(encoding="utf-8")
