# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many VMs brought to what the task says: found by one listing a host, planned together, worked on side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Callable

from ..hypervisor.port import SOURCES, Host
from ..model.errors import AblestackError, Code
from ..model.fleet_spec import FleetSpec
from ..model.outcome import Incomplete, Outcome
from ..model.vm import VmFacts
from ..model.vm_spec import VmSpec
from ..model.vm_view import vm_view
from ..plan.fleet import ACTIONS, CHANGED, FAILED, NOT_BEGUN, UNCHANGED, action_of, plan_line
from ..plan.lifecycle import half_destroyed
from ..plan.placement import Picture
from . import addresses
from .infrastructure import Infrastructure
from .lanes import Lanes
from .locate import Found, Located, locate_settled
from .query import read_vms
from .remembered import remembering
from .start_elsewhere import start_elsewhere, starts_elsewhere
from .vm import (
    VmTask,
    asks_wait,
    carry_out,
    has_addresses,
    outcome_of,
    outcome_of_expunge,
    plan_expunge_tasks,
    plan_task,
)
from .waiting import AT_ONCE, Wait

Report = Callable[[str, str], None]
"""Is told of VMs by name: that there is work `planned` on one, that it is `begun`, and which of ACTIONS came of it."""


def apply_fleet(infra: Infrastructure, spec: FleetSpec, report: Report = lambda _name, _news: None) -> Outcome:
    """Brings every VM of the fleet to its state; in check mode it only says what would be.

    Incomplete where any VM failed: what became of each of them is in its outcome.
    """
    fleet = _Fleet(infra, spec, report)
    fleet.plan()
    if fleet.stopped:
        return fleet.outcome()
    if not infra.check:
        fleet.carry_out()
    fleet.find_addresses()
    return fleet.outcome()


class _Job:
    """One VM of the fleet (lanes.Item). An error ends it, and is its result."""

    def __init__(self, fleet: _Fleet, spec: VmSpec) -> None:
        self.spec, self.name, self.host = spec, spec.name or spec.id, ""
        self.tasks: tuple[VmTask, ...] = ()
        self.after: VmFacts | None = None
        self.error: AblestackError | None = None
        self.begun = False
        self._fleet = fleet
        self._wait: Wait | None = None
        self._elsewhere: Located | None = None  # where it is off, and is to be started on another host
        self._moved: Outcome | None = None  # what comes of that

    @property
    def changes(self) -> bool:
        """Whether anything has to be done."""
        if self._moved:
            return self._moved.changed
        return any(task.plan.changed for task in self.tasks)

    @property
    def action(self) -> str:
        """One of ACTIONS."""
        if self.error:
            return FAILED
        if not self.changes:
            return UNCHANGED
        if not self.begun and (self._fleet.stopped or not self._fleet.infra.check):
            return NOT_BEGUN
        if self._moved:
            return CHANGED
        return next(action for task in self.tasks if (action := action_of(task.before, task.plan)) != UNCHANGED)

    @property
    def waits(self) -> bool:
        """Whether it may have to be waited for, changed or not."""
        if self.spec.wait in AT_ONCE:
            return False
        if self._moved:
            return not self._fleet.infra.check and self.after is not None and self.after.is_active
        return any(asks_wait(self._fleet.infra, task, self.after) for task in self.tasks)

    def plan(self, memory: Infrastructure, located: Found, picture: Picture) -> None:
        try:
            if isinstance(located, AblestackError):
                raise located
            if self.spec.state == "expunged":
                self.tasks = plan_expunge_tasks(memory, self.spec, located)
            elif starts_elsewhere(self.spec, located):
                self._plan_move(located, picture)
            else:
                self.tasks = (plan_task(memory, self.spec, located, picture),)
        except AblestackError as error:
            self.fail(error)
            return
        for task in self.tasks:
            if task.at:
                self.name, self.host = task.at.name, task.at.host.name
            self.after = task.plan.predicted

    def _plan_move(self, located: Located, picture: Picture) -> None:
        self._moved, self.after = start_elsewhere(self._fleet.infra.checking(), self.spec, located, picture)
        self._elsewhere = located
        self.name, self.host = self.after.name, self.after.host.name
        picture.arrive(self.after)

    def work(self) -> bool:
        self.begun = True
        self._fleet.report(self.name, "begun")
        return self._guarded(self._work)

    def look(self) -> bool:
        return not self._guarded(self._look)

    def _work(self) -> bool:
        """Whether the VM is to be waited for."""
        infra = self._fleet.infra
        if self._elsewhere:
            with self._fleet.moving:  # one after the other: each sees what those before it have taken of a host
                self._moved, self.after = start_elsewhere(infra, self.spec, self._elsewhere)
        for task in self.tasks:
            self.after = carry_out(infra, task)
        if not self.after or not self.waits:
            return False
        self._wait = Wait(infra.host(self.host), self.after, self.spec.wait, self.spec.wait_timeout)
        return True

    def _look(self) -> bool:
        found = self._wait.look() if self._wait else None
        self.after = found or self.after
        return found is None

    def _guarded(self, part: Callable[[], bool]) -> bool:
        """Runs a part of it; whether there is more to come."""
        more = False
        try:
            more = part()
        except AblestackError as error:
            self.fail(error)
        except Exception as mistake:  # noqa: BLE001 - one VM's failure is not the others'
            # Its text stays out, for it may hold what only this VM should know.
            self.fail(AblestackError(Code.INTERNAL, f"unexpected {type(mistake).__name__}", "please report this"))
        if not more:
            if self._wait:
                self._wait.close()
            self._fleet.report(self.name, self.action)
        return more

    def fail(self, error: AblestackError) -> None:
        self.error = error
        self._fleet.count_failure()

    def outcome(self) -> Outcome:
        """What an `ablestack_vm` task would return, with what is said of it in a fleet."""
        action, told = self.action, Outcome()
        if self.error is None or self._wait is not None:
            told = self._told()
        changed = told.changed
        if self.error:
            changed = changed or bool(self.error.details.get("steps_done"))
        if action == NOT_BEGUN:
            changed = False
        result = {"name": self.name, "action": action, "changed": changed, "failed": self.error is not None, "msg": ""}
        if self.error:
            result.update(msg=self.error.sentence, error=self.error.as_dict())
        elif action == NOT_BEGUN:
            result["msg"] = "it was not begun, since too many VMs had failed"
        result.update(told.result)
        return Outcome(changed, told.before, told.after, result, told.warnings, told.plan)

    def _told(self) -> Outcome:
        if self._moved:
            vm = {"vm": vm_view(self.after)} if self.after else {}
            return replace(self._moved, result={**self._moved.result, **vm})
        if self.spec.state == "expunged":
            return outcome_of_expunge(self.tasks)
        return outcome_of(self.tasks[0], self.after, shown=False)


class _Fleet:
    """A run on many VMs."""

    def __init__(self, infra: Infrastructure, spec: FleetSpec, report: Report) -> None:
        self.infra, self.spec, self.report = infra, spec, report
        self.listed = [_Job(self, one) for one in spec.vms]
        self.pruned: list[_Job] = []
        self.warnings: tuple[str, ...] = ()
        self._failures = 0
        self._lock, self.moving = Lock(), Lock()
        self._lanes: Lanes | None = None

    @property
    def jobs(self) -> list[_Job]:
        return [*self.listed, *self.pruned]

    @property
    def stopped(self) -> bool:
        """Whether more VMs have failed than may."""
        return self.spec.max_failures is not None and self._failures > self.spec.max_failures

    def count_failure(self) -> None:
        with self._lock:
            self._failures += 1
        if self.stopped and self._lanes:
            self._lanes.halt()

    def plan(self) -> None:
        """Those that exist first: they stay where they are, and what they take is not there for new ones."""
        members = self._members() if self.spec.prune else []
        found = locate_settled(self.infra, [*self.spec.vms, *(replace(self.spec.removal, id=vm.id) for vm in members)])
        listed = {vm.id for one in found[: len(self.listed)] if not isinstance(one, AblestackError) for vm in one.vms}
        names = {one.name.lower() for one in self.spec.vms}
        places = list(zip(self.listed, found))
        # A listed VM that was not found for whatever reason, a slip in its name say, may be any of them.
        unclear = [job.name for job, one in places if _is_unclear(job.spec, one)]
        if members and unclear:
            self.warnings += (
                f"no VM of group '{self.spec.group}' was pruned: it is not clear which one '{unclear[0]}' is",
            )
        for vm, one in zip(members, found[len(self.listed) :]):
            # Whoever has left the group since it was listed is not a member any more.
            member = not isinstance(one, Located) or any(self._is_member(now) for now in one.vms)
            if member and not unclear and vm.id not in listed and vm.name.lower() not in names:
                job = _Job(self, replace(self.spec.removal, id=vm.id, name=vm.name))
                self.pruned.append(job)
                places.append((job, one))
        listed_by = [one.listed for one in found if isinstance(one, Located)]
        memory, picture = remembering(self.infra, listed_by[-1] if listed_by else None), Picture()
        places.sort(key=lambda place: isinstance(place[1], AblestackError) or place[1].existing is None)
        for job, one in places:
            job.plan(memory, one, picture)

    def _members(self) -> list[VmFacts]:
        """The VMs of the group on all hosts; a host that cannot be asked fails."""
        found, errors = self.infra.on_hosts(self._members_on)
        for name, error in errors.items():
            job = _Job(self, self.spec.removal)
            job.name, job.host = f"group {self.spec.group}", name
            self.pruned.append(job)
            job.fail(error)
        return sorted((vm for vms in found.values() for vm in vms), key=lambda vm: (vm.name.lower(), vm.id))

    def _members_on(self, host: Host) -> list[VmFacts]:
        vms, _gone = read_vms(host, host.domains(), host.glances)
        return [vm for vm in vms if self._is_member(vm)]

    def _is_member(self, vm: VmFacts) -> bool:
        in_group = vm.record is not None and vm.record.group == self.spec.group
        return in_group and (vm.exists or half_destroyed(vm))

    def carry_out(self) -> None:
        """Works on all that change or are waited for, those to be pruned last."""
        items = [job for job in self.jobs if not job.error and (job.changes or job.waits)]
        for job in items:
            self.report(job.name, "planned")
        self._lanes = Lanes(items, self.spec.parallel)
        self._lanes.run()

    def find_addresses(self) -> None:
        """Of all VMs that ran before and still do, source by source for all VMs of a host."""
        asking: dict[str, list[_Job]] = {}
        for job in self.jobs:
            if job.after and not job.error and any(has_addresses(task, job.after) for task in job.tasks):
                asking.setdefault(job.host, []).append(job)

        def ask(host: Host) -> dict[str, VmFacts]:
            vms = [job.after for job in asking[host.spec.name] if job.after]
            told, _unasked = addresses.with_addresses(host, vms, SOURCES, lambda: self.infra.another(host.spec.name))
            return {vm.id: vm for vm in told}

        found, _errors = self.infra.on_hosts(ask, [spec for spec in self.infra.catalog.hosts if spec.name in asking])
        for name, told in found.items():
            for job in asking[name]:
                job.after = told[job.after.id] if job.after else None

    def outcome(self) -> Outcome:
        """The whole; raises Incomplete where any VM failed."""
        listed = [(job, job.outcome()) for job in self.listed]
        pruned = [(job, job.outcome()) for job in self.pruned]
        both = [*listed, *pruned]
        actions = [str(outcome.result["action"]) for _job, outcome in both]
        lines = [line for job, outcome in both if (line := plan_line(job.name, outcome.result))]
        shown = [(job.name, outcome) for job, outcome in both if outcome.changed]
        result: dict[str, Any] = {
            "results": [outcome.result for _job, outcome in listed],
            "pruned": [outcome.result for _job, outcome in pruned],
            "summary": {action: actions.count(action) for action in ACTIONS},
            "plan": lines,
        }
        whole = Outcome(
            changed=bool(shown),
            before={name: outcome.before for name, outcome in shown if outcome.before},
            after={name: outcome.after for name, outcome in shown if outcome.after},
            result=result,
            warnings=(
                *self.warnings,
                *(f"{job.name}: {text}" for job, outcome in both for text in outcome.warnings),
            ),
            plan=tuple(lines),
        )
        failed = [(job.name, job.error) for job, _outcome in both if job.error]
        if failed:
            raise _incomplete(whole, failed, len(both), actions.count(NOT_BEGUN))
        return whole


def _is_unclear(spec: VmSpec, found: Found) -> bool:
    """Whether nobody knows which VM an entry means; one that is to go by its id may have gone already."""
    if isinstance(found, AblestackError):
        return True
    return bool(spec.id) and not found.vms and spec.state not in ("destroyed", "expunged")


def _incomplete(
    outcome: Outcome, failed: Sequence[tuple[str, AblestackError]], total: int, not_begun: int
) -> Incomplete:
    named = "; ".join(f"{name}: {error.message}" for name, error in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    left = f"; {not_begun} were not begun" if not_begun else ""
    return Incomplete(
        outcome,
        failed[0][1].code,
        f"{len(failed)} of {total} VMs failed{left}: {named}{more}",
        "results says of each VM what became of it; run the task again when the causes are removed",
        failed=[{"name": name, "code": error.code.value} for name, error in failed],
    )
