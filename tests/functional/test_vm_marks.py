# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks of processes at work: whoever comes second leaves the mark of the first alone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from functional.test_vm_life import WEB, apply

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import time_text
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Mark, Owner, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.worlds import make_world

pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")
OTHER = Owner(owner._machine(), os.getppid(), owner._start_time(os.getppid()) or 0, "0ther")


def now() -> str:
    return time_text(owner.datetime.now(owner.timezone.utc))


def test_who_does_not_get_hold_of_a_vm_leaves_the_mark_of_who_has() -> None:
    world = make_world()
    apply(world, **WEB)
    (domain,) = world.state.domains.values()
    mark = Mark(Phase.RESTARTING, now(), owner=OTHER)

    def other_comes_first() -> None:
        record = domain.config.record
        assert record is not None
        domain.config = replace(domain.config, record=replace(record, mark=mark))
        domain.holds[OTHER.token] = Hold(OTHER, now())

    controller = world.controller()
    controller.hosts["kvm01"].act_at("hold", other_comes_first)
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", wait="none", display_name="x"))
    assert refused.value.code is Code.CONFLICT
    assert domain.config.record is not None
    assert domain.config.record.mark == mark


def test_who_loses_the_claim_on_a_vm_leaves_the_mark_of_who_won() -> None:
    world = make_world()
    apply(world, **WEB)
    apply(world, name="web1", state="destroyed")
    (domain,) = world.state.domains.values()
    controller = world.controller()
    host = controller.hosts["kvm01"]

    def other_claims() -> None:
        record = domain.config.record
        assert record is not None
        mark = replace(record.mark, phase=Phase.EXPUNGING, since=now(), owner=OTHER)
        domain.config = replace(domain.config, record=replace(record, mark=mark))

    host.act_at("rename", other_claims)
    with pytest.raises(AblestackError, match="somebody else"), controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(name="web1", state="recovered", wait="none"))
    assert domain.config.record is not None
    assert domain.config.record.mark.owner == OTHER
