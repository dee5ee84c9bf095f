# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a memory host. A guest's write replaces all that is on a disk, so a disk reads as its topmost payload.

What would destroy data on a real host is an AssertionError here: a merge into an image that others stand on, into a
template, or under a guest that has it open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import (
    DISK,
    MEMORY,
    Agent,
    Merge,
    SnapshotFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power, VmConfig, VmRecord

from .memory_calls import Calls, reads, writes
from .memory_state import QCOW2_HEADER, MemoryDomain, MemoryState, MemoryVolume, qcow2_bytes


@dataclass
class Kept:
    """What a host keeps of a snapshot; of one with memory, also what its disks held, by path."""

    facts: SnapshotFacts
    held: dict[str, bytes] = field(default_factory=dict)


def payload(volume: MemoryVolume) -> bytes:
    return volume.content[QCOW2_HEADER:]


def write(state: MemoryState, path: str, content: bytes) -> None:
    """What a guest does to the image it has open."""
    volume = state.volume_at(path)
    assert volume is not None
    volume.content = qcow2_bytes(volume.capacity, content, volume.backing)


def content_at(state: MemoryState, path: str) -> bytes:
    """What a disk on that image reads: the first payload down its chain."""
    while path:
        volume = state.volume_at(path)
        assert volume is not None, f"{path} is gone"
        if payload(volume):
            return payload(volume)
        path = volume.backing
    return b""


def chain(state: MemoryState, path: str) -> list[str]:
    """The image and all it stands on."""
    found = []
    while path:
        found.append(path)
        volume = state.volume_at(path)
        path = volume.backing if volume else ""
    return found


class MemorySnapshots(Calls):
    """The port's snapshots."""

    _domain: Callable[[str], MemoryDomain]

    @reads
    def snapshot_facts(self, vm_id: str) -> tuple[SnapshotFacts, ...]:
        return tuple(kept.facts for kept in self._domain(vm_id).kept)

    def agent(self, vm_id: str, patient: bool = False) -> Agent | None:
        return None if self.read_only else self._ask_agent(vm_id, patient)

    @reads
    def _ask_agent(self, vm_id: str, patient: bool) -> Agent | None:
        domain = self._domain(vm_id)
        answers = ("present", "slow") if patient else ("present",)
        if domain.power is not Power.RUNNING or domain.guest.agent not in answers:
            return None
        return Agent(domain.guest.agent_version, domain.guest.frozen)

    @writes
    def thaw(self, vm_id: str) -> None:
        self._domain(vm_id).guest.frozen = False

    @writes
    def take_snapshot(
        self,
        vm_id: str,
        name: str,
        description: str,
        overlays: Mapping[str, str],
        others: tuple[str, ...],
        quiesce: bool,
    ) -> None:
        domain = self._domain(vm_id)
        if quiesce:
            if domain.guest.agent not in ("present", "slow") or domain.guest.frozen:
                raise AblestackError(Code.AGENT_UNAVAILABLE, "the guest cannot be frozen")
            domain.guest.freezes += 1
            domain.guest.frozen = True
        self.interruption()
        config = domain.live if domain.active and domain.live else domain.config
        targets = {disk.target for disk in config.disks}
        assert {*overlays, *others} == targets, "a snapshot says of every drive whether it has a part in it"
        images = []
        for disk in config.disks:
            if disk.target in overlays:
                volume = self.state.volume_at(overlays[disk.target])
                assert volume is not None
                assert volume.backing == disk.path, f"the overlay of {disk.target} stands on another image"
                assert not payload(volume)
                images.append((disk.target, disk.path))
        self._keep(domain, name, description, DISK, config, tuple(images))
        _move(domain, overlays)
        domain.guest.frozen = domain.guest.frozen and not quiesce

    def _keep(
        self,
        domain: MemoryDomain,
        name: str,
        description: str,
        kind: str,
        config: VmConfig,
        images: tuple[tuple[str, str], ...],
    ) -> Kept:
        if any(kept.facts.name == name for kept in domain.kept):
            raise AblestackError(Code.INVALID_STATE, f"snapshot '{name}' is there already")
        parent = next((kept.facts.name for kept in domain.kept if kept.facts.current), "")
        created = 1767225600 + self.state.count()
        _make_current(domain, "")
        kept = Kept(SnapshotFacts(name, kind, created, config, description, parent, True, images))
        domain.kept.append(kept)
        return kept

    @writes
    def take_checkpoint(self, vm_id: str, name: str, description: str) -> None:
        domain = self._domain(vm_id)
        assert domain.live is not None
        domain.power = Power.PAUSED
        try:
            self.interruption()
        finally:
            if domain.power is Power.PAUSED:
                domain.power = Power.RUNNING  # libvirt sees to it, also when it comes up again
        kept = self._keep(domain, name, description, MEMORY, domain.live, ())
        paths = [disk.path for disk in domain.live.disks if disk.kind == "disk"]
        kept.held = {path: content_at(self.state, path) for path in paths}

    @writes
    def restore_checkpoint(self, vm_id: str, name: str, record: VmRecord) -> None:
        domain = self._domain(vm_id)
        assert not domain.active
        kept = next(kept for kept in domain.kept if kept.facts.name == name)
        for path, content in kept.held.items():
            write(self.state, path, content)
        _make_current(domain, "")
        self.interruption()  # the disks have gone back, and the VM has not
        kept.facts = replace(kept.facts, config=replace(kept.facts.config, record=record))
        domain.config = domain.live = kept.facts.config
        domain.power = Power.RUNNING
        domain.holds.clear()  # they are in the definition, and that is another one now
        _make_current(domain, name)

    @writes
    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        self._drop(vm_id, name, MEMORY)

    @writes
    def forget_snapshot(self, vm_id: str, name: str) -> None:
        self._drop(vm_id, name, DISK)

    def _drop(self, vm_id: str, name: str, kind: str) -> None:
        domain = self._domain(vm_id)
        gone = next((kept for kept in domain.kept if kept.facts.name == name), None)
        if gone is None:
            return
        assert gone.facts.kind == kind
        domain.kept.remove(gone)
        for kept in domain.kept:
            if kept.facts.parent == name:
                kept.facts = replace(kept.facts, parent=gone.facts.parent)
        if gone.facts.current:
            _make_current(domain, gone.facts.parent)

    @writes
    def describe_snapshot(self, vm_id: str, name: str, description: str) -> None:
        for kept in self._domain(vm_id).kept:
            if kept.facts.name == name:
                kept.facts = replace(kept.facts, description=description)

    @writes
    def continue_from(self, vm_id: str, name: str, overlays: Mapping[str, str]) -> None:
        _make_current(self._domain(vm_id), name)

    @writes
    def relocate_snapshots(self, vm_id: str, moved: Mapping[str, str]) -> None:
        for kept in self._domain(vm_id).kept:
            images = tuple((target, moved.get(path, path)) for target, path in kept.facts.images)
            kept.facts = replace(kept.facts, images=images)

    @writes
    def merge_layers(self, vm_id: str, merges: tuple[Merge, ...], live: bool) -> None:
        domain = self._domain(vm_id)
        for number, merge in enumerate(merges):
            assert not merge.into.rpartition("/")[2].startswith("tmpl-"), "a merge into a template"
            active = domain.live.disk(merge.target) if live and domain.live else None
            top = active.path if active else merge.top
            images = chain(self.state, top)
            if merge.layer not in images or merge.into not in images:
                continue
            if not live:
                running = [other.live for other in self.state.domains.values() if other.active and other.live]
                opened = {path for config in running for disk in config.disks for path in chain(self.state, disk.path)}
                assert merge.into not in opened, "a merge beside the guest that has the image open"
            self._merge_one(merge, images, half_way=number == len(merges) // 2)
            if merge.layer == top and live:
                _move(domain, {merge.target: merge.into})

    def _merge_one(self, merge: Merge, images: list[str], half_way: bool) -> None:
        between = images[images.index(merge.layer) : images.index(merge.into)]
        for path in between:
            below = images[images.index(path) + 1]
            above = [f"{pool.path}/{name}" for pool in self.state.pools.values() for name in pool.volumes]
            others = [one for one in above if one != path and self._backing(one) == below]
            assert others == [], f"{below} is merged into, and {others} stand on it"
        written = [path for path in between if payload(self._at(path))]
        if half_way:
            if written:
                write(self.state, merge.into, b"a part of what is above")
            self.interruption()
        if written:
            write(self.state, merge.into, payload(self._at(written[0])))
        position = images.index(merge.layer)
        if position:
            above_it = self._at(images[position - 1])
            above_it.backing = merge.into
            above_it.content = qcow2_bytes(above_it.capacity, payload(above_it), merge.into)

    def _at(self, path: str) -> MemoryVolume:
        volume = self.state.volume_at(path)
        assert volume is not None, f"{path} is gone"
        return volume

    def _backing(self, path: str) -> str:
        return self._at(path).backing

    @reads
    def is_untouched(self, pool: str, name: str) -> bool:
        if name not in self.state.pools[pool].volumes:
            raise AblestackError(Code.NOT_FOUND, f"there is no volume '{name}'")
        return not payload(self.state.pools[pool].volumes[name])

    @writes
    def refresh_pools(self, pools: Iterable[str]) -> None:
        list(pools)


def _make_current(domain: MemoryDomain, name: str) -> None:
    for kept in domain.kept:
        kept.facts = replace(kept.facts, current=kept.facts.name == name)


def _move(domain: MemoryDomain, paths: Mapping[str, str]) -> None:
    """The disks (by target) are at those paths from now on, in both definitions."""

    def moved(config: VmConfig) -> VmConfig:
        disks = tuple(
            replace(disk, path=paths[disk.target], format="qcow2") if disk.target in paths else disk
            for disk in config.disks
        )
        return replace(config, disks=disks)

    domain.config = moved(domain.config)
    domain.live = moved(domain.live) if domain.live else None
