# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations in memory: sites with shared and with own storage, tasks, and what must hold at any time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import MigrateSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.migrate import apply_migrate
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.start_elsewhere import apply_vm_on_host

from .memory_moves import state_keys
from .memory_state import MemoryDomain
from .worlds import Controller, World, make_world

WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "host": "kvm01",
    "compute_offering": "small",
    "networks": (NicSpec("lan", ip="10.10.10.50"), NicSpec("default")),
    "data_disks": (DiskSpec("data", size=GIB),),
    "boot_type": "uefi",
    "tpm": True,
    "autostart": True,
    "labels": (("tier", "front"),),
    "wait": "none",
}
CONTENT = b"what the guest has written"


def site(shared: bool = True, hosts: int = 2, **options: Any) -> World:
    """VM web1 on kvm01, with something in its disks."""
    world = make_world(hosts=hosts, shared=shared)
    deploy(world, **options)
    for name, volume in world.pool.volumes.items():
        if name.endswith(("-root.qcow2", "vol-data.qcow2")):
            volume.content += CONTENT
    return world


def deploy(world: World, **options: Any) -> None:
    vm(world.controller(), **{**WEB, **options})


def vm(controller: Controller, **options: Any) -> Any:
    with controller.infrastructure as infrastructure:
        return apply_vm_on_host(infrastructure, VmSpec(**{"wait": "none", **options}))


def migrate(controller: Controller, **options: Any) -> Any:
    with controller.infrastructure as infrastructure:
        return apply_migrate(infrastructure, MigrateSpec(**{"name": "web1", **options}))


def rows(world: World, name: str = "web1") -> dict[str, MemoryDomain]:
    """The domain of that VM on each host that has it."""
    return {
        host: domain
        for host, state in world.states.items()
        for domain in state.domains.values()
        if domain.config.domain_name == name
    }


def audit_always(world: World) -> None:
    """What must hold at any moment, whatever was killed: it never runs twice, and its content is never gone."""
    found = rows(world)
    running = [host for host, domain in found.items() if domain.power.value == "running"]
    assert len(running) <= 1, f"it runs on {running}"
    assert found, "no host has it any more"
    if len(found) > 1:
        # of two definitions each says that it is on its way, and at most one is started with its host
        phases = [domain.config.record.mark.phase for domain in found.values() if domain.config.record]
        assert phases == [Phase.MIGRATING, Phase.MIGRATING]
    assert sum(domain.autostart for domain in found.values()) <= 1
    if running:
        assert not any(domain.autostart for host, domain in found.items() if host not in running)
    copies = [volume.content for state in world.states.values() for volume in volumes(state.pools["default"])]
    assert sum(content.endswith(CONTENT) for content in copies) >= 2, "a disk's content is gone"


def volumes(pool: Any) -> list[Any]:
    return [volume for name, volume in pool.volumes.items() if not name.startswith("tmpl-")]


def audit_settled(world: World, host: str, running: bool) -> None:
    """It is on that host alone, whole and as it was; nothing of it is left on any other."""
    audit_always(world)
    (found,) = rows(world).items()
    where, domain = found
    assert (where, domain.active) == (host, running)
    record = domain.config.record
    assert record
    assert record.mark.phase is Phase.SETTLED
    assert record.labels == (("tier", "front"),)
    assert domain.autostart is record.autostart
    macs = {nic.mac for nic in record.nics if nic.ip}
    for name, state in world.states.items():
        reserved = {row.mac for row in state.networks["lan"].facts.reservations}
        assert reserved == (macs if name == host else set()), name
        keys = set(state_keys(domain.config)) if domain.guest.boots else set()
        assert set(state.files) == (keys if name == host else set()), name
        own = [disk for disk in record.disks if disk.volume]
        if name == host:
            assert {disk.volume for disk in own} <= set(state.pools["default"].volumes)
            assert all(state.volume_at(disk.path) for disk in domain.config.disks if disk.path)
        elif state.pools["default"] is not world.states[host].pools["default"]:
            assert [disk.volume for disk in own if disk.volume in state.pools["default"].volumes] == []


def without_host(view: dict[str, Any]) -> dict[str, Any]:
    """A VM as results show it, but for where it is."""
    return {key: value for key, value in view.items() if key not in ("host", "uri")}


def disabled(world: World, host: str, state: str = "maintenance") -> World:
    """The same site with that host in another state in the catalog."""
    hosts = tuple(replace(spec, state=state) if spec.name == host else spec for spec in world.catalog.hosts)
    return World(replace(world.catalog, hosts=hosts), world.states, world.down)
