# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts for everything on a site in memory: what belongs to what, what disks read, what two sites differ by."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import (
    VmNames,
    data_disk_of,
    template_descriptor,
    template_of,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import decode_descriptor
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, Phase, Power, VmConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.seed import read_seed

from .memory_snapshots import chain, content_at
from .memory_state import MemoryDomain, MemoryPool, MemoryState
from .worlds import World

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DRAWN = "52:54:"
"""What MACs that are drawn for VMs begin with; tests give those of reservations made by hand another beginning."""
THEIRS = "theirs"
"""The name of whatever a site has that is not ours."""
_AT_REST = (Phase.SETTLED, Phase.DESTROYED)


def audit(world: World) -> None:
    """No task is under way, so every definition, volume and reservation belongs to something, and nothing is torn."""
    names: Counter[str] = Counter()
    # hosts may share a pool, and then what one has of it another needs
    needed = {id(state.volume_at(path)) for state in world.states.values() for path in _needed(state)}
    for state in world.states.values():
        for domain in state.domains.values():
            _domain(state, domain)
            names[domain.config.domain_name] += domain.config.record is not None
        _networks(state)
        _pools(state)
        _volumes(state, needed)
        _data_disks(state)
    assert [name for name, count in names.items() if count > 1] == [], "two VMs have one name"
    one_writer(world)


def one_writer(world: World) -> None:
    """At no time is a disk open in two running guests, on one host or on several that share it, nor does a host have to
    stop us from that.
    """
    writers: Counter[int] = Counter()
    for state in world.states.values():
        assert state.clashes == [], "a second writer was started"
        for domain in state.domains.values():
            # the guest that a migration makes on its target is paused until the other one has stopped
            live = domain.live if domain.power is Power.RUNNING else None
            paths = {disk.path for disk in live.disks if disk.kind == "disk"} if live else ()
            writers.update(id(state.volume_at(path)) for path in paths)
    assert [count for count in writers.values() if count > 1] == [], "a disk has two writers"


def _domain(state: MemoryState, domain: MemoryDomain) -> None:
    config, record = domain.config, domain.config.record
    for definition in filter(None, (config, domain.live)):
        for disk in definition.disks:
            for path in chain(state, disk.path):
                assert state.volume_at(path) is not None, f"{path} of {config.domain_name} is gone"
        for nic in definition.nics:
            assert nic.network in state.networks, f"{config.domain_name} is on network {nic.network}, which is gone"
    if record is None:
        return
    names = VmNames(record.name, config.id)
    assert record.mark.owner is None, f"{record.name} is marked as being worked on"
    assert record.mark.phase in _AT_REST, f"{record.name} is left {record.mark.phase.value}"
    destroyed = record.mark.phase is Phase.DESTROYED
    assert config.domain_name == (names.destroyed_domain if destroyed else names.domain)
    assert not (destroyed and domain.active), f"{record.name} is destroyed and runs"
    assert domain.autostart == (record.autostart and not destroyed)
    assert not domain.guest.frozen, f"{record.name} is left frozen"
    if domain.live:
        assert domain.live.record == record
    assert tuple(kept.facts.name for kept in domain.kept) == record.snapshots
    assert sum(kept.facts.current for kept in domain.kept) <= 1
    recorded = {(disk.target, disk.volume) for disk in record.disks if disk.role in ("root", "data", "seed")}
    if not domain.kept:
        defined = {(disk.target, disk.path.rpartition("/")[2]) for disk in config.disks if disk.target != "sdd"}
        assert defined == recorded, f"{record.name} is not what its record says"


def _data_disks(state: MemoryState) -> None:
    """Destroyed VMs count: they may be recovered."""
    holders: dict[str, set[str]] = {}
    for vm_id, domain in state.domains.items():
        record = domain.config.record
        recorded = {f"{disk.pool}/{disk.volume}" for disk in (record.data_disks if record else ())}
        for name in recorded:
            holders.setdefault(name, set()).add(vm_id)
    assert {name: ids for name, ids in holders.items() if len(ids) > 1} == {}, "a data disk belongs to two VMs"


def _networks(state: MemoryState) -> None:
    macs = {nic.mac for domain in state.domains.values() for nic in domain.config.nics}
    for network in state.networks.values():
        assert network.facts.reservations == network.stored.reservations
        drawn = [row for row in network.facts.reservations if row.mac.startswith(DRAWN)]
        assert [row for row in drawn if row.mac not in macs] == [], f"a reservation of nobody in {network.facts.name}"


def _pools(state: MemoryState) -> None:
    places = Counter(pool.path for pool in state.pools.values())
    assert [path for path, count in places.items() if count > 1] == [], "two pools are one folder"


def _volumes(state: MemoryState, needed: set[int]) -> None:
    for pool in state.pools.values():
        for name, volume in pool.volumes.items():
            assert not volume.building
            assert not name.endswith(".deleting"), f"{name} says that somebody is still deleting a disk"
            stands = not volume.backing or state.volume_at(volume.backing) is not None
            assert stands, f"{name} stands on {volume.backing}, which is gone"
            if name.startswith("vm-"):
                assert id(volume) in needed, f"{name} is left over"
            elif template_of(name):
                _template(pool, template_of(name))
            elif name.endswith(".qcow2"):
                assert volume.format == "qcow2", f"{name} is torn"


def _needed(state: MemoryState) -> Iterator[str]:
    """The paths of all images that some definition or snapshot stands on."""
    for domain in state.domains.values():
        paths = [disk.path for disk in (*domain.config.disks, *(domain.live.disks if domain.live else ()))]
        for path in (*paths, *(path for kept in domain.kept for _target, path in kept.facts.images)):
            yield from chain(state, path)


def _template(pool: MemoryPool, name: str) -> None:
    descriptor = pool.volumes.get(template_descriptor(name))
    template = decode_descriptor(descriptor.content) if descriptor else None
    assert template is not None, f"something of template {name} is left, and it is not Ready"
    own = sorted(volume for volume in pool.volumes if template_of(volume) == name)
    assert own == sorted((template_descriptor(name), f"tmpl-{name}.{template.format}"))
    assert len(pool.volumes[f"tmpl-{name}.{template.format}"].content) == template.file_size


def contents(world: World) -> dict[str, bytes]:
    """What can be read: of every disk of every VM, of every snapshot, of every free data disk, of every template."""
    found: dict[str, bytes] = {}
    for host, state in world.states.items():
        for domain in state.domains.values():
            record = domain.config.record
            for disk in record.disks if record else ():
                have = domain.config.disk(disk.target)
                if disk.role not in ("root", "data") or not have or not state.volume_at(have.path):
                    continue
                # half way through a change another disk may have the target already
                if data_disk_of(have.path.rpartition("/")[2]) in ("", disk.name):
                    key = disk.name if disk.role == "data" else f"{domain.config.id} root"
                    found[f"{host} {key}"] = content_at(state, have.path)
            for kept in domain.kept:
                for target, path in kept.facts.images:
                    key = f"{host} {domain.config.id} {kept.facts.name} {target}"
                    found[key] = content_at(state, path)
        for pool in state.pools.values():
            for name in pool.volumes:
                if data_disk_of(name):
                    found.setdefault(f"{host} {data_disk_of(name)}", content_at(state, f"{pool.path}/{name}"))
                elif name.startswith("tmpl-") and not name.endswith(".json"):
                    found[f"{host} {name}"] = pool.volumes[name].content
    return found


def foreign(world: World) -> list[str]:
    """All that is not ours, as it is to the letter."""
    rows = []
    for host, state in world.states.items():
        theirs = [domain for domain in state.domains.values() if domain.config.record is None]
        rows += [f"{host} {domain!r}" for domain in theirs]
        own = {disk.path for domain in theirs for disk in domain.config.disks}
        rows += [f"{path} {state.volume_at(path)!r}" for path in sorted(own)]
        networks = [network for network in state.networks.values() if not network.stored.managed]
        rows += [f"{host} {network.facts!r} {network.redefined!r} {network.autostart}" for network in networks]
        rows.append(f"{host} {state.pools.get(THEIRS)!r}")
    return rows


def essence(world: World, power: bool = True, places: bool = True) -> list[str]:
    """The site as people would compare two: without what is drawn anew in each run (ids, MACs, times).

    Without `power`, whether things run is left out, too; without `places`, on which host they are.
    """
    rows: list[str] = []
    names = _Names(world)
    for place, state in world.states.items():
        host = place if places else ""
        for domain in state.domains.values():
            rows.append(names.plain(f"{host} {_shown(state, domain, power)}"))
        for network in state.networks.values():
            on = replace(network.stored, bridge="", id="", active=network.facts.active and power)
            live = replace(network.facts, bridge="", id="", active=power) if network.facts.active and power else None
            reservations = sorted(map(repr, on.reservations))
            rows.append(names.plain(f"{host} {on!r} {live!r} {network.autostart} {reservations}"))
        for pool in state.pools.values():
            on_now = pool.active and power
            rows.append(f"{host} pool {pool.name} {pool.type} {pool.path} {pool.autostart} {on_now}")
            for name, volume in pool.volumes.items():
                shown: Any = (volume.format, volume.capacity, volume.mode, volume.backing)
                if name.startswith("vm-") and name.endswith(".iso"):
                    shown = repr(read_seed(volume.content))
                elif name.startswith("vm-") and not name.endswith("-root.qcow2"):
                    continue  # an overlay: what can be read through it tells, and the audit that it is needed
                elif name.endswith(".json"):
                    shown = volume.content.decode().strip()
                rows.append(names.plain(f"{host} {pool.name}/{name} {shown}"))
    for key, content in contents(world).items():
        rows.append(names.plain(f"{key if places else key.partition(' ')[2]} reads {_short(content)!r}"))
    return sorted(rows)


def _short(content: bytes) -> bytes | str:
    """A guest's text as it is, and of an image as much as tells it from another."""
    return content if len(content) < 100 else hashlib.sha256(content).hexdigest()


def _shown(state: MemoryState, domain: MemoryDomain, power: bool) -> str:
    config, live = domain.config, domain.live if power else None
    kept = [
        (one.facts.name, one.facts.kind, one.facts.description, one.facts.parent, one.facts.current, one.held)
        for one in domain.kept
    ]
    # What the guest did, and what it was told by DHCP, is no concern here.
    on = (domain.power, live and (_definition(state, live), live.seeds == config.seeds)) if power else ()
    return repr((_definition(state, config), on, domain.autostart, kept))


def _definition(state: MemoryState, config: VmConfig) -> Any:
    record = config.record
    if record:
        mark = Mark(record.mark.phase, delete_data_disks=record.mark.delete_data_disks, owner=record.mark.owner)
        names = ("keys_digest", "key_pairs_digest", "public_keys_digest", "user_data_digest")
        digests: Any = {name: str(bool(getattr(record, name))) for name in names}
        record = replace(record, mark=mark, **digests)
    disks = [
        (replace(disk, path=""), _short(content_at(state, disk.path))) for disk in config.disks if disk.kind == "disk"
    ]
    drives = [disk for disk in config.disks if disk.kind != "disk"]
    # A seed that was written twice is another one all the same: it counts whether the guest has it.
    return replace(config, record=record, disks=(), seeds=0), sorted(map(repr, disks)), drives


class _Names:
    """Names for what a run draws: a VM's is its own name and its phase, a NIC's its VM's and its place."""

    def __init__(self, world: World) -> None:
        self._names: dict[str, str] = {}
        domains = [pair for state in world.states.values() for pair in state.domains.items()]
        for vm_id, domain in domains:
            record = domain.config.record
            if record is None:
                continue
            name = f"<{record.name} {record.mark.phase.value}>"
            self._names[vm_id] = self._names[vm_id[:8]] = name
            self._names.update({nic.mac: f"<{name} {place}>" for place, nic in enumerate(domain.config.nics)})

    def plain(self, text: str) -> str:
        for drawn, name in self._names.items():
            text = text.replace(drawn, name)
        return _TIME.sub("<time>", text)
