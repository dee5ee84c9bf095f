# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as results show it (INTERFACE 8): what it is, how much of it is given out, and what lives on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .catalog import Settings
from .resources import HostFacts, PoolFacts
from .values import gib
from .vm import VmFacts


def host_view(
    facts: HostFacts, vms: Iterable[VmFacts], settings: Settings, sharing: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """One host. `sharing` has by pool the other hosts that have the same storage; memory is in MiB."""
    spec = facts.spec
    cpu = _given_out(facts.cpus, facts.used_cpus, settings.cpu_overprovisioning)
    memory = _given_out(facts.memory, facts.used_memory, settings.memory_overprovisioning)
    return {
        "name": spec.name,
        "uri": spec.uri,
        "zone": spec.zone,
        "pod": spec.pod,
        "cluster": spec.cluster,
        "tags": list(spec.tags),
        "state": spec.state,
        "cpu": cpu,
        "memory": memory,
        "full": max(cpu["share"], memory["share"]) >= settings.capacity_threshold,
        "vms": [_vm(vm) for vm in sorted(vms, key=lambda vm: (vm.name.lower(), vm.id))],
        "virt_types": list(facts.virt_types),
        "firmware": ["bios", *facts.firmware],
        "tpm": facts.tpm,
        "libvirt_version": facts.libvirt_version,
        "hypervisor_version": facts.hypervisor_version,
        "pools": [_pool(pool, sharing.get(name, ())) for name, pool in sorted(facts.pools.items())],
        "networks": sorted(facts.networks),
    }


def _given_out(total: int, used: int, overprovisioning: float) -> dict[str, Any]:
    """What placement reckons with; a share of 1 is all there is."""
    capacity = total * overprovisioning
    return {
        "total": total,
        "capacity": int(capacity),
        "used": used,
        "share": round(used / capacity, 3) if capacity else 0.0,
    }


def _vm(vm: VmFacts) -> dict[str, Any]:
    shown = vm.live or vm.config
    return {
        "name": vm.name,
        "id": vm.id,
        "state": vm.state,
        "cpu": shown.cpu,
        "memory": shown.memory,
        "managed": vm.record is not None,
    }


def _pool(pool: PoolFacts, others: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": pool.name,
        "type": pool.type,
        "path": pool.path,
        "capacity_gib": gib(pool.capacity),
        "available_gib": gib(pool.available),
        "shared_with": list(others),
    }
