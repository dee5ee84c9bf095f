# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts for every domain, volume, reservation and file of a lab host, by what libvirt and its folders say."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from lab_tests.lab import Lab

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import (
    VmNames,
    template_descriptor,
    template_of,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import decode_descriptor
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase, VmConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import is_abandoned
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import read_domain

THEIRS = "theirs"
_FOLDERS = ("/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/swtpm", "/var/lib/libvirt/qemu/snapshot")


def put_theirs(connection: Any) -> None:
    """A domain and a volume of somebody else."""
    text = "<memory>1024</memory><os><type>hvm</type></os>"
    connection.defineXML(f"<domain type='qemu'><name>{THEIRS}</name>{text}</domain>")
    pool = connection.storagePoolLookupByName("default")
    pool.createXML(f"<volume><name>{THEIRS}.img</name><capacity>1024</capacity></volume>")


def theirs(connection: Any) -> tuple[str, str]:
    """What they are, to the letter."""
    pool = connection.storagePoolLookupByName("default")
    pool.refresh()
    volume = pool.storageVolLookupByName(f"{THEIRS}.img").XMLDesc(0)
    return connection.lookupByName(THEIRS).XMLDesc(0), re.sub(r"<[acm]time>.*?</[acm]time>", "", volume)


def audit(lab: Lab, host: str, connection: Any) -> list[str]:
    """What is wrong, in a sentence each."""
    configs = [read_domain(domain.XMLDesc(2)) for domain in connection.listAllDomains()]  # 2: the stored definition
    problems = [problem for config in configs for problem in _domain(config)]
    problems += _snapshots(connection)
    problems += _volumes(connection, configs)
    problems += _reservations(connection, configs)
    return problems + _files(lab, host, configs)


def _domain(config: VmConfig) -> list[str]:
    record = config.record
    if record is None:
        return [] if config.domain_name == THEIRS else [f"domain {config.domain_name} is nobody's"]
    names, mark = VmNames(record.name, config.id), record.mark
    found = []
    if mark.owner and not is_abandoned(mark):
        found.append(f"{record.name} is marked as worked on")
    if mark.phase is Phase.SETTLED and config.domain_name != names.domain:
        found.append(f"{config.domain_name} is settled")
    if mark.phase is Phase.DESTROYED and config.domain_name == record.name:
        found.append(f"{config.domain_name} is destroyed and has its name")
    return found


def _snapshots(connection: Any) -> list[str]:
    found = []
    for domain in connection.listAllDomains():
        record = read_domain(domain.XMLDesc(2)).record
        names = sorted(snapshot.getName() for snapshot in domain.listAllSnapshots())
        if record and record.mark.owner is None and sorted(record.snapshots) != names:
            found.append(f"{domain.name()} has snapshots {names}, its record {record.snapshots}")
    return found


def _volumes(connection: Any, configs: list[VmConfig]) -> list[str]:
    ids = {config.id[:8] for config in configs}
    found = []
    for pool in connection.listAllStoragePools():
        pool.refresh()
        names = set(pool.listVolumes())
        for name in sorted(names):
            if name.startswith("vm-") and re.match(r"vm-.+-([0-9a-f]{8})-", name).group(1) not in ids:  # type: ignore[union-attr]
                found.append(f"volume {name} is nobody's")
            elif name.endswith(".new"):
                found.append(f"volume {name} is left over")
            elif template_of(name):
                found += _template(connection, pool, template_of(name), names)
            elif not name.startswith(("vm-", "vol-", THEIRS)):
                found.append(f"volume {name} is not known")
        here = pool.XMLDesc(0)
        folder = ElementTree.fromstring(here).findtext("target/path") or ""
        wanted = {disk.path for config in configs for disk in config.disks if disk.path.startswith(f"{folder}/")}
        found += [f"{path} is gone" for path in sorted(wanted) if path.rpartition("/")[2] not in names]
    return found


def _template(connection: Any, pool: Any, name: str, names: set[str]) -> list[str]:
    if template_descriptor(name) not in names:
        return [f"template {name} has no descriptor"]
    volume = pool.storageVolLookupByName(template_descriptor(name))
    stream, content = connection.newStream(), []
    volume.download(stream, 0, 0)
    stream.recvAll(lambda _stream, data, _opaque: content.append(data), None)
    stream.finish()
    try:
        template = decode_descriptor(b"".join(content))
    except AblestackError as error:
        return [f"template {name}: {error}"]
    image = f"tmpl-{name}.{template.format}"
    return [] if image in names else [f"template {name} has no image"]


def _reservations(connection: Any, configs: list[VmConfig]) -> list[str]:
    macs = {nic.mac for config in configs for nic in config.nics}
    found = []
    for network in connection.listAllNetworks():
        rows = ElementTree.fromstring(network.XMLDesc(1)).findall("ip/dhcp/host")
        found += [f"{network.name()}: {row.attrib} is nobody's" for row in rows if row.get("mac") not in macs]
    return found


def _files(lab: Lab, host: str, configs: list[VmConfig]) -> list[str]:
    """What libvirt and QEMU keep beside definitions: firmware variables, TPM states, snapshots."""
    listed = lab.host(host, "find", *_FOLDERS, "-mindepth", "1", "-maxdepth", "1", check=False).stdout.split()
    known = [word for config in configs for word in (config.id, f"-{config.id[:8]}", f"/snapshot/{config.domain_name}")]
    empty = lab.host(host, "find", *_FOLDERS, "-type", "d", "-empty", check=False).stdout.split()
    return [f"{path} is nobody's" for path in listed if path not in empty and not any(word in path for word in known)]
