# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An id means that VM and no other: a VM that has its name by now is never taken for it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import MigrateSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import STATES
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.expunge import expunge_due
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.migrate import apply_migrate
from support.tasks import Task, fleet, snapshot, vm, volume
from support.worlds import World, make_world

WEB: dict[str, Any] = {"name": "web1", "template": "tiny", "compute_offering": "small", "networks": ["default"]}
UNKNOWN = "99999999-9999-4999-8999-999999999999"
REMOVED = ("destroyed", "expunged")


def result(world: World, task: Task) -> Outcome | Code:
    """What a new process makes of it: the outcome, or the code of the error."""
    try:
        return task.run(world.controller())
    except AblestackError as error:
        return error.code


def deployed(world: World, **options: Any) -> str:
    done = result(world, vm(**{**WEB, **options}))
    assert isinstance(done, Outcome)
    return str(done.result["vm"]["id"])


def redeployed(hosts: int = 1, **options: Any) -> tuple[World, str, str]:
    """A site with a destroyed web1 and a new one that runs, on the last host, and their ids."""
    world = make_world(hosts)
    old = deployed(world, host="kvm01")
    result(world, vm("web1", state="destroyed", expunge_delay=1000))
    return world, old, deployed(world, host=f"kvm{hosts:02}", **options)


def domain(world: World, vm_id: str) -> Any:
    return next((state.domains[vm_id] for state in world.states.values() if vm_id in state.domains), None)


def left_alone(world: World, new: str, before: Any) -> None:
    after = domain(world, new)
    assert (after.config, after.power, after.guest.boots) == before


def seen(world: World, new: str) -> Any:
    found = domain(world, new)
    return found.config, found.power, found.guest.boots


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_the_id_of_a_destroyed_vm_never_acts_on_the_one_that_has_its_name(state: str, named: bool, hosts: int) -> None:
    world, old, new = redeployed(hosts)
    before = seen(world, new)
    options = {"name": "web1"} if named else {}
    done = result(world, vm(id=old, state=state, **options))
    left_alone(world, new, before)
    if state == "expunged":
        assert isinstance(done, Outcome)
        assert done.changed
        assert domain(world, old) is None
        assert result(world, vm(id=old, state=state, **options)).changed is False  # type: ignore[union-attr]
        left_alone(world, new, before)
        return
    assert domain(world, old).config.record.mark.phase is Phase.DESTROYED
    if state == "destroyed":
        assert isinstance(done, Outcome)
        assert not done.changed
        assert done.result["vm"]["id"] == old
    else:
        assert done is (Code.ALREADY_EXISTS if state == "recovered" else Code.NOT_FOUND)


@pytest.mark.parametrize("template", [False, True])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_an_id_that_no_vm_has_is_not_found_and_deploys_nothing(state: str, named: bool, template: bool) -> None:
    world = make_world()
    new = deployed(world)
    before = seen(world, new)
    options = {**({"name": "web1"} if named else {}), **({"template": "tiny"} if template else {})}
    done = result(world, vm(id=UNKNOWN, state=state, **options))
    left_alone(world, new, before)
    assert list(world.state.domains) == [new]
    if state in REMOVED:
        assert isinstance(done, Outcome)
        assert not done.changed
    else:
        assert done is Code.NOT_FOUND


def test_the_error_of_a_missing_id_names_the_vm_that_has_the_name() -> None:
    world, old, new = redeployed()
    with pytest.raises(AblestackError, match=f"VM 'web1' with id {UNKNOWN} does not exist; VM 'web1' has the id {new}"):
        vm("web1", id=UNKNOWN, template="tiny").run(world.controller())
    with pytest.raises(AblestackError, match=f"a VM with id {old} does not exist; a destroyed VM of that id can be"):
        vm(id=old, state="started").run(world.controller())


@pytest.mark.parametrize("state", STATES)
def test_a_name_and_an_id_of_two_vms_are_refused(state: str) -> None:
    world = make_world()
    one, other = deployed(world), deployed(world, name="web2")
    before = seen(world, one), seen(world, other)
    assert result(world, vm("web2", id=one, state=state)) is Code.INVALID_INPUT
    assert (seen(world, one), seen(world, other)) == before


@pytest.mark.parametrize("state", STATES)
def test_a_fleet_takes_an_id_for_that_vm_alone(state: str) -> None:
    world, old, new = redeployed()
    before = seen(world, new)
    result(world, fleet({"id": old, "state": state, "template": "tiny"}))
    left_alone(world, new, before)
    assert set(world.state.domains) <= {old, new}


def test_what_is_due_is_expunged_and_not_the_vm_deployed_anew() -> None:
    world, old, new = redeployed()
    before = seen(world, new)
    later = datetime.now(timezone.utc) + timedelta(seconds=2000)
    with world.controller().infrastructure as infrastructure:
        done = expunge_due(infrastructure, later)
    assert [row["id"] for row in done.result["expunged"]] == [old]
    left_alone(world, new, before)
    assert set(world.state.domains) == {new}


def test_snapshots_volumes_and_migrations_by_id_leave_the_namesake_alone() -> None:
    world, old, new = redeployed(2)
    result(world, volume("spare", size=1, host="kvm02"))
    before = seen(world, new)
    for state in ("present", "reverted"):
        assert result(world, snapshot("s1", state, vm=old)) is Code.NOT_FOUND
    assert result(world, volume("spare", state="attached", vm=old)) is Code.NOT_FOUND
    with world.controller().infrastructure as infrastructure, pytest.raises(AblestackError) as refused:
        apply_migrate(infrastructure, MigrateSpec(id=old, host="kvm01"))
    assert refused.value.code is Code.NOT_FOUND
    left_alone(world, new, before)


def test_a_half_deployed_vm_that_is_named_by_its_id_is_not_replaced_by_another() -> None:
    world = make_world()
    half = deployed(world)
    found = domain(world, half)
    result(world, vm("web1", state="stopped"))
    found.config = found.config.__class__(
        **{**vars(found.config), "record": found.config.record.marked(Phase.DEPLOYING)}
    )
    assert result(world, vm(id=half, template="tiny")) is Code.INVALID_STATE
    assert list(world.state.domains) == [half]
