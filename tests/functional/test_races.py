# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight controllers at once, in many orders of their calls: one outcome, never two writers, and honest results.

An order is drawn from a seed and is the same each time. RACE_SEEDS says how many are tried of each race.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from support.race_table import RACES, run_race, site_of, watching
from support.turns import Turns

SEEDS = int(os.environ.get("RACE_SEEDS", "20"))


@pytest.mark.parametrize("name", RACES)
def test_whatever_the_order_there_is_one_outcome(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    race, told, calls = RACES[name], Counter[str](), 0
    for seed in range(SEEDS):
        world = site_of(race)
        turns = Turns(seed, watching(world))
        with monkeypatch.context() as patch:
            turns.install(patch)
            results = run_race(race, world, turns)
        calls += turns.calls
        for result in results:
            refused = isinstance(result, AblestackError)
            told["refused" if refused else "changed" if result.changed else "unchanged"] += 1
    record_property("races", [name, SEEDS, calls, told["changed"], told["unchanged"], told["refused"]])
