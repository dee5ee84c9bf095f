# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog: the hosts there are and what is offered on them, kept in git instead of a database (INTERFACE 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from .errors import AblestackError, Code

Entry = TypeVar("Entry")

HOST_STATES = ("enabled", "disabled", "maintenance")
ALLOCATION_RULES = ("least-used", "first-fit", "random", "packed")
AFFINITY_TYPES = (
    "host-affinity",
    "host-anti-affinity",
    "non-strict-host-affinity",
    "non-strict-host-anti-affinity",
)


@dataclass(frozen=True)
class HostSpec:
    """One KVM host. `pool` holds VM disks (primary storage), `template_pool` templates and ISOs.

    `shared_pools` are pools that hold the same files on every host that names them so.
    `migration_uri` is its URI as other hosts reach it, where that is another one than ours.
    """

    name: str
    uri: str
    zone: str = "default"
    pod: str = "default"
    cluster: str = "default"
    tags: tuple[str, ...] = ()
    state: str = "enabled"
    pool: str = "default"
    template_pool: str = ""
    shared_pools: tuple[str, ...] = ()
    virt_type: str = "auto"
    cpu_mode: str = "auto"
    migration_uri: str = ""

    @property
    def peer_uri(self) -> str:
        """The URI by which another host's daemon connects it to migrate a VM to it; empty where there is none."""
        if self.migration_uri or self.uri.partition("://")[2].partition("/")[0]:
            return self.migration_uri or self.uri
        return ""

    @property
    def templates(self) -> str:
        """The pool that templates live in."""
        return self.template_pool or self.pool


@dataclass(frozen=True)
class ComputeOffering:
    """CPU count and memory (MiB) a VM gets: fixed, or custom within bounds."""

    name: str
    cpu: int | None = None
    memory: int | None = None
    max_cpu: int | None = None
    max_memory: int | None = None
    custom: bool = False
    min_cpu: int | None = None
    min_memory: int | None = None
    host_tags: tuple[str, ...] = ()
    dynamic_scaling: bool = False


@dataclass(frozen=True)
class DiskOffering:
    """What a disk gets: size in bytes (None where custom), IOPS limits, pool, thin or fat provisioning."""

    name: str
    size: int | None = None
    min_iops: int | None = None
    max_iops: int | None = None
    pool: str = ""
    provisioning: str = "thin"
    custom: bool = False


@dataclass(frozen=True)
class AffinityGroup:
    """VMs that must, or would rather, share a host or avoid sharing one."""

    name: str
    type: str


@dataclass(frozen=True)
class Settings:
    """Global settings; names and defaults follow Mold's, times are seconds."""

    cpu_overprovisioning: float = 1.0
    memory_overprovisioning: float = 1.0
    capacity_threshold: float = 0.85
    allocation: str = "least-used"
    expunge_delay: int = 86400
    max_vm_snapshots: int = 10
    stop_timeout: int = 120
    max_data_disks: int = 6
    allow_unreachable: bool = False


@dataclass(frozen=True)
class Catalog:
    """All of it. `implicit` marks the catalog made of one URI, where nobody stated offerings or capacities."""

    hosts: tuple[HostSpec, ...]
    compute_offerings: Mapping[str, ComputeOffering] = field(default_factory=dict)
    disk_offerings: Mapping[str, DiskOffering] = field(default_factory=dict)
    ssh_key_pairs: Mapping[str, str] = field(default_factory=dict)
    affinity_groups: Mapping[str, AffinityGroup] = field(default_factory=dict)
    settings: Settings = Settings()
    implicit: bool = False

    @staticmethod
    def of_uri(uri: str) -> Catalog:
        """The catalog of a task that names one URI instead."""
        return Catalog(hosts=(HostSpec(name=host_name_of(uri), uri=uri),), implicit=True)

    def host(self, name: str) -> HostSpec:
        """The host of that name, else NotFound with the names there are."""
        return _lookup({host.name: host for host in self.hosts}, name, "host")

    def compute_offering(self, name: str) -> ComputeOffering:
        """The compute offering of that name, else NotFound."""
        return _lookup(self.compute_offerings, name, "compute offering")

    def disk_offering(self, name: str) -> DiskOffering:
        """The disk offering of that name, else NotFound."""
        return _lookup(self.disk_offerings, name, "disk offering")

    def ssh_key(self, name: str) -> str:
        """The public key of that key pair, else NotFound."""
        return _lookup(self.ssh_key_pairs, name, "SSH key pair")

    def affinity_group(self, name: str) -> AffinityGroup:
        """The affinity group of that name, else NotFound."""
        return _lookup(self.affinity_groups, name, "affinity group")


def host_name_of(uri: str) -> str:
    """The host a libvirt URI points at: its server part, else "localhost"."""
    rest = uri.partition("://")[2]
    server = rest.partition("/")[0].rpartition("@")[2]
    if server.startswith("["):
        return server[1:].partition("]")[0]
    return server.partition(":")[0] or "localhost"


def key_names(kind: type) -> list[str]:
    """The keys a catalog entry of that kind may have (its name is the key it stands under)."""
    return [entry.name for entry in fields(kind)]


def _lookup(entries: Mapping[str, Entry], name: str, what: str) -> Entry:
    if name in entries:
        return entries[name]
    known = ", ".join(sorted(entries)) or "none"
    raise AblestackError(Code.NOT_FOUND, f"{what} '{name}' is not in the catalog", f"the catalog has: {known}")
