# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What safe_maintenance refuses before it touches a VM; no host is needed for that. The rest is shown in the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def maintain(folder: Path, **options: str) -> subprocess.CompletedProcess[str]:
    given = {"maintenance_hosts": "web1", "safe_maintenance_id": "1", "ansible_connection": "local", **options}
    program = [sys.executable, str(Path(sys.executable).parent / "ansible-playbook"), "-i", "web1,"]
    return subprocess.run(
        [*program, "ablestack.kvm.safe_maintenance", "-e", json.dumps(given)],
        env={**os.environ, "ANSIBLE_HOME": str(folder), "PWD": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("work", "health"), [("ptach.yml", ""), ("patch.yml", "haelth.yml"), ("/nowhere/patch.yml", "")]
)
def test_a_mistyped_file_is_refused_before_any_snapshot(tmp_path: Path, work: str, health: str) -> None:
    (tmp_path / "patch.yml").write_text("- {name: Patch, ansible.builtin.raw: 'true'}\n", encoding="utf-8")
    done = maintain(tmp_path, safe_maintenance_tasks=work, safe_maintenance_health_tasks=health)
    assert done.returncode != 0
    wrong = tmp_path / (health or work)
    assert f"'{wrong}' is not there" in done.stdout
    assert "Look up the VM" not in done.stdout


def test_files_that_are_there_are_taken_from_the_folder_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "patch.yml").write_text("- {name: Patch, ansible.builtin.raw: 'true'}\n", encoding="utf-8")
    done = maintain(tmp_path, safe_maintenance_tasks="patch.yml", safe_maintenance_uri="test:///nowhere")
    assert "is not there" not in done.stdout
    assert "Look up the VM" in done.stdout
