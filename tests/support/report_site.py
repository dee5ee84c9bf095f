# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report's page is made of: a site in memory with something of everything, read as the modules read it."""

from __future__ import annotations

from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.data_volume import DataVolumeSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import SnapshotSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.host_query import list_hosts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network_query import list_networks
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import VmFilter, list_vms
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot import apply_snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot_query import list_snapshots
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template_query import list_all_templates
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.volume import (
    VolumeFilter,
    apply_volume,
    list_volumes,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.face.runner import plain

from .fleets import fleet
from .worlds import World, make_world, put_template

ZONES = {
    "kvm01": {"zone": "seoul", "pod": "pod1", "cluster": "cluster1", "tags": ["ssd"]},
    "kvm02": {"zone": "seoul", "pod": "pod1", "cluster": "cluster1"},
    "kvm03": {"zone": "busan", "pod": "pod1", "cluster": "cluster2"},
    "kvm04": {"zone": "busan", "pod": "pod1", "cluster": "cluster2", "state": "maintenance"},
}
FLEET: list[dict[str, Any]] = [
    {"name": "web01", "group": "shop", "labels": {"role": "web", "environment": "production"}},
    {"name": "web02", "group": "shop", "labels": {"role": "web", "environment": "production"}},
    {"name": "web03", "group": "shop", "labels": {"role": "web", "environment": "production"}},
    {
        "name": "shop-db", "group": "shop", "display_name": "Shop database", "compute_offering": "medium",
        "labels": {"role": "database"}, "data_disks": [{"name": "shop-data", "size": 2}], "protected": True,
    },
    {"name": "build01", "group": "ci", "zone": "busan", "start": False},
    {"name": "build02", "group": "ci", "zone": "busan"},
    {"name": "legacy", "zone": "seoul", "start": False},
    {"name": "trial", "zone": "busan"},
]  # fmt: skip


def make_site() -> World:
    """Two zones and four hosts, a fleet, a tree of snapshots, a destroyed VM and a free data disk."""
    world = make_world(4, host_values=ZONES)
    for state in world.states.values():
        put_template(state.pools["default"], "debian12", display_text="Debian 12", os_type="debian12")
    fleet(world.controller(), FLEET)
    _do(world, apply_vm, VmSpec(name="trial", state="destroyed", wait="none"))
    _do(world, apply_volume, DataVolumeSpec(name="archive", size=5 << 30, host="kvm01"))
    for name, description in (("installed", "Fresh from the template"), ("before-upgrade", "PostgreSQL 15")):
        _snapshot(world, name, description)
    _do(world, apply_vm, VmSpec(name="shop-db", state="stopped", wait="none"))
    _snapshot(world, "installed", state="reverted")
    _snapshot(world, "second-try", "With the new schema")
    _do(world, apply_vm, VmSpec(name="shop-db", state="started", wait="none"))
    return world


def wanted() -> list[dict[str, Any]]:
    """The same fleet as somebody wants it now: one VM is not there yet, one is too small, one runs that should not."""
    changed = [dict(vm) for vm in FLEET if vm["name"] not in ("legacy", "trial", "build01")]
    changed[1]["state"] = "stopped"
    changed[2]["compute_offering"] = "medium"
    return [*changed, {"name": "web04", "group": "shop", "labels": {"role": "web"}}]


def found(world: World) -> dict[str, Any]:
    """The role's `report_found`, with a host that went down after the comparison with what is wanted."""
    drift = fleet(world.controller(check=True), wanted()).result
    world.down.add("kvm04")
    everything = {
        **_do(world, list_hosts),
        **_do(world, list_vms, VmFilter()),
        **_do(world, list_networks, unmanaged=True),
        **_do(world, list_all_templates),
        **_do(world, list_volumes, VolumeFilter(states=("Detached",))),
        **_do(world, list_snapshots),
    }
    kept = {name: everything[name] for name in ("hosts", "vms", "trees", "networks", "templates", "volumes")}
    result: dict[str, Any] = plain({**kept, "drift": drift, "unreachable_hosts": everything["unreachable"]})
    return result


def _snapshot(world: World, name: str, description: str = "", state: str = "present") -> None:
    more = {"description": description} if description else {}
    _do(world, apply_snapshot, SnapshotSpec(vm="shop-db", name=name, state=state, **more))


def _do(world: World, use_case: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    with world.controller().infrastructure as infrastructure:
        result: dict[str, Any] = use_case(infrastructure, *arguments, **options).result
    return result
