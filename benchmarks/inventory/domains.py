# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defines shut-off domains as this collection would have made them:  domains.py URI FIRST COUNT

What is there already stays. Run it with the collection in the path: ./dev shell benchmarks/inventory/domains.py ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

sys.path.insert(0, str(Path(os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")[0])))

import libvirt

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    DiskRecord,
    NicConfig,
    NicRecord,
    VmConfig,
    VmRecord,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import new_domain


def config_of(number: int) -> VmConfig:
    """The VM of that number: one root disk, a seed, one NIC, and the metadata that a deploy leaves."""
    name = f"d{number:04}"
    vm_id = str(uuid5(NAMESPACE_URL, f"https://ablestack.io/benchmark/{name}"))
    mac = f"52:54:00:be:{number >> 8:02x}:{number & 255:02x}"
    root, seed = f"vm-{name}-{vm_id[:8]}-root.qcow2", f"vm-{name}-{vm_id[:8]}-seed.iso"
    record = VmRecord(
        name=name,
        display_name=f"Server {number}",
        group=f"group{number % 7}",
        labels=(("role", ("web", "db", "cache")[number % 3]), ("owner", f"team{number % 5}")),
        template="tiny",
        template_checksum=f"sha256:{number:064x}",
        compute_offering="small",
        affinity_groups=(f"apart{number % 11}",),
        ssh_key_pairs=("ops",),
        keys_digest=f"{number:064x}",
        created="2025-01-31T08:15:00Z",
        disks=(
            DiskRecord("root", "root", 0, "vda", "shared", root, 1 << 30),
            DiskRecord("seed", "seed", -1, "sda", "shared", seed),
        ),
        nics=(NicRecord(mac, "default"),),
    )
    disks = (
        DiskConfig("vda", f"/srv/shared/{root}"),
        DiskConfig("sda", f"/srv/shared/{seed}", kind="cdrom", bus="scsi", format="raw"),
    )
    return VmConfig(vm_id, name, record, 1, 96, 1, 96, virt_type="qemu", disks=disks, nics=(NicConfig(mac, "default"),))


def main(uri: str, first: str, count: str) -> None:
    connection = libvirt.open(uri)
    there = {domain.name() for domain in connection.listAllDomains()}
    wanted = [config_of(number) for number in range(int(first), int(first) + int(count))]
    missing = [config for config in wanted if config.domain_name not in there]
    for config in missing:
        connection.defineXML(new_domain(config).text)
    print(f"{uri}: {len(missing)} domains defined, {len(wanted) - len(missing)} were there")


if __name__ == "__main__":
    main(*sys.argv[1:])
