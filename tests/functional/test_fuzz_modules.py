# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of every module with whatever people and attackers write: done as predicted, or refused."""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete
from support.hostile import options_of
from support.module_tasks import all_modules
from support.sites import foreign_of, print_of, site_in_use

MODULES = all_modules()
# A short form in every run of the tests; `./dev faults` asks for more.
EXAMPLES = int(os.environ.get("ABLESTACK_FUZZ", "40"))
ONCE = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")


def one_sentence(error: AblestackError) -> bool:
    return bool(error.sentence.strip()) and error.sentence.isprintable() and error.code is not Code.INTERNAL


@pytest.mark.parametrize("name", sorted(MODULES))
def test_whatever_the_options_are(name: str, fuzz_case: Callable[[], None]) -> None:
    module = MODULES[name]

    @ONCE
    @given(st.sampled_from((0, 0.1, 0.4)).flatmap(lambda wild: options_of(module.options, wild)))
    def run(params: dict[str, Any]) -> None:
        fuzz_case()
        world = site_in_use()
        named = str(params.get("name")) if name == "ablestack_pool" else ""
        before, theirs = print_of(world), foreign_of(world, named)
        predicted = module.run(world, params, check=True)
        assert print_of(world) == before
        done = module.run(world, params)
        assert foreign_of(world, named) == theirs
        for task in (predicted, done):
            assert task.error is None or one_sentence(task.error), task.error.sentence
        if done.error and not isinstance(done.error, Incomplete):
            assert print_of(world) == before, (params, done.error.sentence, done.writes)
        if predicted.error or done.error:
            assert predicted.error
            assert done.error
            assert predicted.error.code == done.error.code
            return
        assert predicted.outcome.changed == done.outcome.changed
        if not done.outcome.changed:
            assert print_of(world) == before

    run()
