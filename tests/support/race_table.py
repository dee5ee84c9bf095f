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

from .memory_snapshots import content_at
from .operations import DEPLOYED, GONE, IMAGE, OFF, OTHER, SECOND, WEB, Step, prepared_site
from .site_audit import audit, contents, foreign, one_writer
from .tasks import Task, fleet, network, snapshot, template, vm, volume
from .turns import Result, Turns
from .worlds import World

BUSY = (Code.CONFLICT,)
"""What any controller may be told: that another is at it."""


@dataclass(frozen=True)
class Race:
    """`codes` are the errors that may come of it beside Conflict; `ends` judges the site and the results."""

    tasks: Sequence[Task]
    before: tuple[Step, ...] = ()
    codes: tuple[Code, ...] = ()
    ends: Callable[[World, list[Result]], None] = lambda _world, _results: None
    hosts: int = 1


def states(world: World) -> Counter[str]:
    """How many VMs of ours there are, by phase and power."""
    domains = [domain for state in world.states.values() for domain in state.domains.values()]
    return Counter(
        f"{domain.config.record.mark.phase.value or domain.power.value}" for domain in domains if domain.config.record
    )


def changed(results: list[Result]) -> int:
    return sum(not isinstance(result, AblestackError) and result.changed for result in results)


def _one_vm(world: World, results: list[Result]) -> None:
    assert states(world) == {"running": 1}
    assert changed(results) == 1, "one made it, and one alone may say so"


def _at_most_one(world: World, results: list[Result]) -> None:
    assert sum(states(world).values()) <= 1


def _one_holder(world: World, results: list[Result]) -> None:
    """A disk that is there belongs to one VM at the most: the audit has seen to that. Somebody got it."""
    holders = [
        domain.config.record.name
        for domain in world.state.domains.values()
        if domain.config.record and any(disk.name == "spare" for disk in domain.config.record.disks)
    ]
    assert len(holders) == 1
    won = {
        result.result["volume"]["vm"] for result in results if not isinstance(result, AblestackError) and result.changed
    }
    assert won == set(holders), "who says that he attached it did, and nobody else"


def _either(*allowed: str) -> Callable[[World, list[Result]], None]:
    def judge(world: World, results: list[Result]) -> None:
        found = states(world)
        assert list(found.elements()) in [[one] if one else [] for one in allowed], found

    return judge


def _text_is(*texts: str) -> Callable[[World, list[Result]], None]:
    def judge(world: World, results: list[Result]) -> None:
        for domain in world.state.domains.values():
            if domain.config.record:
                read = {content_at(world.state, disk.path) for disk in domain.config.disks if disk.kind == "disk"}
                assert read in [{text.encode()} for text in texts], read

    return judge


def _expunged_or_recovered(world: World, results: list[Result]) -> None:
    """What is due is expunged once at the most, and never what somebody has recovered, be it running or not."""
    done = [result for result in results if not isinstance(result, AblestackError) and result.changed]
    expunged = [result for result in done if "expunged" in result.result]
    assert len(expunged) <= 1
    assert not (expunged and len(done) > 1), "it was recovered, and then expunged"
    _either("" if expunged else "running" if len(done) > 1 else "off")(world, results)


def _taken(new: int, before: int = 0) -> Callable[[World, list[Result]], None]:
    """So many snapshots were taken, beside those of before; whoever says that he took one did."""

    def judge(world: World, results: list[Result]) -> None:
        _text_is("A")(world, results)
        (domain,) = (domain for domain in world.state.domains.values() if domain.config.record)
        assert len({kept.facts.name for kept in domain.kept}) == new + before
        assert changed(results) == new

    return judge


MOST_SNAPSHOTS = Settings().max_vm_snapshots
NO_DISKS: dict[str, Any] = {**WEB, "data_disks": []}
TWO = (*OFF, SECOND, vm("web2", state="stopped"), volume("spare", size=1))
TWO_RUNNING = (*DEPLOYED, SECOND, volume("spare", size=1))

RACES: dict[str, Race] = {
    "deploy one VM": Race([vm(**WEB)] * 8, ends=_one_vm),
    "deploy one VM on two hosts": Race([vm(**NO_DISKS)] * 8, ends=_one_vm, hosts=2),
    "deploy one fleet": Race(
        [fleet("web1", defaults={"template": "tiny", "compute_offering": "small", "networks": ["default"]})] * 8,
        ends=lambda world, _results: _either("running")(world, []),
    ),
    "deploy VMs with one disk": Race(
        [
            vm(**{**NO_DISKS, "name": f"web{n}", "networks": ["default"], "data_disks": [{"name": "keep", "size": 1}]})
            for n in range(8)
        ],
        codes=(Code.IN_USE,),
    ),
    "deploy VMs with one address": Race(
        [vm(**{**NO_DISKS, "name": f"web{n}", "networks": [{"name": "lan", "ip": "10.10.10.60"}]}) for n in range(8)],
        codes=(Code.IN_USE, Code.INVALID_INPUT),
    ),
    "stop and start": Race(
        [vm("web1", state="stopped"), vm("web1", state="started")] * 4, DEPLOYED, ends=_either("running", "off")
    ),
    "stop, start and restart": Race(
        [vm("web1", state=state, forced=True) for state in ("stopped", "started", "restarted", "restarted")] * 2,
        OFF,
        codes=(Code.INVALID_STATE,),
        ends=_either("running", "off"),
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
        ends=_either("running", "off"),
    ),
    "take one snapshot": Race([snapshot("s1")] * 8, DEPLOYED, ends=_taken(1)),
    "take eight snapshots": Race([snapshot(f"s{n}") for n in range(8)], DEPLOYED, ends=_taken(8)),
    "take eight snapshots while off": Race([snapshot(f"s{n}") for n in range(8)], OFF, ends=_taken(8)),
    "take eight snapshots of no name": Race([snapshot("")] * 8, DEPLOYED, ends=_taken(8)),
    "take more snapshots than there may be": Race(
        [snapshot(f"s{n}") for n in range(8)],
        (*DEPLOYED, *(snapshot(f"before{n}") for n in range(MOST_SNAPSHOTS - 3))),
        codes=(Code.INVALID_STATE,),
        ends=_taken(3, MOST_SNAPSHOTS - 3),
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
        ends=_text_is("A"),
    ),
    "attach one disk to two VMs": Race(
        [volume("spare", state="attached", vm=name) for name in ("web1", "web2")] * 4,
        TWO_RUNNING,
        codes=(Code.IN_USE,),
        ends=_one_holder,
    ),
    "attach one disk to two VMs that are off": Race(
        [volume("spare", state="attached", vm=name) for name in ("web1", "web2")] * 4,
        TWO,
        codes=(Code.IN_USE,),
        ends=_one_holder,
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
    ),
    "make one volume": Race([volume("fresh", size=1)] * 8, ends=lambda _world, results: _one_changed(results)),
    "destroy, recover and expunge": Race(
        [vm("web1", state=state) for state in ("destroyed", "recovered", "expunged", "recovered")] * 2,
        GONE,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE, Code.ALREADY_EXISTS),
        ends=_either("destroyed", "off", ""),
    ),
    "destroy, recover and expunge one that runs": Race(
        [vm("web1", state=state) for state in ("destroyed", "recovered", "expunged", "started")] * 2,
        DEPLOYED,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE, Code.ALREADY_EXISTS),
        ends=_either("destroyed", "off", "running", ""),
    ),
    "expunge what is due, recover and start": Race(
        [Task("expunge", {}), vm("web1", state="recovered"), Task("expunge", {}), vm("web1", state="started")] * 2,
        GONE,
        codes=(Code.NOT_FOUND, Code.INVALID_STATE),
        ends=_expunged_or_recovered,
    ),
    "recover or deploy anew": Race(
        [vm("web1", state="recovered"), vm(**NO_DISKS)] * 4,
        GONE,
        codes=(Code.ALREADY_EXISTS,),
    ),
    "recover or take a disk away": Race(
        [vm("web1", state="recovered"), volume("keep", state="attached", vm="web2")] * 4,
        (*GONE, SECOND),
        codes=(Code.IN_USE,),
    ),
    "make one template": Race([template("t", src=IMAGE)] * 8, ends=lambda _world, results: _one_changed(results)),
    "make two templates of one name": Race(
        [template("t", src=IMAGE), template("t", src=OTHER)] * 4, codes=(Code.IN_USE,)
    ),
    "delete a template or deploy from it": Race(
        [template("t", state="absent"), vm(**{**NO_DISKS, "template": "t"})] * 4,
        (template("t", src=IMAGE),),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
    ),
    "make one network": Race(
        # one defines it; others may find that before it is started, and do the rest
        [network("blue", cidr="10.20.0.0/24")] * 8,
        ends=lambda _world, results: _one_changed(results, 8),
    ),
    "delete a network or deploy on it": Race(
        [network("blue", state="absent"), vm(**{**NO_DISKS, "networks": [{"name": "blue", "ip": "10.20.0.9"}]})] * 4,
        (network("blue", cidr="10.20.0.0/24"),),
        codes=(Code.IN_USE, Code.NOT_FOUND, Code.INVALID_STATE),
    ),
}


def _one_changed(results: list[Result], most: int = 1) -> None:
    assert 1 <= changed(results) <= most, "one made it, and one alone may say so"


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
    assert disks
    race.ends(world, results)
    return results


def site_of(race: Race) -> World:
    """A site of its own for one run of the race."""
    return prepared_site(race.hosts, race.before)


def watching(world: World) -> Callable[[], None]:
    """What must hold at any moment."""
    return lambda: one_writer(world)
