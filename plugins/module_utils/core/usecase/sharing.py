# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes in storage that hosts share: one volume, and VMs of any of these hosts may have it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Callable

from ..hypervisor.port import Host
from ..model.data_volume import DataVolume, holds
from ..model.errors import AblestackError, Code
from ..model.naming import data_disk_of
from ..model.resources import PoolFacts, VolumeFacts
from ..model.storage import Place, groups_sharing, is_declared
from ..model.vm import VmFacts
from .holding import given_meanwhile, volumes_of
from .infrastructure import Infrastructure
from .layering import with_snapshots
from .query import every_vm

_LOOKS = 3  # at a file on two hosts, before they count as two files


Has = Callable[[VmFacts, VolumeFacts], bool]


def as_others_see(infra: Infrastructure, host: Host, facts: VolumeFacts, has: Has = holds) -> list[DataVolume]:
    """The volume on each other host that has the same storage, with the VMs there that have it.

    HostUnavailable where a host cannot be asked of which the definitions say that it has that storage.
    """
    others = [spec for spec in infra.catalog.hosts if spec.name != host.spec.name]
    if not others:
        return []
    pool = host.pool(facts.pool)
    pools, errors = infra.on_hosts(lambda other: other.details().pools, others)
    for spec in others:
        if spec.name in errors and (pool.source or pool.name in {*spec.shared_pools} & {*host.spec.shared_pools}):
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"host '{spec.name}' cannot be asked whether one of its VMs has volume '{facts.name}' of pool"
                f" '{pool.name}', which it shares: {errors[spec.name].message}",
                "bring the host back, or take it out of the catalog",
                host=spec.name,
            )
    mates = _mates((host.spec, pool), pools, infra)
    found, errors = infra.on_hosts(
        lambda other: _seen(host, facts, (host.spec, pool), other, mates[other.spec.name], has),
        [spec for spec in others if spec.name in mates],
    )
    for error in errors.values():
        raise error
    return [row for rows in found.values() for row in rows]


def _mates(
    ours: Place, pools: Mapping[str, Mapping[str, PoolFacts]], infra: Infrastructure
) -> dict[str, list[PoolFacts]]:
    """The pools of other hosts that are the storage of ours, by host."""
    places = [(infra.catalog.host(name), pool) for name, on_host in pools.items() for pool in on_host.values()]
    mates: dict[str, list[PoolFacts]] = {}
    for spec, pool in groups_sharing([ours, *places])[0]:
        if spec.name != ours[0].name:
            mates.setdefault(spec.name, []).append(pool)
    return mates


def _seen(
    host: Host, facts: VolumeFacts, ours: Place, other: Host, pools: Iterable[PoolFacts], has: Has
) -> list[DataVolume]:
    rows = []
    for pool in pools:
        there = replace(facts, pool=pool.name, path=f"{pool.path}/{facts.name}")
        if is_declared(ours, (other.spec, pool)) or _is_one_file(host, facts, other, there):
            users = (vm for vm in every_vm(other) if has(vm, there))
            holders = tuple(vm if vm.exists else with_snapshots(other, vm) for vm in users)
            rows.append(DataVolume(data_disk_of(facts.name), other.spec, pool.name, there, holders))
    return rows


def _is_one_file(host: Host, facts: VolumeFacts, other: Host, there: VolumeFacts) -> bool:
    """Pools of one UUID may be copies of each other. A file tells by when it last changed, and two that lie still
    with different times are two; one that is written to at this moment is taken for one, which is the safe side.
    """
    times = set()
    for _look in range(_LOOKS):
        theirs = other.fresh_volume(there.pool, there.name)
        own = host.fresh_volume(facts.pool, facts.name)
        if theirs is None or own is None:
            return False
        if theirs.changed == own.changed:
            return True
        times.add((theirs.changed, own.changed))
    return len({own for _theirs, own in times}) > 1


def require_free_elsewhere(infra: Infrastructure, host: Host, vm: VmFacts, volumes: Collection[str]) -> None:
    """Conflict where a VM of another host has a shared data volume (pool/name) that the VM adopts, or is to have it.

    To be asked once the VM's own definition tells of it, as on its own host (holding.ensure_free).
    """
    for key in volumes:
        facts = host.volume(*key.split("/", 1))
        for row in as_others_see(infra, host, facts, _claims) if facts else ():
            for other in row.holders:
                if other.id != vm.id:
                    raise given_meanwhile(vm, key, other)


def has_or_awaits(vm: VmFacts, facts: VolumeFacts) -> bool:
    """Whether the volume is a disk of the VM's, or a living process is about to make it one."""
    return holds(vm, facts) or _claims(vm, facts)


def _claims(vm: VmFacts, facts: VolumeFacts) -> bool:
    return f"{facts.pool}/{facts.name}" in volumes_of(vm)
