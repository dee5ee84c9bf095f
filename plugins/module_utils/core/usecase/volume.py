# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One data volume brought to what the task says, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..hypervisor.port import Host
from ..model.data_volume import DataVolume, DataVolumeSpec, data_volume_view, holds, predicted_view
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import data_disk_of, data_volume, tombstone
from ..model.outcome import Outcome
from ..model.resources import FILE_POOLS
from ..model.storage import Place, is_declared, pool_marks
from ..model.values import is_uuid
from ..model.vm import VmFacts
from ..plan.offering import pool_of_disk
from ..plan.steps import SetRecord
from ..plan.volume import VolumePlan, plan_volume
from .execute import execute
from .holding import holding
from .infrastructure import Infrastructure
from .layering import with_snapshots
from .locate import locate
from .query import every_vm, read_vms
from .sharing import as_others_see, has_or_awaits
from .survey import Pools, with_room
from .tombstone import await_burial, burying, has_tombstone
from .vm import apply_vm

_NOT_IN_DIFF = ("allocated_gib",)


def apply_volume(infra: Infrastructure, spec: DataVolumeSpec) -> Outcome:
    """Result: `volume` and `changes`. In check mode it only says what would be."""
    vm = _vm(infra, spec)
    volume = _find(infra, spec, vm)
    if volume.facts is None and spec.state == "absent":
        return _swept(infra, spec)
    host = infra.host(volume.host.name)

    def planned(pools: Pools | None) -> VolumePlan:
        pool = pools[volume.pool] if pools else host.pool(volume.pool)
        return plan_volume(spec, infra.catalog, volume, pool, vm)

    plan = with_room(host, [volume.pool], planned)
    before = data_volume_view(volume)
    if plan.vm is not None:
        return _by_vm(infra, plan, volume, before)
    if plan.steps and not infra.check:
        told = {step.vm_id for step in plan.steps if isinstance(step, SetRecord)}
        lenders = [vm for vm in volume.lenders if vm.id in told]
        with _deleting(infra, host, volume) if spec.state == "absent" else holding(host, lenders):
            execute(host, plan.steps)
        after = data_volume_view(_on_host(host, volume.name, volume.pool))
    elif plan.steps:
        after = {} if plan.size is None else predicted_view(volume, plan.size)
    else:
        after = before
    return _outcome(bool(plan.steps), before, after, [])


@contextmanager
def _deleting(infra: Infrastructure, host: Host, volume: DataVolume) -> Iterator[None]:
    """Keeps others off the volume and the destroyed VMs that have it. Conflict where one was faster."""
    facts, lenders = volume.facts, {vm.id: vm for vm in volume.lenders}
    if facts is None:
        raise AblestackError(Code.INTERNAL, "a volume that is not there is to be deleted")
    here = [vm for vm in lenders.values() if vm.host.name == host.spec.name]
    with holding(host, here), burying(host, facts.pool, tombstone(volume.name)):
        users = [vm for vm in every_vm(host) if has_or_awaits(vm, facts)]
        users += [vm for row in as_others_see(infra, host, facts, has_or_awaits) for vm in row.holders]
        for vm in users:
            if vm.exists or vm.id not in lenders:
                raise AblestackError(
                    Code.CONFLICT,
                    f"volume '{volume.name}' was given to VM '{vm.name}' on host '{vm.host.name}' meanwhile",
                    "run the task again",
                )
        yield


def _swept(infra: Infrastructure, spec: DataVolumeSpec) -> Outcome:
    """The volume is gone; so is, from now on, what a killed process has left that was deleting it."""
    pool = pool_of_disk(spec.disk, infra.catalog)

    def sweep(host: Host) -> bool:
        place = (pool or host.spec.pool, tombstone(spec.name))
        there = has_tombstone(host, *place)
        if there and not infra.check:
            await_burial(host, *place)
        return there

    found, _errors = infra.on_hosts(sweep, (infra.catalog.host(spec.host),) if spec.host else None)
    return _outcome(any(found.values()), {}, {}, [])


def _by_vm(infra: Infrastructure, plan: VolumePlan, volume: DataVolume, before: Mapping[str, Any]) -> Outcome:
    """The VM's own plan does it, with all it refuses and all it does live."""
    if plan.vm is None:
        raise AblestackError(Code.INTERNAL, "a volume's VM was not planned")
    try:
        done = apply_vm(infra, plan.vm)
    except AblestackError as error:
        if error.code is Code.INVALID_STATE and error.details.get("changes"):
            error.hint = "stop the VM first"  # the rest of it is an option that a volume has not
        raise
    if infra.check:
        disks = {disk["name"]: disk for disk in done.result["vm"]["disks"]}
        size = disks[volume.name]["size_gib"] if volume.name in disks else None
        after = predicted_view(volume, plan.size or 0, done.result["vm"])
        after["size_gib"] = after["size_gib"] if size is None else size
    else:
        after = data_volume_view(_on_host(infra.host(volume.host.name), volume.name, volume.pool))
    return _outcome(done.changed, before, after, done.result["changes"])


def _outcome(changed: bool, before: Mapping[str, Any], after: Mapping[str, Any], changes: list[Any]) -> Outcome:
    shown = [{key: value for key, value in view.items() if key not in _NOT_IN_DIFF} for view in (before, after)]
    return Outcome(changed, shown[0], shown[1], {"volume": after, "changes": changes})


def _vm(infra: Infrastructure, spec: DataVolumeSpec) -> VmFacts | None:
    """The VM that is named; a destroyed one does not count."""
    if not spec.vm:
        return None
    located = locate(infra, "", spec.vm.lower()) if is_uuid(spec.vm) else locate(infra, spec.vm)
    if located.existing is None:
        located.require_all_hosts(spec.vm)
    return located.existing


def _find(infra: Infrastructure, spec: DataVolumeSpec, vm: VmFacts | None) -> DataVolume:
    """The volume on its host: the VM's, the named one, or the only one that has it."""
    pool = pool_of_disk(spec.disk, infra.catalog)
    named = infra.catalog.host(spec.host).name if spec.host else ""
    if vm is not None and spec.state == "absent":
        named = named or vm.host.name
    if vm is not None and spec.state == "attached":
        if named and named != vm.host.name:
            raise invalid(f"VM '{vm.name}' is on host '{vm.host.name}', not on '{named}'", "leave host out")
        named = vm.host.name
    specs = (infra.catalog.host(named),) if named else infra.catalog.hosts
    found, errors = infra.on_hosts(lambda host: _on_host(host, spec.name, pool or host.spec.pool), specs)
    if found and not named:  # a host without that pool has no volume in it
        errors = {name: error for name, error in errors.items() if error.code is not Code.NOT_FOUND}
    if found and spec.state == "attached" and vm is None:
        return found[min(found)]  # wherever the volume is: what is missing is the VM
    there = _one_each(infra, [volume for volume in found.values() if volume.facts], spec.state != "attached")
    held = [volume for volume in there if volume.holder is not None]
    if len(held) == 1 or len(there) == 1 or (there and not held and spec.state == "detached"):
        return (held or there)[0]
    if not there and not errors and (len(specs) == 1 or spec.state in ("absent", "detached")):
        return found[min(found)]
    for error in errors.values():
        raise error
    where = ", ".join(sorted(volume.host.name for volume in there))
    raise invalid(
        f"volume '{spec.name}' is on the hosts {where}"
        if there
        else f"it is not known where volume '{spec.name}' is to be",
        "say which one with host",
    )


def _one_each(infra: Infrastructure, rows: Iterable[DataVolume], where_used: bool) -> list[DataVolume]:
    """Each volume once, with its holders on all hosts that share it; `where_used` shows it where a VM has it."""
    volumes: list[DataVolume] = []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row.facts is None or (row.host.name, row.pool) in seen:
            continue
        mates = as_others_see(infra, infra.host(row.host.name), row.facts)
        seen.update((mate.host.name, mate.pool) for mate in mates)
        users = [mate for mate in mates if mate.holder] or [mate for mate in mates if mate.holders]
        best = users[0] if users and where_used and not row.holder and (users[0].holder or not row.holders) else row
        holders = {vm.id: vm for one in (*mates, row, best) for vm in one.holders}
        volumes.append(replace(best, holders=tuple(holders.values())))
    return volumes


def _on_host(host: Host, name: str, pool: str) -> DataVolume:
    facts = host.volume(pool, data_volume(name))
    if facts is None:
        return DataVolume(name, host.spec, pool)
    holders = (vm if vm.exists else with_snapshots(host, vm) for vm in every_vm(host) if holds(vm, facts))
    return DataVolume(name, host.spec, pool, facts, tuple(holders))


@dataclass(frozen=True)
class VolumeFilter:
    """Which volumes are wanted; an empty field does not filter."""

    names: tuple[str, ...] = ()
    vm: str = ""
    pools: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    zone: str = ""
    hosts: tuple[str, ...] = ()

    def matches(self, view: Mapping[str, Any]) -> bool:
        """The part that the volume's view tells."""
        if self.vm and self.vm.lower() not in (view["vm"].lower(), view["vm_id"]):
            return False
        return not self.states or view["state"] in self.states


def list_volumes(infra: Infrastructure, wanted: VolumeFilter) -> Outcome:
    """Result: `volumes`, sorted by name and host, and `unreachable_hosts`, a sentence for every host not asked."""
    specs = infra.selected(zone=wanted.zone, hosts=wanted.hosts)
    found, errors = infra.on_hosts(lambda host: _listed(host, wanted), specs)
    unreachable = {name: error.sentence for name, error in errors.items()}
    if not found:
        sentences = "; ".join(sentence.rstrip(".") for sentence in unreachable.values())
        raise AblestackError(Code.HOST_UNAVAILABLE, sentences, "no host could be asked for its volumes")
    volumes = _merged(row for on_host in found.values() for row in on_host)
    views = [view for view in map(data_volume_view, volumes) if wanted.matches(view)]
    views.sort(key=lambda view: (view["name"], view["host"], view["pool"]))
    warnings = tuple(f"host '{name}' was left out: {text}" for name, text in unreachable.items())
    return Outcome(result={"volumes": views, "unreachable_hosts": unreachable}, warnings=warnings)


def _listed(host: Host, wanted: VolumeFilter) -> list[tuple[Place, DataVolume]]:
    pools = [pool for pool in host.details().pools.values() if pool.type in FILE_POOLS]
    chosen = [pool for pool in pools if not wanted.pools or pool.name in wanted.pools]
    rows = [(pool, volume) for pool in chosen for volume in host.volume_names(pool.name) if _wanted(volume, wanted)]
    vms = read_vms(host, host.domains())[0] if rows else []
    found: list[tuple[Place, DataVolume]] = []
    for pool, volume in rows:
        facts = host.volume(pool.name, volume)
        if facts is not None:
            holders = tuple(vm for vm in vms if holds(vm, facts))
            row = DataVolume(data_disk_of(volume), host.spec, pool.name, facts, holders)
            found.append(((host.spec, pool), row))
    return found


def _merged(rows: Iterable[tuple[Place, DataVolume]]) -> list[DataVolume]:
    """A volume in storage that hosts share once: where a VM has it, else on the first of them."""
    kept: dict[str, list[tuple[Place, DataVolume]]] = {}
    for place, volume in rows:
        others = kept.setdefault(volume.name, [])
        same = next((at for at, (other, one) in enumerate(others) if _is_one(other, one, place, volume)), None)
        if same is None:
            others.append((place, volume))
        elif volume.holder and not others[same][1].holder:
            others[same] = (place, volume)
    return [volume for others in kept.values() for _place, volume in others]


def _is_one(place: Place, volume: DataVolume, other: Place, twin: DataVolume) -> bool:
    if place[0].name == other[0].name or not volume.facts or not twin.facts:
        return False
    alike = bool(pool_marks(place) & pool_marks(other)) and volume.facts.changed == twin.facts.changed
    return alike or is_declared(place, other)


def _wanted(volume: str, wanted: VolumeFilter) -> bool:
    name = data_disk_of(volume)
    return bool(name) and (not wanted.names or name in wanted.names)
