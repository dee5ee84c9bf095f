# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM with two data disks in memory, tasks on its snapshots, and what its disks read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import template_image
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import SnapshotSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot import apply_snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm

from .memory_snapshots import chain, content_at, write
from .memory_state import MemoryDomain
from .worlds import TINY, Controller, World, make_world

WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": (NicSpec("default"),),
    "data_disks": (DiskSpec("keep", size=GIB), DiskSpec("drop", size=GIB)),
    "wait": "none",
}


def make_web(**options: Any) -> World:
    """A site with that VM, running unless the options say otherwise."""
    world = make_world()
    vm(world, **{**WEB, **options})
    return world


def vm(world: World, **options: Any) -> Outcome:
    """One task of ablestack_vm, by a new process."""
    with world.controller().infrastructure as infrastructure:
        return apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))


def run(controller: Controller, name: str = "", state: str = "present", **options: Any) -> Outcome:
    """One task of ablestack_vm_snapshot."""
    with controller.infrastructure as infrastructure:
        return apply_snapshot(infrastructure, SnapshotSpec(**{"vm": "web1", "name": name, "state": state, **options}))


def snap(world: World, name: str = "", state: str = "present", **options: Any) -> Outcome:
    """Check, run, run again: check predicts the run, and the second run does nothing at all."""
    predicted = run(world.controller(check=True), name, state, **options)
    done = run(world.controller(), name, state, **options)
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    audit(world)
    if name and not (state == "reverted" and the_domain(world).active):
        again = world.controller()
        second = run(again, name, state, **options)
        assert not second.changed, second.result["changes"]
        assert again.writes == []
        assert second.before == second.after
    return done


def the_domain(world: World) -> MemoryDomain:
    return next(domain for domain in world.state.domains.values() if domain.config.record is not None)


def paths(world: World) -> list[str]:
    """The images its disks write to now: root, keep, drop."""
    return [disk.path for disk in the_domain(world).config.disks if disk.kind == "disk"]


def fill(world: World, text: str) -> None:
    """The guest writes the same to all its disks."""
    for path in paths(world):
        write(world.state, path, text.encode())


def reads(world: World) -> set[str]:
    """What its disks read: one text, or they are not of one moment."""
    return {content_at(world.state, path).decode() for path in paths(world)}


def tree_of(parents: Mapping[str, str]) -> dict[str, int]:
    """How high each snapshot stands; an AssertionError where one stands on itself, or on none that there is."""
    heights = {}
    for name in parents:
        below, at = [name], parents[name]
        while at:
            assert at in parents, f"no tree: there is no {at}"
            assert at not in below, f"no tree: {at} stands on itself"
            below.append(at)
            at = parents[at]
        heights[name] = len(below)
    return heights


def audit(world: World) -> None:
    """No image is missing or left over, the template is what it was, the tree is a tree, nobody is frozen."""
    domain = the_domain(world)
    config, record = domain.config, domain.config.record
    assert record is not None
    assert record.mark.owner is None
    if domain.live is not None:
        assert [disk.path for disk in domain.live.disks] == [disk.path for disk in config.disks]
    assert not domain.guest.frozen
    images = {path for kept in domain.kept for _target, path in kept.facts.images}
    needed = {path for top in (*paths(world), *images) for path in chain(world.state, top)}
    for path in needed:
        assert world.state.volume_at(path) is not None, f"{path} is gone"
    own = {f"{world.pool.path}/{name}" for name in world.pool.volumes if name.startswith("vm-") and "seed" not in name}
    assert own <= needed, "an image that nobody needs was left behind"
    assert world.pool.volumes[template_image("tiny", "qcow2")].content == TINY
    names = [kept.facts.name for kept in domain.kept]
    assert list(record.snapshots) == names
    assert set(record.quiesced) <= set(names)
    assert sum(kept.facts.current for kept in domain.kept) <= 1
    tree_of({kept.facts.name: kept.facts.parent for kept in domain.kept})
    if not names:
        assert [path.rpartition("/")[2] for path in paths(world)] == [
            disk.volume for disk in record.disks if disk.role in ("root", "data")
        ]
