# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for cloud-init, by what its guest says: that it is done, that it failed, or nonsense."""

from __future__ import annotations

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.fake_time import FakeTime
from support.tasks import vm
from support.worlds import World, make_world

RESULT = ("cat", "/run/cloud-init/result.json")


def told(answer: tuple[int, str]) -> World:
    """VM web1, whose guest gives this answer when it is asked for cloud-init's result."""
    world = make_world()
    vm("web1", template="tiny", compute_offering="small", networks=["default"]).run(world.controller())
    (domain,) = world.state.domains.values()
    domain.guest.agent = "present"
    domain.guest.answers[RESULT] = answer
    return world


def code_of_wait(world: World) -> Code | None:
    with pytest.MonkeyPatch.context() as patch:
        FakeTime.install(patch)
        try:
            vm("web1", state="started", wait="cloud_init", wait_timeout=5).run(world.controller())
        except AblestackError as error:
            return error.code
    return None


def test_it_is_done_where_it_says_so() -> None:
    assert code_of_wait(told((0, '{"v1": {"errors": []}}'))) is None


def test_its_failure_is_told_at_once() -> None:
    assert code_of_wait(told((0, '{"v1": {"errors": ["no"]}}'))) is Code.INVALID_STATE


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 4000, '{"v1":' * 4000])
def test_nonsense_is_waited_out(text: str) -> None:
    assert code_of_wait(told((0, text))) is Code.TIMEOUT
