# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in use, half ours and half not: VMs in every state, a snapshot, free volumes, and what nobody may touch."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import SnapshotSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, NicConfig, Power, VmConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot import apply_snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.volume import apply_volume
from ansible_collections.ablestack.kvm.plugins.module_utils.face.volume_options import volume_spec

from .memory_state import MemoryDomain, MemoryState, MemoryVolume, qcow2_bytes
from .site_audit import foreign
from .worlds import World, make_world, put_template

FOREIGN = "00000000-0000-4000-8000-00000000ffff"
ISO = bytes(0x8001) + b"CD001" + bytes(100)


def site_in_use(hosts: int = 2) -> World:
    """web1 runs with a data disk and a fixed address, web2 is off and has a snapshot, gone is destroyed and has a data
    disk that anybody may take; `spare` is a volume of ours that belongs to nobody. Of others: a running domain
    `foreign` with a disk, the volume `loose`, the network `default`, and the pool `others`, off on the second host.
    """
    world = make_world(hosts)
    put_template(world.pool, "disc", ISO, format="iso")
    put_foreign(world.state)
    for state in world.states.values():
        state.add_pool("others").active = state is world.state
        state.pools["others"].volumes["their-data"] = MemoryVolume(b"theirs")
    base = {"template": "tiny", "compute_offering": "small", "wait": "none", "host": "kvm01"}
    mine = {
        "networks": (NicSpec("default"), NicSpec("lan", ip="10.10.10.50")),
        "data_disks": (DiskSpec("mine", size=GIB),),
    }
    vm(world, **base, **mine, name="web1", user_data="#cloud-config\n{}\n")
    vm(world, **base, name="web2", networks=(NicSpec("lan"),), start=False)
    vm(world, **base, name="gone", networks=(NicSpec("lan"),), data_disks=(DiskSpec("lent", size=GIB),))
    vm(world, name="gone", state="destroyed")
    with world.controller().infrastructure as infrastructure:
        apply_snapshot(infrastructure, SnapshotSpec(vm="web2", name="s1"))
    with world.controller().infrastructure as infrastructure:
        apply_volume(infrastructure, volume_spec({"name": "spare", "size": "1", "host": "kvm01"}))
    return world


def vm(world: World, **options: Any) -> None:
    with world.controller().infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**options))


def put_foreign(state: MemoryState) -> None:
    """What somebody else made: names like ours among it, which say nothing."""
    pool = state.pools["default"]
    for name in ("foreign.qcow2", "loose", "vm-web1-00000000-root.qcow2", "vm-new1-00000000-seed.iso"):
        image = MemoryVolume(qcow2_bytes(GIB, name.encode()))
        image.probe()
        pool.volumes[name] = image
    disk = DiskConfig("vda", f"{pool.path}/foreign.qcow2")
    nic = NicConfig("52:54:00:ff:ff:ff", "default")
    config = VmConfig(FOREIGN, "foreign", None, 1, 64, 1, 64, disks=(disk,), nics=(nic,))
    state.domains[FOREIGN] = MemoryDomain(config, live=config, power=Power.RUNNING)


def print_of(world: World) -> dict[str, Any]:
    """All there is on every host, as data to compare: definitions, power, images and their bytes, networks."""
    return {name: _host(state) for name, state in world.states.items()}


THEIRS = {"foreign.qcow2", "loose", "vm-web1-00000000-root.qcow2", "vm-new1-00000000-seed.iso", "their-data"}
POOLS = ("default", "others")


def foreign_of(world: World, named: str = "") -> list[str]:
    """What is not ours, as it is to the letter: guests, networks as stored and as running, volumes, pools.

    Of the pool that a task has `named`, whether it runs and starts at boot is left out: that is for the task to say.
    """
    rows = foreign(world)
    for host, state in world.states.items():
        for name in POOLS:
            pool = state.pools[name]
            rows.append(f"{host} {name} {pool.id} {pool.type} {pool.path} {pool.capacity} {pool.source}")
            if name != named:
                rows.append(f"{host} {name} active {pool.active} autostart {pool.autostart}")
            rows += [f"{host} {name} {key} {row!r}" for key, row in sorted(pool.volumes.items()) if key in THEIRS]
    return rows


def _host(state: MemoryState) -> dict[str, Any]:
    return {
        "domains": {key: _plain(row) for key, row in state.domains.items()},
        "pools": {key: _plain(row) for key, row in state.pools.items()},
        "networks": {key: _plain(row) for key, row in state.networks.items()},
    }


def _plain(value: Any) -> Any:
    """Copies, so that a later change of the state shows; a guest's own counters are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {row.name: _plain(getattr(value, row.name)) for row in fields(value) if row.name != "guest"}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
