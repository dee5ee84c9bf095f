# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor by direct calls of libvirt, over one connection: linked clones with a seed each, defined and started.

floor.py URI LAB_SCRIPTS deploy|stop|remove COUNT THREADS
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import libvirt


def volume(name: str, size: int, form: str, backing: str = "") -> str:
    store = f"<backingStore><path>{backing}</path><format type='qcow2'/></backingStore>" if backing else ""
    target = f"<target><format type='{form}'/></target>"
    return f"<volume><name>{name}</name><capacity unit='bytes'>{size}</capacity>{target}{store}</volume>"


class Floor:
    def __init__(self, uri: str, scripts: str) -> None:
        self.scripts = scripts
        self.connection = libvirt.open(uri)
        self.pool = self.connection.storagePoolLookupByName("default")
        self.pool.refresh()
        template = self.pool.storageVolLookupByName("halt.qcow2")
        self.backing, self.size = template.path(), template.info()[1]

    def deploy(self, name: str) -> None:
        disk = self.pool.createXML(volume(f"{name}.qcow2", self.size, "qcow2", self.backing))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "seed.iso")
            subprocess.run([f"{self.scripts}/mkseed.sh", str(file), name], check=True, stdout=subprocess.DEVNULL)
            content = file.read_bytes()
        seed = self.pool.createXML(volume(f"{name}.iso", len(content), "raw"))
        stream = self.connection.newStream()
        seed.upload(stream, 0, len(content))
        at = 0
        while at < len(content):
            at += stream.send(content[at : at + 262120])
        stream.finish()
        words = [f"{self.scripts}/tinyvm.sh", name, disk.path(), f"seed={seed.path()}"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        self.connection.defineXML(text).create()

    def stop(self, name: str) -> None:
        self.connection.lookupByName(name).destroy()

    def remove(self, name: str) -> None:
        self.connection.lookupByName(name).undefine()
        for suffix in ("qcow2", "iso"):
            self.pool.storageVolLookupByName(f"{name}.{suffix}").delete()


def main(uri: str, scripts: str, verb: str, count: str, threads: str) -> None:
    work: Any = getattr(Floor(uri, scripts), verb)
    with ThreadPoolExecutor(int(threads)) as workers:
        list(workers.map(work, (f"floor{number}" for number in range(1, int(count) + 1))))


if __name__ == "__main__":
    main(*sys.argv[1:])
