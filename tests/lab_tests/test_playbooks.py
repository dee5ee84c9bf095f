# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks, by the names that users call them by: two VMs from their deploy to their expunge."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from lab_tests.lab import Lab
from lab_tests.runs import Run

Play = Callable[..., Run]
BOTH = ["web1", "web2"]


@pytest.fixture(scope="module")
def play(
    clean_lab: Lab,
    run_module: Callable[..., Any],
    run_playbook: Callable[..., Run],
    tmp_path_factory: pytest.TempPathFactory,
) -> Play:
    """Runs one of them over h1, which has the template; the environment names the catalog, as in the guide."""
    folder = tmp_path_factory.mktemp("playbooks")
    catalog = clean_lab.catalog(
        1,
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}},
        settings={"cpu_overprovisioning": 20, "expunge_delay": 0},
    )
    run_module("ablestack_template", {"catalog": catalog, "name": "tiny", "src": str(clean_lab.tiny)})

    (folder / "catalog.yml").write_text(yaml.safe_dump(catalog), encoding="utf-8")

    def run(name: str, check: bool = False, ok: bool = True, arguments: tuple[str, ...] = (), **variables: Any) -> Run:
        return run_playbook(
            Path(f"ablestack.kvm.{name}"),
            extra_vars={"ablestack_names": BOTH, **variables},
            env={"ABLESTACK_CATALOG": str(folder / "catalog.yml"), "PWD": str(folder)},
            arguments=arguments,
            check=check,
            ok=ok,
        )

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

    play("power", ablestack_state="started", ablestack_names="web1, web2")  # as -e NAME=VALUE gives them
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

    play("destroy", ablestack_expunge_delay=0, ablestack_delete_data_disks="all")
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
    [failed] = refused.failed
    assert failed.task == "See that every VM has the snapshot before any is stopped"
    assert "VM 'web3' has no snapshot 'never-taken': it has: none" in str(failed.result)
    assert states()["web3"]


def test_the_catalog_may_also_be_a_variable(play: Play, clean_lab: Lab) -> None:
    # The name of its host shows which of the two it is.
    catalog = {"hosts": [{"name": "other", "uri": clean_lab.uri("h1"), "virt_type": "qemu"}]}
    assert play("expunge_due", ablestack_catalog=catalog).changed == []
    [failed] = play("host_evacuation", ok=False, ablestack_catalog=catalog, ablestack_host="h1").failed
    assert failed.result["msg"] == "host 'h1' is not in the catalog"
    assert play("host_evacuation", ablestack_host="h1", host_evacuation_state="filled").changed == []


def test_maintenance_starts_no_vm_that_was_off_and_restores_one_that_was_interrupted(
    play: Play, states: Callable[[], dict[str, bool]], clean_lab: Lab, run_module: Callable[..., Any], tmp_path: Path
) -> None:
    """With an inventory that lists stopped VMs, too, as one has to that takes up what was interrupted."""
    one = {"name": "web4", "template": "tiny", "compute_offering": "tiny", "networks": ["default"], "start": False}
    play("deploy", ablestack_vms=[one])
    uri = clean_lab.uri("h1")
    hosts = {"ablestack": {"hosts": {"web4": {"ablestack_uri": uri, "ansible_host": "192.0.2.1"}}}}
    (tmp_path / "vms.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    (tmp_path / "work.yml").write_text("- {name: Patch, ansible.builtin.raw: 'exit 0'}\n", encoding="utf-8")
    told = {
        "safe_maintenance_id": "1",
        "safe_maintenance_tasks": str(tmp_path / "work.yml"),
        "ansible_ssh_timeout": 1,
        "arguments": ("-i", str(tmp_path / "vms.yml")),
    }
    done = play("safe_maintenance", **told)
    assert done.changed == []
    assert "is not maintained" in done["ablestack.kvm.safe_maintenance : Leave alone a VM that is off"]["msg"]
    assert states()["web4"] is False

    # What a run leaves that is killed between the stop and the start of a restore.
    run_module("ablestack_vm_snapshot", {"uri": uri, "vm": "web4", "name": "maintenance-1"})
    failed = play("safe_maintenance", ok=False, **told).failed
    assert "an earlier run was interrupted while it restored VM 'web4'" in failed[-1].result["msg"]
    assert states()["web4"] is True


@pytest.mark.parametrize(
    ("name", "variables"),
    [("power", {"ablestack_state": "destroyed"}), ("snapshot", {"ablestack_snapshot_state": "reverted"})],
)
def test_a_state_that_is_not_the_playbooks_is_refused(play: Play, name: str, variables: dict[str, str]) -> None:
    [failed] = play(name, ok=False, ablestack_snapshot="any", **variables).failed
    assert "use " in failed.result["msg"]
