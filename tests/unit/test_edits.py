# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits that change nothing come to no step; whatever one of them changes does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskRecord,
    NicConfig,
    Power,
    VmFacts,
    VmRecord,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.edits import Edits, write_edits
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.steps import (
    AttachNic,
    RedefineVm,
    Release,
    ResizeDisk,
    SetAutostart,
    SetRecord,
)
from support.samples import vm_config

RECORD = VmRecord("web1")
CONFIG = vm_config(record=RECORD)
VM = VmFacts(HostSpec("kvm01", "test:///default"), Power.RUNNING, CONFIG, CONFIG)
NIC = NicConfig("52:54:00:00:00:09", "lan")


def plan_of(**values: Any) -> list[type]:
    edits = Edits(RECORD, CONFIG, CONFIG)
    for name, value in values.items():
        setattr(edits, name, value)
    return [type(step) for step in write_edits(edits, VM).steps]


def test_what_is_still_the_vm_s_own_is_not_written() -> None:
    assert plan_of() == plan_of(record=replace(RECORD), config=replace(CONFIG), live=replace(CONFIG)) == []


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"first": [SetAutostart(VM.id, True)]}, [SetAutostart]),
        ({"last": [Release("lan", NIC.mac)]}, [Release]),
        ({"grown": [DiskRecord("root", "root", 0, "vda", "default", "root.qcow2", 1)]}, [ResizeDisk]),
        ({"record": replace(RECORD, group="shop")}, [SetRecord]),
        ({"config": replace(CONFIG, cpu=2)}, [RedefineVm]),
        ({"live": replace(CONFIG, nics=(*CONFIG.nics, NIC))}, [AttachNic]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_whatever_differs_is(values: dict[str, Any], steps: list[type]) -> None:
    assert plan_of(**values) == steps
