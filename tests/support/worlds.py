# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole sites in memory: a catalog, hosts, a ready template, two networks, and controllers at work on them."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog, HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import (
    template_descriptor,
    template_image,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    NetworkFacts,
    NetworkRecord,
    Template,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import encode_descriptor
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure

from .memory_calls import Process
from .memory_host import MemoryHost
from .memory_state import MemoryPool, MemoryState, MemoryVolume, qcow2_bytes

OFFERINGS: dict[str, Any] = {
    "compute_offerings": {
        "small": {"cpu": 1, "memory": 512},
        "medium": {"cpu": 2, "memory": "1GiB", "max_cpu": 4, "max_memory": "4GiB", "dynamic_scaling": True},
        "tagged": {"cpu": 1, "memory": 512, "host_tags": ["ssd"]},
        "custom": {"custom": True, "min_cpu": 1, "max_cpu": 8, "min_memory": 256, "max_memory": "8GiB"},
    },
    "disk_offerings": {"data1": {"size": 1}, "data2": {"size": 2, "max_iops": 500}, "custom": {"custom": True}},
    "ssh_key_pairs": {"ops": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ops"},
    "affinity_groups": {"apart": {"type": "host-anti-affinity"}, "together": {"type": "host-affinity"}},
}

DEFAULT_NETWORK = NetworkFacts(
    name="default",
    id="00000000-0000-4000-8000-0000000000d0",
    active=True,
    forward="nat",
    bridge="virbr0",
    cidr="192.168.122.0/24",
    gateway="192.168.122.1",
    dhcp_start="192.168.122.2",
    dhcp_end="192.168.122.254",
)
MANAGED_NETWORK = NetworkFacts(
    name="lan",
    id="00000000-0000-4000-8000-0000000000a0",
    active=True,
    forward="nat",
    bridge="virbr1",
    cidr="10.10.10.0/24",
    gateway="10.10.10.1",
    dhcp_start="10.10.10.100",
    dhcp_end="10.10.10.199",
    record=NetworkRecord(type="isolated"),
)
TINY = qcow2_bytes(1 * GIB, b"the tiny system")


def put_template(pool: MemoryPool, name: str = "tiny", content: bytes = TINY, **values: Any) -> Template:
    """A template that is Ready in that pool."""
    image = MemoryVolume(content)
    image.probe()
    image_format = str(values.pop("format", image.format))
    template = Template(
        name=name,
        format=image_format,
        size=image.capacity,
        file_size=len(content),
        checksum=f"sha256:{hashlib.sha256(content).hexdigest()}",
        created="2026-01-01T00:00:00Z",
        **values,
    )
    descriptor = encode_descriptor(template)
    pool.volumes[template_image(name, image_format)] = image
    pool.volumes[template_descriptor(name)] = MemoryVolume(descriptor, capacity=len(descriptor))
    return template


@dataclass
class Controller:
    """One process that works on the site; `hosts` are its connections, by host name."""

    infrastructure: Infrastructure
    hosts: dict[str, MemoryHost]

    @property
    def writes(self) -> list[str]:
        """The names of all write calls it has made, host by host."""
        return [name for host in self.hosts.values() for name, _args in host.writes]


@dataclass
class World:
    """A site. `states` by host name; a host in `down` cannot be reached."""

    catalog: Catalog
    states: dict[str, MemoryState]
    down: set[str] = field(default_factory=set)

    def controller(self, check: bool = False) -> Controller:
        """A new process with connections of its own, read-only in check mode."""
        process = Process()
        hosts = {
            spec.name: MemoryHost(spec, self.states[spec.name], read_only=check, process=process)
            for spec in self.catalog.hosts
        }

        def open_host(spec: HostSpec) -> MemoryHost:
            if spec.name in self.down:
                raise AblestackError(Code.HOST_UNAVAILABLE, f"host '{spec.name}' cannot be reached")
            return hosts[spec.name]

        return Controller(Infrastructure(self.catalog, open_host, check), hosts)

    def copy(self) -> World:
        """The same site once more: what happens to one does not happen to the other."""
        return World(self.catalog, pickle.loads(pickle.dumps(self.states)), set(self.down))

    @property
    def state(self) -> MemoryState:
        """The state of the first host: the only one in many tests."""
        return self.states[self.catalog.hosts[0].name]

    @property
    def pool(self) -> MemoryPool:
        """The first host's default pool."""
        return self.state.pools["default"]


def make_world(
    hosts: int = 1,
    template: bool = True,
    implicit: bool = False,
    host_values: Any = None,
    shared: bool = False,
    **sections: Any,
) -> World:
    """A site of so many hosts, kvm01, kvm02, …

    `host_values` maps a host's name to what its catalog entry says beside name and URI, `sections` replace or add
    sections of the catalog; `implicit` gives the catalog of a task that names one URI; `shared` gives all hosts the
    same storage.
    """
    names = [f"kvm{number:02}" for number in range(1, hosts + 1)]
    entries = [{"name": name, "uri": f"memory://{name}/system", **(host_values or {}).get(name, {})} for name in names]
    catalog = read_catalog({"hosts": entries, **OFFERINGS, **sections})
    if implicit:
        catalog = Catalog.of_uri(f"memory://{names[0]}/system")
    states = {name: MemoryState() for name in names}
    for spec in catalog.hosts:
        state = states[spec.name]
        state.peers = {other.peer_uri: states[other.name] for other in catalog.hosts if other is not spec}
        for pool in sorted({spec.pool, spec.templates}):
            if shared and state is not states[names[0]]:
                state.pools[pool] = states[names[0]].pools[pool]
            else:
                state.add_pool(pool)
        for network in (DEFAULT_NETWORK, MANAGED_NETWORK):
            state.add_network(replace(network))
        if template and not (shared and state is not states[names[0]]):
            put_template(state.pools[spec.templates])
    return World(catalog, states)
