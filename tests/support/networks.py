# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks on networks in memory: run once, refused, or checked, run and run again"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network import apply_network
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network_query import list_networks
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import network_spec

from .worlds import World

NET: dict[str, Any] = {"name": "blue", "cidr": "10.20.0.0/24"}
MAC = "52:54:00:00:00:01"


def apply(world: World, check: bool = False, **options: Any) -> Outcome:
    """One task of a new process."""
    with world.controller(check).infrastructure as infrastructure:
        return apply_network(infrastructure, network_spec(options))


def thrice(world: World, **options: Any) -> Outcome:
    """Check, run, run again: check predicts the run, and the second run does nothing at all."""
    predicted = apply(world, check=True, **options)
    done = apply(world, **options)
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    assert predicted.warnings == done.warnings
    again = world.controller()
    with again.infrastructure as infrastructure:
        second = apply_network(infrastructure, network_spec(options))
    assert not second.changed, second.result["changes"]
    assert (second.result["changes"], again.writes) == ([], [])
    assert second.before == second.after
    return done


def refused(world: World, **options: Any) -> AblestackError:
    """The error of a task that must be refused, in check mode and in a run, with nothing written."""
    with pytest.raises(AblestackError) as predicted:
        apply(world, check=True, **options)
    controller = world.controller()
    with pytest.raises(AblestackError) as error, controller.infrastructure as infrastructure:
        apply_network(infrastructure, network_spec(options))
    assert controller.writes == []
    assert predicted.value.code == error.value.code
    return error.value


def vm(world: World, **options: Any) -> dict[str, Any]:
    """One task on a VM."""
    values = {"template": "tiny", "compute_offering": "small", "wait": "none", **options}
    with world.controller().infrastructure as infrastructure:
        return dict(apply_vm(infrastructure, VmSpec(**values)).result["vm"])


def changes(outcome: Outcome) -> dict[str, str]:
    """What was changed, and at what cost."""
    return {change["path"]: change["impact"] for change in outcome.result["changes"]}


def listed(world: World, **options: Any) -> dict[str, Any]:
    with world.controller(check=True).infrastructure as infrastructure:
        return dict(list_networks(infrastructure, **options).result)
