# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts for every domain, volume, reservation and file of the lab's hosts, by what libvirt and their folders say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import libvirt
from lab_tests.lab import Lab

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import (
    VmNames,
    data_disk_of,
    template_descriptor,
    template_of,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import decode_descriptor
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Mark, Phase, VmConfig, VmRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import is_abandoned
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import (
    domain_of,
    read_domain,
    read_live,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import read_holds
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.snapshot_mapping import read_snapshot

from .theirs import THEIRS

SHARED = "/srv/shared"
"""The folder of the pool that is the same on all hosts of the lab."""
_STATE = ("/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/swtpm", "/var/lib/libvirt/qemu/snapshot")
_OPEN = ("/srv/default", "/srv/local", SHARED, *_STATE, "/var/lib/libvirt/qemu/save", "/etc/libvirt/qemu")
_AT_REST = (Phase.SETTLED, Phase.DESTROYED)


@dataclass
class Audit:
    """What is wrong, in a sentence each, and how much was accounted for, by kind."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Domain:
    """A domain as its host has it."""

    host: str
    config: VmConfig
    live: VmConfig | None
    holds: tuple[Hold, ...]
    state: int
    autostart: bool
    images: dict[str, tuple[tuple[str, str], ...]]  # by snapshot its (target, path)

    @property
    def record(self) -> VmRecord | None:
        return self.config.record

    @property
    def paths(self) -> set[str]:
        """The images that it, as it runs and as it is stored, and its snapshots name."""
        disks = (*self.config.disks, *(self.live.disks if self.live else ()))
        kept = (path for rows in self.images.values() for _target, path in rows)
        return {path for path in (*(disk.path for disk in disks), *kept) if path}


def clear_state(lab: Lab, host: str) -> None:
    """Removes what hosts keep beside definitions, where they have none."""
    lab.host(host, "find", *_STATE, "-mindepth", "1", "-delete", check=False)


def domains_of(host: str, connection: Any) -> list[Domain]:
    """All domains of a host."""
    found = []
    for handle in connection.listAllDomains():
        stored, shown = handle.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), handle.XMLDesc(0)
        snapshots = [read_snapshot(one.getXMLDesc(0), "") for one in handle.listAllSnapshots()]
        found.append(
            Domain(
                host,
                read_domain(stored),
                read_live(shown),
                read_holds(domain_of(stored)),
                handle.state()[0],
                bool(handle.autostart()),
                {one.name: one.images for one in snapshots},
            )
        )
    return found


def audit(lab: Lab, hosts: Sequence[str]) -> Audit:
    """Nothing is under way on these hosts, and no other host has to do with what they have."""
    found = Audit()
    domains: list[Domain] = []
    needed: set[str] = set()
    for host in hosts:
        with closing(lab.connect(host)) as connection:
            own = domains_of(host, connection)
        domains += own
        wanted = {path for domain in own for path in domain.paths}
        chains = _chains(lab, host, wanted)
        found.problems += [f"{host}: {path} is gone, or stands on what is gone" for path in sorted(wanted - {*chains})]
        # what only one host has belongs to that host
        below = {path for chain in chains.values() for path in chain}
        needed |= {path if path.startswith(SHARED) else f"{host}:{path}" for path in below}
    found.counts["domains"] += len(domains)
    _once(domains, found)
    for domain in domains:
        found.problems += [f"{domain.host}: {problem}" for problem in _domain(domain)]
        found.counts["snapshots"] += len(domain.images)
    for place, host in enumerate(hosts):
        own = [domain for domain in domains if domain.host == host]
        with closing(lab.connect(host)) as connection:
            problems = [
                *_volumes(lab, host, connection, needed, domains, found.counts, shared=place == 0),
                *_reservations(connection, own, found.counts),
                *_files(lab, host, own, found.counts),
            ]
        found.problems += [f"{host}: {problem}" for problem in problems]
    return found


def _chains(lab: Lab, host: str, paths: set[str], options: str = "") -> dict[str, list[str]]:
    """By image the files that it consists of, itself first; those that cannot be read are not in it."""
    script = f'for path; do qemu-img info -U --backing-chain {options} --output=json "$path" && echo; done'
    text = lab.host(host, "sh", "-c", script, "sh", *sorted(paths), check=False).stdout.strip()
    found, decoder = {}, json.JSONDecoder()
    while text:
        rows, end = decoder.raw_decode(text)
        found[rows[0]["filename"]] = [row["filename"] for row in rows]
        text = text[end:].lstrip()
    return found


def _once(domains: list[Domain], found: Audit) -> None:
    """A VM is on one host, has a name of its own, and shares no data disk."""
    ours = [(domain, domain.record) for domain in domains if domain.record]
    for what, names in (
        ("VM", Counter(domain.config.id for domain, _record in ours)),
        ("name", Counter(domain.config.domain_name for domain, _record in ours)),
        ("disk", Counter(f"{disk.pool}/{disk.volume}" for _domain, record in ours for disk in record.data_disks)),
    ):
        found.problems += [f"{what} {name} is there {count} times" for name, count in names.items() if count > 1]


def _domain(domain: Domain) -> Iterator[str]:
    config, record = domain.config, domain.record
    if record is None:
        if config.domain_name != THEIRS:
            yield f"domain {config.domain_name} is nobody's"
        return
    names, mark = VmNames(record.name, config.id), record.mark
    if mark.owner:
        yield f"{record.name} is marked as worked on, by a process that {'died' if is_abandoned(mark) else 'lives'}"
    if mark.phase not in _AT_REST:
        yield f"{record.name} is left {mark.phase.value}"
    destroyed = mark.phase is Phase.DESTROYED
    if config.domain_name != (names.destroyed_domain if destroyed else names.domain):
        yield f"{config.domain_name} is {mark.phase.value or 'settled'}"
    if destroyed and domain.live:
        yield f"{config.domain_name} is destroyed and runs"
    if domain.state == libvirt.VIR_DOMAIN_PAUSED:
        yield f"{config.domain_name} is left paused"
    if domain.autostart != (record.autostart and not destroyed):
        yield f"{config.domain_name} starts with its host: {domain.autostart}"
    for hold in domain.holds:
        # one of a dead process is taken away by whoever comes next
        if not is_abandoned(Mark(since=hold.since, owner=hold.owner)):
            yield f"{record.name} is held by a process that lives"
    if sorted(record.snapshots) != sorted(domain.images):
        yield f"{config.domain_name} has snapshots {sorted(domain.images)}, its record {record.snapshots}"


def _volumes(
    lab: Lab,
    host: str,
    connection: Any,
    needed: set[str],
    domains: list[Domain],
    counts: Counter[str],
    *,
    shared: bool,
) -> Iterator[str]:
    held = {f"{disk.pool}/{disk.volume}" for domain in domains if domain.record for disk in domain.record.data_disks}
    for pool in connection.listAllStoragePools():
        folder = ElementTree.fromstring(pool.XMLDesc(0)).findtext("target/path") or ""
        if pool.name() == THEIRS or (folder == SHARED and not shared):
            continue
        pool.refresh()
        names = set(pool.listVolumes())
        counts["volumes"] += len(names)
        data = {f"{folder}/{name}" for name in names if data_disk_of(name)}
        chains = _chains(lab, host, data, "-f qcow2")
        for name in sorted(names):
            path = f"{folder}/{name}"
            is_needed = (path if folder == SHARED else f"{host}:{path}") in needed
            if name.startswith("vm-"):
                if not is_needed:
                    yield f"volume {path} is left over"
            elif data_disk_of(name):
                counts["data disks that no VM has"] += f"{pool.name()}/{name}" not in held
                if len(chains.get(path, ())) != 1:
                    yield f"data disk {path} is torn, or stands on another image: {chains.get(path, [])}"
            elif template_of(name):
                yield from _template(lab, host, connection, pool, folder, template_of(name), names)
            else:
                yield f"volume {path} is not known"


def _template(
    lab: Lab, host: str, connection: Any, pool: Any, folder: str, name: str, names: set[str]
) -> Iterator[str]:
    if template_descriptor(name) not in names:
        yield f"template {name} has no descriptor"
        return
    volume = pool.storageVolLookupByName(template_descriptor(name))
    stream, content = connection.newStream(), []
    volume.download(stream, 0, 0)
    stream.recvAll(lambda _stream, data, _opaque: content.append(data), None)
    stream.finish()
    try:
        template = decode_descriptor(b"".join(content))
    except AblestackError as error:
        yield f"template {name}: {error}"
        return
    image = f"tmpl-{name}.{template.format}"
    kind, _colon, digest = template.checksum.partition(":")
    if lab.host(host, f"{kind}sum", f"{folder}/{image}", check=False).stdout.split()[:1] != [digest]:
        yield f"image {image} is not what its descriptor says"


def _reservations(connection: Any, domains: list[Domain], counts: Counter[str]) -> Iterator[str]:
    """Each belongs to a NIC of this host's domains, and whoever asked for an address of such a network has one."""
    macs = {nic.mac for domain in domains for nic in domain.config.nics}
    asked = [nic for domain in domains if domain.record for nic in domain.record.nics if nic.ip and nic.mac in macs]
    for network in connection.listAllNetworks():
        if network.name() == THEIRS:
            continue
        counts["networks"] += 1
        for flags in (0, libvirt.VIR_NETWORK_XML_INACTIVE):
            document = ElementTree.fromstring(network.XMLDesc(flags))
            rows = {row.get("mac"): row.get("ip") for row in document.findall("ip/dhcp/host")}
            counts["reservations"] += len(rows) if flags else 0
            for mac, ip in rows.items():
                if mac not in macs:
                    yield f"{network.name()}: the reservation of {ip} for {mac} is nobody's"
            for nic in asked:
                if nic.network == network.name() and rows.get(nic.mac) != nic.ip:
                    yield f"{network.name()}: {nic.mac} is to have {nic.ip}, and has {rows.get(nic.mac)}"


def _files(lab: Lab, host: str, domains: list[Domain], counts: Counter[str]) -> Iterator[str]:
    """What libvirt and QEMU keep beside definitions: firmware variables, TPM states, snapshots; and who may read it."""
    find = ("find", *_STATE, "-mindepth", "1")
    listed = lab.host(host, *find, "-maxdepth", "1", check=False).stdout.split()
    # a VM that moved leaves an empty lock in an empty folder (docs/limits.md)
    filled = {*lab.host(host, *find, "-type", "f", "!", "-name", ".lock", check=False).stdout.split()}
    known = [word for one in domains for word in (one.config.id, f"-{one.config.id[:8]}")]
    folders = {f"{_STATE[-1]}/{one.config.domain_name}" for one in domains}
    counts["files of firmware, TPM and snapshots"] += len(filled)
    for path in listed:
        is_known = path in folders or any(word in path for word in known)
        if not is_known and any(file == path or file.startswith(f"{path}/") for file in filled):
            yield f"{path} is nobody's"
    for path in lab.host(host, "find", *_OPEN, "-type", "f", "-perm", "/o+rwx", check=False).stdout.split():
        if THEIRS not in path and not path.startswith("/etc/libvirt/qemu/networks/default"):
            yield f"{path} is open to everybody"
