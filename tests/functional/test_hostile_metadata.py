# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records, marks, notes and times that somebody damaged, and then tasks that use them: done, or one sentence."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Mark, Owner, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.owner import current_owner
from support.module_tasks import all_modules
from support.site_audit import foreign
from support.sites import print_of, site_in_use
from support.worlds import World

MODULES = all_modules()
EXAMPLES = settings(max_examples=int(os.environ.get("ABLESTACK_FUZZ", "40")), suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")

TIMES = st.sampled_from(
    (
        *("", "yesterday", "0", "-1", "1e999", "NaN", "9" * 5000, "\u202e2026", "a\nb", "2026-01-01"),
        *("2026-02-30T00:00:00Z", "2026-01-01T00:00:00+09:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        *("2026-01-01T00:00:00Z", "2199-01-01T00:00:00Z", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z"),
    )
)
NUMBERS = st.sampled_from((0, 1, -1, os.getpid(), 2**31, 2**64, 10**30, -(10**30)))
MACHINES = st.sampled_from(("", "elsewhere", current_owner().machine, "../../.."))
TOKENS = st.sampled_from(("", "t", "zz", "../x", "e\u0301", "x" * 3000))
OWNERS = st.builds(Owner, MACHINES, NUMBERS, NUMBERS, TOKENS)
PLACES = st.sampled_from(("", "kvm01", "kvm02", "nowhere"))
MARKS = st.builds(
    Mark,
    phase=st.sampled_from(list(Phase)),
    since=TIMES,
    expunge_at=TIMES,
    delete_data_disks=st.sampled_from(((), ("mine",), ("no such disk",))),
    runs=st.booleans(),
    source=PLACES,
    target=PLACES,
    owner=st.none() | OWNERS,
)
VOLUMES = st.sampled_from(((), ("default/vol-spare.qcow2",), ("nonsense",), ("/",), ("a/b/c",)))
NOTES = st.lists(st.builds(Hold, OWNERS, TIMES, VOLUMES), max_size=2)
VMS = ("web1", "web2", "gone")
USES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"ablestack_{name}", {}) for name in ("vm_info", "host_info", "volume_info", "network_info", "template_info")),
    ("ablestack_vm_snapshot_info", {"vm": "web2"}),
    *(
        ("ablestack_vm", {"name": name, "state": state, "wait": "none"})
        for name in VMS
        for state in ("stopped", "started")
    ),
    ("ablestack_vm_snapshot", {"vm": "web2", "name": "s2"}),
    ("ablestack_vm_snapshot", {"vm": "web2", "name": "s1", "state": "reverted"}),
    ("ablestack_volume", {"name": "spare", "vm": "web1", "state": "attached"}),
    ("ablestack_vm_migrate", {"name": "web2", "host": "kvm02", "live": False}),
    ("ablestack_vm", {"name": "gone", "state": "recovered"}),
    *(("ablestack_vm", {"name": name, "state": "destroyed", "forced": True}) for name in VMS),
    ("ablestack_expunge", {}),
    *(("ablestack_vm", {"name": name, "state": "expunged", "forced": True}) for name in VMS),
)


def one_sentence(error: AblestackError) -> bool:
    return bool(error.sentence.strip()) and error.sentence.isprintable() and error.code is not Code.INTERNAL


def damaged(world: World, name: str, mark: Mark, created: str, notes: list[Hold], taken: int) -> None:
    for domain in world.state.domains.values():
        record = domain.config.record
        if record and record.name == name:
            record = replace(record, mark=mark, created=created)
            domain.config = replace(domain.config, record=record)
            domain.live = replace(domain.live, record=record) if domain.live else None
            domain.holds.update({note.owner.token: note for note in notes})
            domain.kept = [replace(kept, facts=replace(kept.facts, created=taken)) for kept in domain.kept]


@EXAMPLES
@given(
    name=st.sampled_from(VMS),
    mark=MARKS,
    created=TIMES,
    notes=NOTES,
    taken=NUMBERS,
    uses=st.lists(st.sampled_from(USES), min_size=1, max_size=5),
)
@example(name="web2", mark=Mark(), created="", notes=[], taken=10**30, uses=[*USES[:6]])
@example(name="gone", mark=Mark(Phase.DESTROYED, "1e999", "9" * 5000), created="NaN", notes=[], taken=0, uses=[*USES])
def test_whatever_became_of_a_record(
    name: str,
    mark: Mark,
    created: str,
    notes: list[Hold],
    taken: int,
    uses: list[tuple[str, dict[str, Any]]],
    fuzz_case: Callable[[], None],
) -> None:
    world = site_in_use()
    damaged(world, name, mark, created, notes, taken)
    theirs = foreign(world)
    for module, params in uses:
        fuzz_case()
        before = print_of(world)
        predicted = MODULES[module].run(world, params, check=True)
        assert print_of(world) == before
        done = MODULES[module].run(world, params)
        for task in (predicted, done):
            assert task.error is None or one_sentence(task.error), (module, params, task.error.sentence)
        assert foreign(world) == theirs
