# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state a VM can be in, and every `state` a task can ask of it: what comes of it, as the contract has it.

No transition is made outside the table (invariant 1), and only a destroyed VM is recovered (invariant 14).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import STATES
from support.fake_time import FakeTime
from support.memory_calls import Killed
from support.migrations import migrate
from support.tasks import Task, vm
from support.worlds import Controller, World, make_world

WEB: dict[str, Any] = {"name": "web1", "template": "tiny", "compute_offering": "small", "networks": ["default"]}
MAKE = vm(**WEB)
AGAIN = ("restarted", "reinstalled")
"""What a second run does once more."""
REFUSED = ("InvalidState", "NotFound", "NotManaged")


def site(*tasks: Task, hosts: int = 1) -> World:
    world = make_world(hosts, shared=hosts > 1)
    for task in tasks:
        task.run(world.controller())
    return world


def killed(world: World, task: Task, call: str, when: str = "before", host: str = "kvm01") -> World:
    """The same site after a run that was killed at a call."""
    controller = world.controller()
    controller.hosts[host].fail_at(call, Killed(), when)
    with pytest.raises(Killed):
        task.run(controller)
    return world


def powered(power: Power) -> World:
    world = site(MAKE)
    (domain,) = world.state.domains.values()
    domain.power = power
    return world


def moving() -> World:
    world = site(vm(**WEB, host="kvm01"), hosts=2)
    controller = world.controller()
    controller.hosts["kvm01"].fail_at("move", Killed(), "during")
    with pytest.raises(Killed):
        migrate(controller, host="kvm02")
    return world


def foreign() -> World:
    world = site(MAKE, vm("web1", state="stopped"))
    (domain,) = world.state.domains.values()
    domain.config = replace(domain.config, record=None)
    return world


FROM: dict[str, Callable[[], World]] = {
    "none": site,
    "Running": lambda: site(MAKE),
    "Stopped": lambda: site(vm(**WEB, start=False)),
    "Paused": lambda: powered(Power.PAUSED),
    "Stopping": lambda: powered(Power.SHUTDOWN),
    "Error": lambda: powered(Power.CRASHED),
    "half deployed": lambda: killed(site(), MAKE, "upload"),
    "Starting": lambda: killed(site(), MAKE, "start"),
    "paused start": lambda: killed(site(), MAKE, "start", "during"),
    "half destroyed": lambda: killed(site(MAKE), vm("web1", state="destroyed"), "rename"),
    "Destroyed": lambda: site(MAKE, vm("web1", state="destroyed")),
    "half recovered": lambda: killed(
        site(MAKE, vm("web1", state="destroyed")), vm("web1", state="recovered"), "rename", "after"
    ),
    "Expunging": lambda: killed(site(MAKE), vm("web1", state="expunged"), "delete_volume"),
    "Migrating": moving,
    "unmanaged": foreign,
}

TABLE = """
from           present      started      stopped      restarted    reinstalled  destroyed    recovered    expunged
none           NotFound     NotFound     NotFound     NotFound     NotFound     =            NotFound     =
Running        =Running     =Running     Stopped      Running      Running      Destroyed    =Running     gone
Stopped        =Stopped     Running      =Stopped     Running      Stopped      Destroyed    =Stopped     gone
Paused         =Paused      Running      Stopped      Running      Running      Destroyed    =Paused      gone
Stopping       =Stopping    Running      Stopped      Running      Running      Destroyed    =Stopping    gone
Error          =Error       Running      Stopped      Running      Stopped      Destroyed    =Error       gone
half_deployed  InvalidState InvalidState InvalidState InvalidState InvalidState gone         InvalidState gone
Starting       Running      Running      Stopped      Running      Stopped      Destroyed    =Starting    gone
paused_start   Running      Running      Stopped      Running      Running      Destroyed    =Paused      gone
half_destroyed NotFound     NotFound     NotFound     NotFound     NotFound     Destroyed    Stopped      gone
Destroyed      NotFound     NotFound     NotFound     NotFound     NotFound     =Destroyed   Stopped      gone
half_recovered NotFound     NotFound     NotFound     NotFound     NotFound     =Destroyed   Stopped      gone
Expunging      NotFound     NotFound     NotFound     NotFound     NotFound     =Expunging   InvalidState gone
Migrating      InvalidState InvalidState InvalidState InvalidState InvalidState InvalidState InvalidState InvalidState
unmanaged      NotManaged   NotManaged   NotManaged   NotManaged   NotManaged   NotManaged   NotManaged   NotManaged
"""  # "=": unchanged; "gone": it is no more
_HEAD, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(row[0].replace("_", " "), state, end) for row in _ROWS for state, end in zip(_HEAD[1:], row[1:])]


def told(controller: Controller, task: Task) -> str:
    """The result in the words of the table."""
    try:
        outcome: Outcome = task.run(controller)
    except AblestackError as error:
        return error.code.value
    state = outcome.result["vm"].get("state", "")
    return ("" if outcome.changed else "=") + (state or ("gone" if outcome.changed else ""))


def test_the_table_has_every_state_and_every_verb() -> None:
    assert {start for start, _state, _end in CELLS} == set(FROM)
    assert _HEAD[1:] == list(STATES)


@pytest.mark.parametrize(("start", "state", "end"), CELLS)
def test_from_every_state_every_verb_ends_as_the_contract_says(
    start: str, state: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeTime.install(monkeypatch)
    world, task = FROM[start](), vm("web1", state=state)
    assert told(world.controller(check=True), task) == end
    controller = world.controller()
    assert told(controller, task) == end
    nothing = end.startswith("=") or end in REFUSED
    assert (controller.writes == []) is nothing
    if state in AGAIN and not nothing:
        return
    again = world.controller()
    assert told(again, task) == (end if nothing else "=" if end == "gone" else f"={end}")
    assert again.writes == []
