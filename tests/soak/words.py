# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs' disks read: a word is written into each now and then, and has to be there after whatever happens.

It lies in the gap before a disk's first partition, where neither firmware nor guest writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from lab_tests.lab import Lab

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import data_disk_of
from support.tasks import Task

from .host_audit import SHARED, Domain, domains_of

_AT = 0xFF000
_READ = (
    f'for path; do echo "= $path"; qemu-io -U -r -f qcow2 -c "read -v {_AT} 1" -c "read -v {_AT + 512} 1" "$path"; done'
)
_BYTE = re.compile(rf"0*({_AT:x}|{_AT + 512:x}):\s+([0-9a-f]{{2}})\b")
BLANK = "0000"
Words = dict[str, str]
"""By disk (a data disk's volume, or a VM's id for its root) two bytes in hexadecimal digits."""


class Ledger:
    """What each disk reads, and has to read when its VM goes back to a snapshot."""

    def __init__(self, lab: Lab, hosts: Sequence[str], folder: str = SHARED) -> None:
        self.lab = lab
        self.hosts = hosts
        self.folder = folder  # of the pool that all of them have
        self.now: Words = {}
        self.kept: dict[tuple[str, str], Words] = {}
        self.compared = 0

    def write(self, word: str) -> int:
        """Writes a word into the disks of all VMs that are off; how many there were."""
        count = 0
        for domain in self._domains():
            if domain.live or not domain.record or "." in domain.config.domain_name:
                continue
            for key, path in _disks(domain).items():
                bytes_ = [f"write -P 0x{word[n : n + 2]} {_AT + 256 * n} 512" for n in (0, 2)]
                commands = [argument for line in bytes_ for argument in ("-c", line)]
                self.lab.host(domain.host, "qemu-io", "-f", "qcow2", *commands, path)
                self.now[key] = word
                count += 1
        return count

    def check(self, task: Task, told: dict[str, Any]) -> list[str]:
        """What is wrong with the disks after a task that ended so; afterwards they count for right."""
        domains = [domain for domain in self._domains() if domain.record]
        disks = {key: (domain, path) for domain in domains for key, path in _disks(domain).items()}
        free = {key: f"{self.folder}/{key}" for key in self._free() if key not in disks}
        reads = self._read(disks, free)
        found = [f"{key} cannot be read" for key in (*disks, *free) if key not in reads]
        for key, word in reads.items():
            vm = disks[key][0] if key in disks else None
            right = self._right(key, vm, task, told)
            if word not in right:
                found.append(f"disk {key} of {vm.config.domain_name if vm else 'no VM'} reads {word}, not {right}")
        found += self._appeared({*reads} - {*self.now}, disks, task, told) + self._lost({*self.now} - {*reads}, task)
        self.compared += len(reads)
        self.now = reads
        self.kept = {
            (domain.config.id, name): self.kept.get((domain.config.id, name))
            or {key: reads[key] for key, (owner, _path) in disks.items() if owner is domain and key in reads}
            for domain in domains
            for name in domain.images
        }
        return found

    def _right(self, key: str, vm: Domain | None, task: Task, told: dict[str, Any]) -> list[str]:
        """The words that a disk may read after a task."""
        before = self.now.get(key, BLANK)
        if vm is None or not vm.record or task.options.get("vm", task.options.get("name")) != vm.record.name:
            return [before]
        state, failed = task.options.get("state"), told.get("code")
        if state == "reinstalled" and key == vm.config.id:
            return [before, BLANK] if failed else [BLANK]
        kept = self.kept.get((vm.config.id, str(task.options.get("name"))), {})
        if state == "reverted" and key in kept and "." not in vm.config.domain_name:
            return [before, kept[key]] if failed else [kept[key]]
        return [before]

    @staticmethod
    def _appeared(keys: set[str], disks: dict[str, Any], task: Task, told: dict[str, Any]) -> list[str]:
        made = {data_disk_of(key) for key in keys if key not in disks}
        return [
            f"data disk {name} appeared from nowhere"
            for name in sorted(made)
            if task.module != "volume" or told.get("code") or task.options["name"] != name
        ]

    @staticmethod
    def _lost(keys: set[str], task: Task) -> list[str]:
        state = task.options.get("state")
        if task.module == "expunge" or (state == "expunged" and task.options.get("delete_data_disks") == "all"):
            return []
        deleted = task.options["name"] if task.module == "volume" and state == "absent" else ""
        return [
            f"data disk {data_disk_of(key)} is lost" for key in sorted(keys) if data_disk_of(key) not in ("", deleted)
        ]

    def _domains(self) -> list[Domain]:
        found = []
        for host in self.hosts:
            with closing(self.lab.connect(host)) as connection:
                found += domains_of(host, connection)
        return found

    def _free(self) -> list[str]:
        listed = self.lab.host(self.hosts[0], "ls", self.folder).stdout.split()
        return [name for name in listed if data_disk_of(name)]

    def _read(self, disks: dict[str, tuple[Domain, str]], free: dict[str, str]) -> Words:
        """What could be read of them."""
        places = {key: (domain.host, path) for key, (domain, path) in disks.items()}
        places.update({key: (self.hosts[0], path) for key, path in free.items()})
        found: Words = {}
        for host in self.hosts:
            keys = {path: key for key, (place, path) in places.items() if place == host}
            answer = self.lab.host(host, "sh", "-c", _READ, "sh", *keys, check=False).stdout if keys else ""
            for part in answer.split("= ")[1:]:
                word = "".join(match.group(2) for match in _BYTE.finditer(part))
                if len(word) == len(BLANK):
                    found[keys[part.split("\n", 1)[0]]] = word
        return found


def _disks(domain: Domain) -> dict[str, str]:
    """By key the paths of a VM's disks, as it is stored: what a running one writes to is stored, too."""
    found = {}
    for disk in domain.record.disks if domain.record else ():
        have = domain.config.disk(disk.target)
        if have and have.path and disk.role in ("root", "data"):
            found[disk.volume if disk.role == "data" else domain.config.id] = have.path
    return found
