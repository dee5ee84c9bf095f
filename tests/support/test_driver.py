# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of libvirt's test driver: real libvirt, nothing behind it; every connection is a host of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec

NODE = """
<node>
  <cpu><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu>
  <domain type='test'>
    <name>others</name><uuid>aaaaaaaa-0000-4000-8000-000000000001</uuid>
    <memory unit='MiB'>512</memory><vcpu>1</vcpu><os><type>hvm</type></os>
  </domain>
  <network>
    <name>default</name><forward mode='nat'/><bridge name='virbr0'/>
    <ip address='192.168.122.1' prefix='24'><dhcp><range start='192.168.122.2' end='192.168.122.99'/></dhcp></ip>
  </network>
  <pool type='dir'>
    <name>default</name><target><path>/srv/default</path></target>
    <capacity unit='GiB'>10</capacity><available unit='GiB'>10</available>
  </pool>
  <pool type='logical'><name>lvm</name><source><name>vg</name></source><target><path>/dev/vg</path></target></pool>
</node>
"""


@contextmanager
def driver_host(folder: Path, read_only: bool = False) -> Iterator[Any]:
    """A connected host with one running domain of somebody else's, a network, a pool of files and one of none."""
    file = folder / "node.xml"
    file.write_text(NODE, encoding="utf-8")
    host = open_host(HostSpec("kvm01", f"test://{file}"), read_only=read_only)
    try:
        yield host
    finally:
        host.close()
