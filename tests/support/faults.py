# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of fault, at every step of an operation: how it strikes, and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code

from .memory_calls import HALF_WAY, HOST_STORES, POOL_STORES, Killed
from .memory_host import MemoryHost
from .memory_snapshots import content_at
from .operations import Operation, prepared
from .site_audit import audit, contents, essence, foreign, one_writer
from .worlds import World


@dataclass(frozen=True)
class Fault:
    """`strike` happens at a call of that host, and raises. `at` tells at which calls, and when, it can.

    `clean` tells that the process goes on and reaches its host, so that it cleans up behind itself; `power` that what
    ran still runs.
    """

    strike: Callable[[MemoryHost], None]
    at: Callable[[str, bool], tuple[str, ...]]
    clean: bool = False
    power: bool = True


def _raises(host: MemoryHost) -> None:
    raise AblestackError(Code.INTERNAL, "injected")


def _killed(host: MemoryHost) -> None:
    host.process.dead = True
    raise Killed


def _connection_drops(host: MemoryHost) -> None:
    host.lost = True
    raise AblestackError(Code.HOST_UNAVAILABLE, "the connection is broken")


def _daemon_restarts(host: MemoryHost) -> None:
    host.state.restart_daemon()
    _connection_drops(host)


def _power_cut(host: MemoryHost) -> None:
    host.state.cut_power()
    _connection_drops(host)


def _fills(calls: frozenset[str]) -> Fault:
    """There is no room for these calls until the task is over."""

    def strike(host: MemoryHost) -> None:
        host.full = calls
        raise AblestackError(Code.INSUFFICIENT_CAPACITY, "there is no room left")

    def at(name: str, is_write: bool) -> tuple[str, ...]:
        moments = ("before", "during") if name == "upload" else ("before",)
        return moments if name in calls else ()

    return Fault(strike, at, clean=calls == POOL_STORES)


def _anywhere(name: str, is_write: bool) -> tuple[str, ...]:
    """At reads, too: what a task does with half of what it wanted to know."""
    return _at_writes(name, is_write) if is_write else ("before",)


def _at_writes(name: str, is_write: bool) -> tuple[str, ...]:
    """Between two writes it makes no difference at which read."""
    moments = ("before", "during", "after") if name in HALF_WAY else ("before", "after")
    return moments if is_write else ()


def _at_process(name: str, is_write: bool) -> tuple[str, ...]:
    """A call that the host carries out ends, whoever asked for it; an upload does not."""
    moments = _at_writes(name, is_write)
    return moments if name == "upload" else tuple(moment for moment in moments if moment != "during")


FAULTS: dict[str, Fault] = {
    "call raises": Fault(_raises, _anywhere, clean=True),
    "process killed": Fault(_killed, _at_process),
    "connection drops": Fault(_connection_drops, _anywhere),
    "daemon restarts": Fault(_daemon_restarts, _at_writes),
    "pool full": _fills(POOL_STORES),
    "host disk full": _fills(HOST_STORES),
    "power cut": Fault(_power_cut, _at_writes, power=False),
}


@dataclass(frozen=True)
class Case:
    """One fault at one moment of one call: the number-th of those the task makes of a host, the nth of its name."""

    host: str
    number: int
    call: str
    nth: int
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.call}, call {self.number} of {self.host}"


@dataclass(frozen=True)
class Undisturbed:
    """The operation when nothing happens: the calls of each host, what was before and what is in the end."""

    start: World
    end: World
    calls: dict[str, list[tuple[str, bool]]]
    _wanted: dict[tuple[bool, bool], set[str]] = field(default_factory=dict)
    _theirs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many calls change something."""
        return sum(is_write for calls in self.calls.values() for _name, is_write in calls)

    def wanted(self, power: bool, places: bool) -> set[str]:
        """What every disturbed run has to come to."""
        if (power, places) not in self._wanted:
            self._wanted[power, places] = set(essence(self.end, power, places))
        return self._wanted[power, places]

    def theirs(self, dark: str) -> list[str]:
        """All that is not ours, as it is at any time; on a host whose power was cut, as that leaves it."""
        if dark not in self._theirs:
            world = self.start.copy()
            if dark:
                world.states[dark].cut_power()
            self._theirs[dark] = foreign(world)
        return self._theirs[dark]

    def cases(self, fault: Fault) -> Iterator[Case]:
        for host, calls in self.calls.items():
            seen: Counter[str] = Counter()
            for number, (name, is_write) in enumerate(calls, 1):
                seen[name] += 1
                for when in fault.at(name, is_write):
                    yield Case(host, number, name, seen[name], when)


def undisturbed(operation: Operation) -> Undisturbed:
    """Runs it, and sees that it comes to rest: nothing is left to do, and everything is accounted for."""
    start = prepared(operation)
    audit(start)
    end = start.copy()
    controller = end.controller()
    operation.task.run(controller)
    calls = {
        name: [(call, getattr(MemoryHost, call).is_write) for call, _args in host.calls]
        for name, host in controller.hosts.items()
    }
    found = Undisturbed(start, end, calls)
    assert found.steps, "the operation does nothing"
    _at_rest(operation, end)
    assert foreign(end) == foreign(start)
    return found


def play(operation: Operation, fault: Fault, case: Case, whole: Undisturbed) -> None:
    """The task is disturbed once, and then run again by a new process: nothing may be lost, nor left over."""
    world = whole.start.copy()
    controller = world.controller()
    host = controller.hosts[case.host]
    host.act_at(case.call, lambda: fault.strike(host), case.when, nth=case.nth)
    failed = _disturbed(operation, controller)
    # of many VMs at once another may be first, and go to another host
    assert operation.roams or host.traps[0].when == "sprung", "the fault did not strike"
    assert foreign(world) == whole.theirs("" if fault.power else case.host), "what is not ours has changed"
    _nothing_lost(operation, world, whole)
    if operation.task.module == "snapshot":
        _of_one_moment(world)
    if failed and fault.clean:
        _cleaned_up(operation, world, whole, case)
    try:
        operation.task.run(world.controller())
    except AblestackError:
        if not operation.once:
            raise
    _at_rest(operation, world)
    found = set(essence(world, fault.power, not operation.roams))
    wanted = whole.wanted(fault.power, not operation.roams)
    assert found == wanted, f"unlike an undisturbed run: {sorted(found - wanted)} for {sorted(wanted - found)}"


def _disturbed(operation: Operation, controller: Any) -> bool:
    """Whether it failed; nothing but our own error may come of it."""
    try:
        operation.task.run(controller)
    except (AblestackError, Killed):
        return True
    return False


def _nothing_lost(operation: Operation, world: World, whole: Undisturbed) -> None:
    """Half way, every disk, snapshot and template reads what it did before, or what it will in the end."""
    writes = operation.task.options.get("name") if operation.task.module == "template" else ""
    one_writer(world)
    before, after, now = contents(whole.start), contents(whole.end), contents(world)
    for key in before.keys() & after.keys():
        # A root disk may be being made anew, and a template's image be replaced; all else is there at any time.
        if key in now:
            whole_image = now[key] in (before[key], after[key])
            own = bool(writes) and f" tmpl-{writes}." in key  # it is being written, and is not Ready
            assert whole_image or own, f"{key} reads neither what it did nor what it will"
        else:
            assert before[key] != after[key], f"{key} is gone"
    # what moves is on one host or the other
    for name, texts in _by_name(before).items():
        if (later := _by_name(after).get(name)) and (there := _by_name(now).get(name)):
            assert there & (texts | later), f"{name} reads nowhere what it did or will"
        elif later:
            assert texts != later, f"{name} is gone"


def _by_name(read: Mapping[str, bytes]) -> dict[str, set[bytes]]:
    """What each disk and snapshot reads, on whatever hosts it is."""
    found: dict[str, set[bytes]] = {}
    for key, content in read.items():
        if " tmpl-" not in key:
            found.setdefault(key.partition(" ")[2], set()).add(content)
    return found


def _of_one_moment(world: World) -> None:
    """A VM's disks were all at the same point of time."""
    for vm_id, domain in world.state.domains.items():
        config = domain.config
        if config.record:
            read = {content_at(world.state, disk.path) for disk in config.disks if disk.kind == "disk"}
            assert len(read) == 1, f"the disks of {vm_id} are of different moments: {read}"


def _cleaned_up(operation: Operation, world: World, whole: Undisturbed, case: Case) -> None:
    owners = [
        domain.config.domain_name
        for state in world.states.values()
        for domain in state.domains.values()
        if domain.config.record and domain.config.record.mark.owner
    ]
    assert owners == [], "a failed task still claims to work"
    if case.when in operation.undone:
        # What fails after the last write fails to tell of it, and no more.
        assert essence(world) in (essence(whole.start), essence(whole.end)), "a failure left something behind"


def _at_rest(operation: Operation, world: World) -> None:
    """Everything is accounted for, and to run it once more changes nothing."""
    audit(world)
    last = world.controller()
    outcome = (operation.settles or operation.task).run(last)
    assert last.writes == [], "one more run finds something to do"
    assert not outcome.changed
