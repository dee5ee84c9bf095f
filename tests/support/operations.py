# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every operation there is, one line each: the tasks that come before it, and the task that is disturbed.

The table of faults (test_faults.py) runs each of them against every fault at every step.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, NicConfig, Power, VmConfig

from .memory_snapshots import write
from .memory_state import MemoryDomain, MemoryState, MemoryVolume, qcow2_bytes
from .tasks import Task, fleet, migrate, network, pool, snapshot, template, vm, volume
from .worlds import World, make_world, put_template

_FILES = Path(tempfile.mkdtemp(prefix="ablestack-images-"))
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)


def _image(name: str, payload: bytes) -> str:
    path = _FILES / name
    path.write_bytes(qcow2_bytes(2 * 1024**3, payload))
    return str(path)


IMAGE = _image("image.qcow2", b"an operating system" * 8000)
OTHER = _image("other.qcow2", b"another operating system" * 8000)


@dataclass(frozen=True)
class Fill:
    """The guest of a VM writes the same text to all its disks."""

    vm: str
    text: str

    def apply(self, world: World) -> None:
        for state in world.states.values():
            for domain in state.domains.values():
                if domain.config.domain_name == self.vm:
                    for disk in domain.config.disks:
                        if disk.kind == "disk":
                            write(state, disk.path, self.text.encode())


@dataclass(frozen=True)
class Pause:
    """Somebody pauses a VM."""

    vm: str

    def apply(self, world: World) -> None:
        for domain in world.state.domains.values():
            if domain.config.domain_name == self.vm:
                domain.power = Power.PAUSED


@dataclass(frozen=True)
class PoolOff:
    """Somebody stops a pool."""

    name: str

    def apply(self, world: World) -> None:
        world.state.pools[self.name].active = False


@dataclass(frozen=True)
class Save:
    """The host saves the memory of a VM, as one does that goes down."""

    vm: str

    def apply(self, world: World) -> None:
        for domain in world.state.domains.values():
            if domain.config.domain_name == self.vm:
                domain.saved, domain.live, domain.power = domain.live, None, Power.OFF


Step = Union[Task, Fill, Pause, PoolOff, Save]


@dataclass(frozen=True)
class Operation:
    """`task` is what is disturbed, after `before`. `settles` is what a second run is asked for, where the task itself
    does it all once more each time. `undone` tells at which moments of a call a failure leaves nothing behind,
    `roams` that on which host a new VM is may be another each time, `once` that it is refused where it is done already,
    `shared` that the hosts have one storage.
    """

    task: Task
    before: tuple[Step, ...] = ()
    settles: Task | None = None
    undone: tuple[str, ...] = ()
    hosts: int = 1
    shared: bool = False
    roams: bool = False
    once: bool = False


WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": [{"name": "lan", "ip": "10.10.10.50"}, "default"],
    "data_disks": [{"name": "keep", "size": 1}, {"name": "drop", "size": 1}],
    "autostart": True,
}
DEPLOYED = (vm(**WEB), Fill("web1", "A"))
OFF = (vm(**{**WEB, "autostart": False}, start=False), Fill("web1", "A"))
MOVING = (vm(**{**WEB, "host": "kvm01", "boot_type": "uefi", "tpm": True}), Fill("web1", "A"))
MOVING_OFF = (*MOVING, vm("web1", state="stopped", autostart=False))
GONE = (*DEPLOYED, vm("web1", state="destroyed"))
SCALING = (vm(**{**WEB, "compute_offering": "medium"}), Fill("web1", "A"))
SECOND = vm(**{**WEB, "name": "web2", "networks": ["default"], "data_disks": []})
TREE = (
    *OFF,
    snapshot("s1"),
    Fill("web1", "B"),
    snapshot("s2"),
    snapshot("s1", "reverted"),
    Fill("web1", "C"),
    snapshot("s3"),
    Fill("web1", "D"),
)
RUNNING_TREE = (*TREE, vm("web1", state="started", autostart=True))
LINE = (*OFF, snapshot("s1"), Fill("web1", "B"), snapshot("s2"), Fill("web1", "C"))
OWN_MAC = "02:00:00:00:00:aa"
CHECKPOINTS = (*DEPLOYED, snapshot("c1", memory=True), Fill("web1", "B"))
BLUE: dict[str, Any] = {
    "name": "blue",
    "cidr": "10.20.0.0/24",
    "reservations": [{"mac": "02:00:00:00:00:01", "ip": "10.20.0.5"}, {"mac": "02:00:00:00:00:02", "ip": "10.20.0.6"}],
}
OTHERWISE: dict[str, Any] = {
    **BLUE,
    "dhcp_start": "10.20.0.100",
    "dns_records": [{"ip": "10.20.0.9", "names": ["printer"]}],
    "domain": "a.example",
    "autostart": False,
    "labels": {"a": "b"},
    "reservations": [{"mac": "02:00:00:00:00:01", "ip": "10.20.0.6"}, {"mac": "02:00:00:00:00:02", "ip": "10.20.0.5"}],
}
MANY: dict[str, Any] = {
    "defaults": {"template": "tiny", "compute_offering": "small", "networks": ["default"], "wait": "none"},
    "group": "web",
}
ALL_KINDS = fleet(
    {"name": "new", "affinity_groups": ["apart"]},
    {"name": "grown", "compute_offering": "medium", "allow_restart": True},
    {"name": "stopped", "state": "stopped"},
    {"name": "back", "state": "recovered"},
    {"name": "away", "state": "expunged"},
    prune=True,
    **MANY,
)
FLEET = (
    fleet("grown", "stopped", "back", "away", "extra", **MANY),
    Fill("grown", "A"),
    fleet("back", state="destroyed", **MANY),
)

OPERATIONS: dict[str, Operation] = {
    "deploy": Operation(vm(**WEB), undone=("before", "during", "after")),
    "deploy, stopped": Operation(vm(**WEB, start=False), undone=("before", "during", "after")),
    "deploy, full clone": Operation(vm(**WEB, clone="full", root_disk_size=2), undone=("before", "during", "after")),
    "deploy, from an ISO": Operation(
        vm(**{**WEB, "template": None, "iso": "install", "root_disk_size": 2}), undone=("before", "during", "after")
    ),
    "deploy over a destroyed one": Operation(vm(**{**WEB, "networks": ["lan"]}), GONE),
    "deploy with a destroyed one's disk": Operation(
        vm(**{**WEB, "name": "web2", "networks": ["default"], "data_disks": [{"name": "keep"}]}),
        GONE,
        undone=("before", "during", "after"),
    ),
    "change CPU and memory with a restart": Operation(
        vm("web1", cpu=2, memory=1024, compute_offering="custom", allow_restart=True), DEPLOYED
    ),
    "change CPU and memory live": Operation(
        vm("web1", compute_offering="custom", cpu=3, memory=2048, dynamic_scaling=True), SCALING
    ),
    "change the firmware": Operation(vm("web1", boot_type="uefi", tpm=True, allow_restart=True), DEPLOYED),
    "change labels and flags": Operation(
        vm("web1", display_name="Web", group="shop", labels={"a": "b"}, protected=True, autostart=False), DEPLOYED
    ),
    "change user data": Operation(vm("web1", user_data="#!/bin/sh\n"), DEPLOYED),
    "change the CD": Operation(vm("web1", attached_iso="install"), DEPLOYED),
    "grow the root disk": Operation(vm("web1", root_disk_size=4), DEPLOYED),
    "grow the root disk, stopping": Operation(vm("web1", state="stopped", root_disk_size=4), DEPLOYED),
    "change disks": Operation(
        vm("web1", data_disks=[{"name": "keep", "size": 2}, {"name": "new", "disk_offering": "data2"}]), DEPLOYED
    ),
    "change disks while off": Operation(
        vm("web1", data_disks=[{"name": "keep", "size": 2}, {"name": "new", "size": 1}]), OFF
    ),
    "limit a disk": Operation(vm("web1", data_disks=[{"name": "keep", "max_iops": 500}, {"name": "drop"}]), DEPLOYED),
    "move a disk": Operation(vm("web1", data_disks=[{"name": "keep", "device": 7}], allow_restart=True), DEPLOYED),
    "take a destroyed one's disk": Operation(
        vm("web1", data_disks=[{"name": "keep"}]),
        (*GONE, vm(**{**WEB, "networks": ["default"], "data_disks": []})),
    ),
    "change NICs": Operation(
        vm("web1", networks=["default", {"name": "lan", "ip": "10.10.10.51"}, {"name": "lan", "ip": "10.10.10.52"}]),
        DEPLOYED,
    ),
    "replace a NIC": Operation(vm("web1", networks=["default"]), (vm(**{**WEB, "networks": ["lan"]}),)),
    "move a NIC": Operation(
        vm("web1", networks=[{"name": "default", "mac": OWN_MAC}]),
        (vm(**{**WEB, "networks": [{"name": "lan", "mac": OWN_MAC}]}),),
    ),
    "remove a NIC": Operation(vm("web1", networks=["default"]), DEPLOYED),
    "reinstall": Operation(vm("web1", state="reinstalled"), DEPLOYED, settles=vm("web1")),
    "reinstall while off": Operation(vm("web1", state="reinstalled"), OFF, settles=vm("web1")),
    "start": Operation(vm("web1", state="started"), OFF),
    "resume": Operation(vm("web1", state="started"), (*DEPLOYED, Pause("web1"))),
    "go on from saved memory": Operation(vm("web1", state="started"), (*DEPLOYED, Save("web1"))),
    "give saved memory up": Operation(vm("web1", state="stopped", forced=True), (*DEPLOYED, Save("web1"))),
    "destroy one with saved memory": Operation(vm("web1", state="destroyed"), (*DEPLOYED, Save("web1"))),
    "expunge one with saved memory": Operation(vm("web1", state="expunged"), (*DEPLOYED, Save("web1"))),
    "stop a paused one": Operation(vm("web1", state="stopped"), (*DEPLOYED, Pause("web1"))),
    "restart a paused one": Operation(vm("web1", state="restarted"), (*DEPLOYED, Pause("web1")), settles=vm("web1")),
    "reset a paused one": Operation(
        vm("web1", state="restarted", forced=True), (*DEPLOYED, Pause("web1")), settles=vm("web1")
    ),
    "stop": Operation(vm("web1", state="stopped"), DEPLOYED),
    "stop, forced": Operation(vm("web1", state="stopped", forced=True), DEPLOYED),
    "restart": Operation(vm("web1", state="restarted"), DEPLOYED, settles=vm("web1")),
    "restart, forced": Operation(vm("web1", state="restarted", forced=True), DEPLOYED, settles=vm("web1")),
    "destroy": Operation(vm("web1", state="destroyed"), DEPLOYED),
    "recover": Operation(vm("web1", state="recovered"), GONE),
    "expunge": Operation(vm("web1", state="expunged", delete_data_disks=["drop"]), DEPLOYED),
    "expunge a destroyed one": Operation(
        vm("web1", state="expunged"), (*DEPLOYED, vm("web1", state="destroyed", delete_data_disks=["drop"]))
    ),
    "expunge one with snapshots": Operation(vm("web1", state="expunged", delete_data_disks=["drop"]), TREE),
    "expunge one with checkpoints": Operation(
        vm("web1", state="expunged", delete_data_disks=["drop"], forced=True), CHECKPOINTS
    ),
    "expunge what is due": Operation(Task("expunge", {}), (*GONE, SECOND, vm("web2", state="destroyed"))),
    "snapshot": Operation(snapshot("s4"), RUNNING_TREE),
    "snapshot while off": Operation(snapshot("s4", description="x"), TREE),
    "snapshot with memory": Operation(snapshot("c2", memory=True), CHECKPOINTS),
    "describe a snapshot": Operation(snapshot("s2", description="y"), TREE),
    "delete the branching snapshot": Operation(snapshot("s1", "absent"), TREE),
    "delete the branching snapshot, running": Operation(snapshot("s1", "absent"), RUNNING_TREE),
    "delete a leaf": Operation(snapshot("s2", "absent"), RUNNING_TREE),
    "delete the first of a line": Operation(snapshot("s1", "absent"), LINE),
    "delete the current snapshot": Operation(snapshot("s3", "absent"), TREE),
    "delete the current snapshot, running": Operation(snapshot("s3", "absent"), RUNNING_TREE),
    "delete one with memory": Operation(snapshot("c1", "absent"), CHECKPOINTS),
    "restore the root snapshot": Operation(snapshot("s1", "reverted"), TREE),
    "restore a branch": Operation(snapshot("s2", "reverted"), TREE),
    "restore the current snapshot": Operation(snapshot("s3", "reverted"), TREE),
    "restore one with memory": Operation(
        snapshot("c1", "reverted"),
        (*CHECKPOINTS, vm("web1", state="stopped", forced=True, autostart=False)),
        settles=vm("web1"),
        once=True,
    ),
    "template": Operation(template("t", src=IMAGE), undone=("before", "during")),
    "template from a VM": Operation(template("t", vm="web1"), OFF),
    "describe a template": Operation(template("t", display_text="new words"), (template("t", src=IMAGE),)),
    "replace a template": Operation(template("t", src=OTHER, forced=True), (template("t", src=IMAGE),)),
    "delete a template": Operation(template("t", state="absent"), (template("t", src=IMAGE),)),
    "template on two hosts": Operation(template("t", src=IMAGE), hosts=2),
    "network": Operation(network(**BLUE)),
    "change a network": Operation(network(**OTHERWISE), (network(**BLUE),)),
    "restart a network": Operation(network(**OTHERWISE, state="restarted"), (network(**BLUE),)),
    "move a network": Operation(
        network("blue", cidr="10.21.0.0/24", reservations=[], state="restarted"), (network(**BLUE),)
    ),
    "delete a network": Operation(network("blue", state="absent"), (network(**BLUE),)),
    "network on two hosts": Operation(network(**BLUE), hosts=2),
    "pool": Operation(pool("vms", path="/srv/vms")),
    "pool that stays off at boot": Operation(pool("vms", path="/srv/vms", autostart=False)),
    "pool on two hosts": Operation(pool("vms", path="/srv/vms"), hosts=2),
    "start a pool": Operation(pool("vms"), (pool("vms", path="/srv/vms"), PoolOff("vms"))),
    "set a pool's autostart": Operation(pool("vms", autostart=False), (pool("vms", path="/srv/vms"),)),
    "migrate": Operation(migrate("kvm02"), MOVING, hosts=2, shared=True),
    "migrate with storage": Operation(migrate("kvm02", copy_storage=True), MOVING, hosts=2),
    "migrate one that is off": Operation(migrate("kvm02"), MOVING_OFF, hosts=2, shared=True),
    "migrate one that is off, with storage": Operation(migrate("kvm02", copy_storage=True), MOVING_OFF, hosts=2),
    "migrate one that is stopped for it": Operation(migrate("kvm02", live=False), MOVING, hosts=2, shared=True),
    "migrate one that is stopped for it, with storage": Operation(
        migrate("kvm02", live=False, copy_storage=True), MOVING, hosts=2
    ),
    "start elsewhere": Operation(vm("web1", host="kvm02", state="started"), MOVING_OFF, hosts=2, shared=True),
    "volume": Operation(volume("spare", size=1)),
    "grow a volume": Operation(volume("spare", size=2), (volume("spare", size=1),)),
    "grow a destroyed one's volume": Operation(volume("keep", size=2), GONE),
    "grow a volume in use": Operation(volume("keep", size=2), DEPLOYED),
    "attach a new volume": Operation(volume("spare", size=1, state="attached", vm="web1"), DEPLOYED),
    "attach a volume": Operation(volume("spare", state="attached", vm="web1"), (*DEPLOYED, volume("spare", size=1))),
    "detach a volume": Operation(volume("keep", state="detached"), DEPLOYED),
    "delete a volume": Operation(volume("spare", state="absent"), (volume("spare", size=1),)),
    "delete a destroyed one's volume": Operation(volume("keep", state="absent"), GONE),
    "fleet of all kinds on two hosts": Operation(ALL_KINDS, FLEET, hosts=2, roams=True),
}


_Key = tuple[int, bool, tuple[int, ...]]
_SITES: dict[_Key, World] = {}


def prepared(operation: Operation) -> World:
    """A site of the operation's own on which its task is to be run."""
    return prepared_site(operation.hosts, operation.before, operation.shared)


def prepared_site(hosts: int, before: tuple[Step, ...], shared: bool = False) -> World:
    """A site of so many hosts on which those tasks have been run."""
    return _after(hosts, shared, before).copy()


def _after(hosts: int, shared: bool, steps: tuple[Step, ...]) -> World:
    """The site after those steps, made once and copied from then on."""
    key = (hosts, shared, tuple(map(id, steps)))
    if key not in _SITES:
        world = _after(hosts, shared, steps[:-1]).copy() if steps else _new_site(hosts, shared)
        if steps and isinstance(steps[-1], Task):
            steps[-1].run(world.controller())
        elif steps:
            steps[-1].apply(world)
        _SITES[key] = world
    return _SITES[key]


def _new_site(hosts: int, shared: bool) -> World:
    world = make_world(hosts, shared=shared)
    for name, state in world.states.items():
        state.pools["default"].autostart = True
        put_template(state.pools["default"], "install", b"\0" * 0x8001 + b"CD001" + b"\0" * 1000, format="iso")
        _put_theirs(state, f"theirs-{name}.qcow2")
    return world


def _put_theirs(state: MemoryState, image: str) -> None:
    """What is not ours: a domain that runs on a disk of its own, in a network of others, and a pool that is off."""
    state.add_pool("theirs").active = False
    pool = state.pools["default"]
    disk = MemoryVolume(qcow2_bytes(1024**3, b"theirs"))
    disk.probe()
    pool.volumes[image] = disk
    foreign = "f0000000-0000-4000-8000-000000000000"
    disks, nics = (DiskConfig("vda", f"{pool.path}/{image}"),), (NicConfig("02:00:00:00:00:ff", "default"),)
    config = VmConfig(foreign, "theirs", None, 1, 512, 1, 512, disks=disks, nics=nics)
    state.domains[foreign] = MemoryDomain(config, live=config, power=Power.RUNNING)
