# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks, by the names that users call them by: two VMs from their deploy to their expunge."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab
from lab_tests.runs import Run

Play = Callable[..., Run]
BOTH = ["web1", "web2"]


@pytest.fixture(scope="module")
def play(clean_lab: Lab, run_module: Callable[..., Any], run_playbook: Callable[..., Run]) -> Play:
    """Runs one of them over h1, which has the template."""
    catalog = clean_lab.catalog(
        1,
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}},
        settings={"cpu_overprovisioning": 20, "expunge_delay": 0},
    )
    run_module("ablestack_template", {"catalog": catalog, "name": "tiny", "src": str(clean_lab.tiny)})

    def run(name: str, check: bool = False, ok: bool = True, **variables: Any) -> Run:
        given = {"ablestack_catalog": catalog, "ablestack_names": BOTH, **variables}
        return run_playbook(Path(f"ablestack.kvm.{name}"), extra_vars=given, check=check, ok=ok)

    return run


@pytest.fixture
def states(clean_lab: Lab) -> Callable[[], dict[str, bool]]:
    """Which domains there are, and whether each runs."""

    def read() -> dict[str, bool]:
        with closing(clean_lab.connect()) as connection:
            return {domain.name(): bool(domain.isActive()) for domain in connection.listAllDomains()}

    return read


def test_two_vms_from_their_deploy_to_their_expunge(play: Play, states: Callable[[], dict[str, bool]]) -> None:
    vms = [
        {"name": name, "template": "tiny", "compute_offering": "tiny", "networks": ["default"], "start": False}
        for name in BOTH
    ]
    assert play("deploy", check=True, ablestack_vms=vms).changed == ["Deploy the VMs"]
    assert states() == {}
    play("deploy", ablestack_vms=vms)
    assert states() == {"web1": False, "web2": False}
    assert play("deploy", ablestack_vms=vms).changed == []

    snapshot = {"ablestack_snapshot": "before"}
    assert play("snapshot", check=True, **snapshot).changed == ["Take or delete the snapshot of each VM"]
    taken = play("snapshot", **snapshot, ablestack_description="as it was")["Take or delete the snapshot of each VM"]
    assert [row["snapshot"]["description"] for row in taken["results"]] == ["as it was", "as it was"]
    assert play("snapshot", **snapshot).changed == []

    play("power", ablestack_state="started")
    assert states() == {"web1": True, "web2": True}
    forced = {**snapshot, "ablestack_forced": True}
    # What has been stopped in check mode runs on, so that its restore cannot be tried.
    assert play("restore", check=True, **forced).changed == ["Stop each VM"]
    restored = play("restore", **forced)
    assert restored.changed == ["Stop each VM", "Restore the snapshot of each VM", "Start each VM"]
    assert states() == {"web1": True, "web2": True}
    play("restore", **forced, ablestack_start=False)
    assert states() == {"web1": False, "web2": False}
    assert play("restore", **forced, ablestack_start=False).changed == []

    assert play("snapshot", **snapshot, ablestack_snapshot_state="absent").changed
    assert play("snapshot", **snapshot, ablestack_snapshot_state="absent").changed == []

    play("destroy")
    assert "web1" not in states()
    play("recover", ablestack_names=["web1"])
    assert states()["web1"] is False
    due = play("expunge_due")["Expunge"]
    assert [row["name"] for row in due["expunged"]] == ["web2"]
    assert states() == {"web1": False}
    assert play("expunge_due").changed == []


def test_nothing_is_stopped_where_one_lacks_the_snapshot(play: Play, states: Callable[[], dict[str, bool]]) -> None:
    one = {"name": "web3", "template": "tiny", "compute_offering": "tiny", "networks": ["default"]}
    play("deploy", ablestack_vms=[one])
    refused = play("restore", ok=False, ablestack_names=["web3"], ablestack_snapshot="never-taken")
    assert [task.task for task in refused.failed] == ["See that every VM has the snapshot before any is stopped"]
    assert states()["web3"]


@pytest.mark.parametrize(
    ("name", "variables"),
    [("power", {"ablestack_state": "destroyed"}), ("snapshot", {"ablestack_snapshot_state": "reverted"})],
)
def test_a_state_that_is_not_the_playbooks_is_refused(play: Play, name: str, variables: dict[str, str]) -> None:
    [failed] = play(name, ok=False, ablestack_snapshot="any", **variables).failed
    assert "use " in failed.result["msg"]
