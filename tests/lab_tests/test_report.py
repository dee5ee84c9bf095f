# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's playbook over two real hosts and one that is down: what is there is on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab
from lab_tests.runs import Run

from support.browser import browser

PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks" / "report.yml"
MODULE = "ablestack.kvm.ablestack_{}".format
DOWN = {"name": "h9", "uri": "qemu+unix:///system?socket=/nowhere/libvirt-sock", "zone": "far"}
COMMON = {"template": "tiny", "compute_offering": "tiny", "networks": ["default"], "start": False}


def catalog(lab: Lab) -> dict[str, Any]:
    found = lab.catalog(2, compute_offerings={"tiny": {"cpu": 1, "memory": 96}, "large": {"cpu": 2, "memory": 128}})
    found["hosts"][1]["zone"] = "south"
    return found


@pytest.fixture(scope="module")
def run(clean_lab: Lab, run_playbook: Callable[..., Run]) -> Run:
    """Three VMs that never ran: one with two snapshots, one destroyed, one as it was deployed."""
    vms = [{"name": "kept", "zone": "default"}, {"name": "gone", "zone": "south"}, {"name": "plain", "zone": "south"}]
    tasks = [
        {MODULE("template"): {"name": "tiny", "src": str(clean_lab.tiny)}},
        {MODULE("vm_fleet"): {"vms": vms, "defaults": COMMON}},
        {MODULE("vm_snapshot"): {"vm": "kept", "name": "first"}},
        {MODULE("vm_snapshot"): {"vm": "kept", "name": "second", "description": "<b>bold</b>"}},
        {MODULE("vm"): {"name": "gone", "state": "destroyed"}},
    ]
    defaults = {"group/ablestack.kvm.ablestack": {"catalog": catalog(clean_lab)}}
    play = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}
    return run_playbook([play])


def test_what_is_there_is_on_the_page(run: Run, lab: Lab, run_playbook: Callable[..., Run], tmp_path: Path) -> None:
    wanted = [{"name": "kept"}, {"name": "plain", "compute_offering": "large"}, {"name": "new"}]
    site = catalog(lab)
    given = {
        "ablestack_catalog": {**site, "hosts": [*site["hosts"], DOWN]},
        "ablestack_report": "fleet.html",
        "ablestack_vms": wanted,
        "report_vm_defaults": COMMON,
        "report_title": "The lab",
    }
    here = {"PWD": str(tmp_path)}
    checked = run_playbook(PLAYBOOK, extra_vars=given, check=True, env=here)
    assert checked.changed == ["ablestack.kvm.report : Write what was found"]
    assert list(tmp_path.glob("*.html")) == []

    done = run_playbook(PLAYBOOK, extra_vars=given, env=here)
    assert done.changed == ["ablestack.kvm.report : Write what was found"]
    file = tmp_path / "fleet.html"
    assert file.stat().st_mode & 0o777 == 0o640
    with browser(tmp_path) as page:
        page.open(file)
        assert page.complaints() == []
        assert page.requests() == [file.as_uri()]
        assert page.overflow == 0
        assert page.all("h1") == ["The lab"]
        assert page.all("#hosts h3") == ["Zone default", "Zone south"]
        assert page.all("#unreachable tbody th") == ["h9"]
        assert [name.split()[0] for name in page.all("#vms tbody th")] == ["kept", "plain"]
        assert page.all("#destroyed tbody th") == ["gone"]
        assert page.all("#snapshots h3") == ["kept on h1"]
        tree = page.all("#snapshots .tree li")
        assert tree[1].startswith("second current")
        assert "<b>bold</b>" in tree[1]
        versions = lab.connect("h1").getLibVersion()
        assert f"libvirt {versions // 1000000}.{versions // 1000 % 1000}." in page.all("#hosts tbody tr")[0]
        drift = dict(zip(page.all("#drift tbody th"), page.all("#drift tbody tr")))
        assert set(drift) == {"plain", "new"}
        assert "cpu: 1 → 2" in drift["plain"]
        # whether its name is free on the host that is down, nobody can tell
        assert "refused" in drift["new"]
        assert "h9" in drift["new"]
