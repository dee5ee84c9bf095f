# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks in any order, every fourth of them killed: what check mode tells comes true, and no other VM is touched."""

from __future__ import annotations

import os
from random import Random
from typing import Any, Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase, Power, VmRecord
from support.any_task import DISKS, HOSTS, NAMES, NEW, any_task
from support.memory_calls import Killed
from support.sites import ISO
from support.tasks import Task, vm
from support.worlds import World, make_world, put_template

SEQUENCES = int(os.environ.get("ABLESTACK_FUZZ", "40"))
LENGTH = 30
ANEW = ("restarted", "reinstalled", "reverted")
"""What these ask for is done each time, or refused the second time."""
pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")


@pytest.mark.parametrize("shared", [False, True], ids=["own storage", "shared storage"])
def test_whatever_came_before(shared: bool, fuzz_case: Callable[[], None]) -> None:
    for seed in range(SEQUENCES):
        rng = Random(f"{shared} {seed}")
        world = make_world(hosts=2, shared=shared)
        put_template(world.pool, "disc", ISO, format="iso")
        for name, disk in zip(NAMES, DISKS):
            vm(name, **NEW, data_disks=[{"name": disk, "size": "1GiB"}], host="kvm01").run(world.controller())
        told: list[str] = []
        for _turn in range(LENGTH):
            fuzz_case()
            task = any_task(rng)
            before = others(world, task)
            if rng.random() < 0.25:
                told.append(f"{task} {killed(world, task, rng)}")
                problem = ""
            else:
                problem = as_predicted(world, task, told)
            problem = problem or at_odds(world) or (before != others(world, task) and "another VM is changed") or ""
            assert not problem, "\n".join((f"{problem}, seed {seed}:", *told))


def as_predicted(world: World, task: Task, told: list[str]) -> str:
    """What is wrong, if anything: the check against the run, and the run against another one."""
    predicted, done = outcome(world, task, check=True), outcome(world, task)
    told.append(f"{task}: {say(predicted)}; {say(done)}")
    if isinstance(done, AblestackError) or isinstance(predicted, AblestackError):
        codes = [one.code if isinstance(one, AblestackError) else None for one in (predicted, done)]
        return "" if codes[0] is codes[1] and Code.INTERNAL not in codes else "check mode does not tell the error"
    foretold, found = ((one.changed, one.before, one.after) for one in (predicted, done))
    if foretold != found:
        return f"check mode tells {foretold}, the run {found}"
    if task.options.get("state") in ANEW or task.module == "expunge":
        return ""
    again = outcome(world, task)
    return "" if isinstance(again, Outcome) and not again.changed else f"again: {say(again)}"


def outcome(world: World, task: Task, check: bool = False) -> Outcome | AblestackError:
    try:
        return task.run(world.controller(check))
    except AblestackError as error:
        return error


def killed(world: World, task: Task, rng: Random) -> str:
    """The process dies at one of its calls that write, before or after its effect, if it comes that far."""
    controller = world.controller()
    controller.hosts[rng.choice(HOSTS)].fail_at(rng.randint(1, 12), Killed(), rng.choice(("before", "after")))
    try:
        return say(task.run(controller))
    except Killed:
        return "killed"
    except AblestackError as error:
        return say(error)


def say(one: Outcome | AblestackError) -> str:
    return one.sentence if isinstance(one, AblestackError) else f"changed {one.changed}"


def records(world: World) -> list[tuple[str, VmRecord, Any]]:
    rows = [(name, domain) for name, state in world.states.items() for domain in state.domains.values()]
    return [(name, domain.config.record, domain) for name, domain in rows if domain.config.record]


def others(world: World, task: Task) -> set[tuple[str, str, Phase, Power]]:
    """VMs of other names than the task's, with what becomes of them; tasks on volumes and expunge name none."""
    name = task.options.get("vm") or (task.options.get("name") if task.module in ("vm", "migrate") else "")
    if not name or task.module == "volume":
        return set()
    return {
        (domain.config.id, host, record.mark.phase, domain.power)
        for host, record, domain in records(world)
        if record.name != name
    }


def at_odds(world: World) -> str:
    """What may never be: one VM running twice, two living VMs of one name, a disk with two writers."""
    rows = records(world)
    running = [domain.config.id for _host, _record, domain in rows if domain.power is Power.RUNNING]
    passing = (Phase.MIGRATING, Phase.DESTROYED, Phase.EXPUNGING)
    names = [record.name for _host, record, _domain in rows if record.mark.phase not in passing]
    clashes = [clash for state in world.states.values() for clash in state.clashes]
    if len(running) != len(set(running)):
        return "a VM runs twice"
    if len(names) != len(set(names)):
        return f"a name is there twice: {names}"
    return f"two write to one disk: {clashes}" if clashes else ""
