# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every race there is, one line each: what eight controllers do at once, and which ends are allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Settings
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code

from .operations import DEPLOYED, GONE, IMAGE, MOVING, OFF, OTHER, SECOND, WEB, Step, prepared_site
from .race_ends import (
    either,
    expunged_or_recovered,
    gone_or_used,
    in_a_drive,
    network_gone_or_used,
    no_end,
    on,
    one_changed,
    one_holder,
    one_image,
    one_pool,
    one_vm,
    recovered_and_one_holder,
    recovered_or_new,
    reinstalled_or_gone,
    replaced_or_used,
    taken,
    text_is,
    where_it_says,
)
from .site_audit import audit, contents, foreign, one_writer
from .tasks import Task, fleet, migrate, network, pool, snapshot, template, vm, volume
from .turns import Result, Turns
from .worlds import World

BUSY = (Code.CONFLICT,)
"""What any controller may be told: that another is at it."""


@dataclass(frozen=True)
class Race:
    """`codes` are the errors that may come of it beside Conflict; `ends` judges the site and the results.

    `rewrites` is how the name of a volume or disk ends that may hold something else afterwards.
    """

    tasks: Sequence[Task]
    before: tuple[Step, ...] = ()
    codes: tuple[Code, ...] = ()
    ends: Callable[[World, list[Result]], None] = no_end
    hosts: int = 1
    shared: bool = False
    rewrites: str = ""


MOST_SNAPSHOTS = Settings().max_vm_snapshots
NO_DISKS: dict[str, Any] = {**WEB, "data_disks": []}
TWO = (*OFF, SECOND, vm("web2", state="stopped"), volume("spare", size=1))
TWO_RUNNING = (*DEPLOYED, SECOND, volume("spare", size=1))

RACES: dict[str, Race] = {
    "deploy one VM": Race([vm(**WEB)] * 8, ends=one_vm),
    "deploy one VM on two hosts": Race([vm(**NO_DISKS)] * 8, ends=one_vm, hosts=2),
    "deploy one fleet": Race(
        [fleet("web1", defaults={"template": "tiny", "compute_offering": "small", "networks": ["default"]})] * 8,
        ends=lambda world, _results: either("running")(world, []),
    ),
    "deploy VMs with one disk": Race(
        [
            vm(**{**NO_DISKS, "name": f"web{n}", "networks": ["default"], "data_disks": [{"name": "keep", "size": 1}]})
            for n in range(8)
        ],
        codes=(Code.IN_USE,),
        ends=one_vm,
    ),
    "deploy VMs with one address": Race(
        [vm(**{**NO_DISKS, "name": f"web{n}", "networks": [{"name": "lan", "ip": "10.10.10.60"}]}) for n in range(8)],
        codes=(Code.IN_USE, Code.INVALID_INPUT),
        ends=one_vm,
    ),
    "stop and start": Race(
        [vm("web1", state="stopped"), vm("web1", state="started")] * 4, DEPLOYED, ends=either("running", "off")
    ),
    "stop, start and restart": Race(
        [vm("web1", state=state, forced=True) for state in ("stopped", "started", "restarted", "restarted")] * 2,
        OFF,
        codes=(Code.INVALID_STATE,),
        ends=either("running", "off"),
    ),
    "change all kinds of things": Race(
        [
            vm("web1", labels={"a": "1"}),
            vm("web1", display_name="Two"),
            vm("web1", cpu=2, memory=1024, compute_offering="custom", allow_restart=True),
            vm("web1", user_data="#!/bin/sh\n"),
            vm("web1", networks=["default"]),
            vm("web1", data_disks=[{"name": "keep", "size": 2}]),
            vm("web1", root_disk_size=4),
            vm("web1", state="stopped"),
        ],
        DEPLOYED,
        codes=(Code.INVALID_STATE, Code.NOT_FOUND, Code.INVALID_INPUT),
        ends=either("running", "off"),
    ),
    "take one snapshot": Race([snapshot("s1")] * 8, DEPLOYED, ends=taken(1)),
    "take eight snapshots": Race([snapshot(f"s{n}") for n in range(8)], DEPLOYED, ends=taken(8)),
    "take eight snapshots while off": Race([snapshot(f"s{n}") for n in range(8)], OFF, ends=taken(8)),
    "take eight snapshots of no name": Race([snapshot("")] * 8, DEPLOYED, ends=taken(8)),
    "take more snapshots than there may be": Race(
        [snapshot(f"s{n}") for n in range(8)],
        (*DEPLOYED, *(snapshot(f"before{n}") for n in range(MOST_SNAPSHOTS - 3))),
        codes=(Code.INVALID_STATE,),
        ends=taken(3, MOST_SNAPSHOTS - 3),
    ),
    "take, restore and delete snapshots": Race(
        [
            snapshot("s1", "absent"),
            snapshot("s2", "absent"),
            snapshot("s1", "reverted"),
            snapshot("s2", "reverted"),
            snapshot("s3"),
            snapshot("s1"),
            vm("web1", state="started"),
            vm("web1", state="stopped"),
        ],
        (*OFF, snapshot("s1"), snapshot("s2")),
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=text_is("A"),
    ),
    "attach one disk to two VMs": Race(
        [volume("spare", state="attached", vm=name) for name in ("web1", "web2")] * 4,
        TWO_RUNNING,
        codes=(Code.IN_USE,),
        ends=one_holder,
    ),
    "attach one disk to two VMs that are off": Race(
        [volume("spare", state="attached", vm=name) for name in ("web1", "web2")] * 4,
        TWO,
        codes=(Code.IN_USE,),
        ends=one_holder,
    ),
    "attach, grow and delete one disk": Race(
        [
            volume("spare", state="attached", vm="web1"),
            volume("spare", state="absent"),
            volume("spare", size=2),
            volume("spare", state="attached", vm="web2"),
        ]
        * 2,
        TWO,
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_INPUT, Code.INVALID_STATE),
        ends=where_it_says,
    ),
    "make one volume": Race([volume("fresh", size=1)] * 8, ends=lambda _world, results: one_changed(results)),
    "destroy, recover and expunge": Race(
        [vm("web1", state=state) for state in ("destroyed", "recovered", "expunged", "recovered")] * 2,
        GONE,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE, Code.ALREADY_EXISTS),
        ends=either("destroyed", "off", ""),
    ),
    "destroy, recover and expunge one that runs": Race(
        [vm("web1", state=state) for state in ("destroyed", "recovered", "expunged", "started")] * 2,
        DEPLOYED,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE, Code.ALREADY_EXISTS),
        ends=either("destroyed", "off", "running", ""),
    ),
    "expunge what is due, recover and start": Race(
        [Task("expunge", {}), vm("web1", state="recovered"), Task("expunge", {}), vm("web1", state="started")] * 2,
        GONE,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=expunged_or_recovered,
    ),
    "recover or deploy anew": Race(
        [vm("web1", state="recovered"), vm(**NO_DISKS)] * 4,
        GONE,
        codes=(Code.ALREADY_EXISTS,),
        ends=recovered_or_new,
    ),
    "recover or take a disk away": Race(
        [vm("web1", state="recovered"), volume("keep", state="attached", vm="web2")] * 4,
        (*GONE, SECOND),
        codes=(Code.IN_USE,),
        ends=recovered_and_one_holder,
    ),
    "make one template": Race([template("t", src=IMAGE)] * 8, ends=lambda _world, results: one_changed(results)),
    "make two templates of one name": Race(
        [template("t", src=IMAGE), template("t", src=OTHER)] * 4,
        codes=(Code.IN_USE,),
        ends=one_image,
    ),
    "delete a template or deploy from it": Race(
        [template("t", state="absent"), vm(**{**NO_DISKS, "template": "t"})] * 4,
        (template("t", src=IMAGE),),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
        ends=lambda world, results: gone_or_used("tmpl-t.qcow2" in world.pool.volumes, world, results),
    ),
    "replace a template or deploy from it": Race(
        [template("t", src=OTHER, forced=True), vm(**{**NO_DISKS, "template": "t"})] * 4,
        (template("t", src=IMAGE),),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
        ends=replaced_or_used,
        rewrites="tmpl-t.qcow2",
    ),
    "delete an ISO or put it into a drive": Race(
        [template("install", state="absent"), vm("web1", attached_iso="install")] * 4,
        OFF,
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
        ends=in_a_drive("tmpl-install.iso"),
    ),
    "delete a template or reinstall from it": Race(
        [template("t", state="absent"), vm("web1", state="reinstalled", template="t")] * 4,
        (*OFF, template("t", src=IMAGE)),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
        ends=reinstalled_or_gone,
        rewrites=" root",
    ),
    "make one network": Race(
        # one defines it; others may find that before it is started, and do the rest
        [network("blue", cidr="10.20.0.0/24")] * 8,
        ends=lambda _world, results: one_changed(results, 8),
    ),
    "delete a network or deploy on it": Race(
        [network("blue", state="absent"), vm(**{**NO_DISKS, "networks": [{"name": "blue", "ip": "10.20.0.9"}]})] * 4,
        (network("blue", cidr="10.20.0.0/24"),),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
        ends=network_gone_or_used,
    ),
    "make one pool": Race([pool("vms", path="/srv/vms")] * 8, ends=one_pool),
    "deploy one VM on storage that two hosts share": Race([vm(**NO_DISKS)] * 8, ends=one_vm, hosts=2, shared=True),
    "migrate one VM": Race(
        [migrate("kvm02")] * 8,
        MOVING,
        hosts=2,
        shared=True,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=on("kvm02"),
    ),
    "migrate one VM there and back": Race(
        [migrate("kvm02"), migrate("kvm01")] * 4,
        MOVING,
        hosts=2,
        shared=True,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=on("kvm01", "kvm02"),
    ),
    "migrate, stop and start one VM": Race(
        [migrate("kvm02"), vm("web1", state="stopped"), vm("web1", state="started"), migrate("kvm01")] * 2,
        MOVING,
        hosts=2,
        shared=True,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=either("running", "off"),
    ),
    "migrate or destroy one VM": Race(
        [migrate("kvm02"), vm("web1", state="destroyed", forced=True)] * 4,
        MOVING,
        hosts=2,
        shared=True,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=either("destroyed"),
    ),
    "start one VM on two hosts that share its disk": Race(
        [vm("web1", state="started", host=host) for host in ("kvm01", "kvm02")] * 4,
        (*MOVING, vm("web1", state="stopped")),
        hosts=2,
        shared=True,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=either("running"),
    ),
}


def run_race(race: Race, world: World, turns: Turns) -> list[Result]:
    """Runs it on the site, and judges how it ended. `turns` has been made to watch `one_writer`."""
    theirs, disks = foreign(world), contents(world)
    results = turns.race(world, race.tasks)
    codes = Counter(result.code for result in results if isinstance(result, AblestackError))
    unexpected = [
        str(result)
        for result in results
        if isinstance(result, AblestackError) and result.code not in (*BUSY, *race.codes)
    ]
    assert unexpected == [], f"{codes}: {unexpected}"
    audit(world)
    assert foreign(world) == theirs
    now = contents(world)
    kept = [key for key in disks.keys() & now.keys() if not race.rewrites or not key.endswith(race.rewrites)]
    assert [key for key in kept if disks[key] != now[key]] == [], "a disk reads otherwise"
    race.ends(world, results)
    return results


def site_of(race: Race) -> World:
    """A site of its own for one run of the race."""
    return prepared_site(race.hosts, race.before, race.shared)


def watching(world: World) -> Callable[[], None]:
    """What must hold at any moment."""
    return lambda: one_writer(world)
