# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a task on snapshots come to, and which are refused before any host is asked."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import SnapshotSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.snapshot_options import snapshot_spec

ID = "5E1F0E2C-93a4-4c0e-9f6e-3f3f1f7f8f10"


def test_what_is_left_out_is_not_managed() -> None:
    assert snapshot_spec({"vm": "web1", "name": None, "description": None}) == SnapshotSpec(vm="web1")
    assert snapshot_spec({"vm": ID, "description": ""}) == SnapshotSpec(vm_id=ID.lower(), description="")


@pytest.mark.parametrize(("given", "wish"), [("auto", "auto"), (True, "true"), ("False", "false")])
def test_quiesce_is_a_word_or_a_truth_value(given: Any, wish: str) -> None:
    assert snapshot_spec({"vm": "web1", "quiesce": given}).quiesce == wish


@pytest.mark.parametrize(
    "options",
    [
        {"vm": ""},
        {"vm": "../x"},
        {"vm": "web1", "name": "../x"},
        {"vm": "web1", "name": "a+2"},
        {"vm": "web1", "name": ""},
        {"vm": "web1", "name": "x" * 65},
        {"vm": "web1", "state": "absent"},
        {"vm": "web1", "state": "reverted"},
        {"vm": "web1", "state": "gone", "name": "s1"},
        {"vm": "web1", "description": "two\nlines"},
        {"vm": "web1", "memory": True, "quiesce": "true"},
        {"vm": "web1", "quiesce": "maybe"},
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(AblestackError) as error:
        snapshot_spec(options)
    assert error.value.code is Code.INVALID_INPUT
