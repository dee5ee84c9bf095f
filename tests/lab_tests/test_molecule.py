# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A molecule scenario as a user runs it: a VM made in the lab, and a role converged into it; ./dev molecule has all."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from lab_tests.lab import SCRIPTS, Lab, command


def test_a_role_is_tried_in_a_vm(clean_lab: Lab) -> None:
    collections = os.environ["ANSIBLE_COLLECTIONS_PATH"]
    environment = {"ABLESTACK_LAB": str(clean_lab.folder), "ANSIBLE_COLLECTIONS_PATH": collections}
    done = command(str(SCRIPTS / "molecule.sh"), "default", timeout=1500, **environment)
    assert "molecule: default: ok" in done.stdout
    with closing(clean_lab.connect()) as connection:
        assert connection.listAllDomains() == []


def test_every_role_has_a_scenario() -> None:
    root = Path(__file__).parents[2]
    scenarios = {path.parent.name for path in (root / "extensions" / "molecule").glob("*/molecule.yml")}
    roles = {path.name for path in (root / "roles").iterdir()}
    assert roles <= scenarios
