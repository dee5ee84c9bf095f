# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of a fleet to its specification."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import FLEET_OPTIONS, fleet_spec
from ansible_collections.ablestack.kvm.plugins.modules import ablestack_vm_fleet


def test_defaults_lie_under_each_entry() -> None:
    spec = fleet_spec(
        {
            "vms": [{"name": "a"}, {"name": "b", "cpu": 4, "labels": {"x": "y"}, "template": None}],
            "defaults": {"cpu": 2, "labels": {"p": "q"}, "template": "tiny"},
            "state": "started",
            "group": "web",
        }
    )
    first, second = spec.vms
    assert (first.cpu, first.labels, first.state, first.group) == (2, (("p", "q"),), "started", "web")
    assert (second.cpu, second.labels, second.template) == (4, (("x", "y"),), "tiny")
    own = fleet_spec({"vms": [{"name": "a", "state": "stopped", "group": "db"}], "state": "started", "group": "web"})
    assert (own.vms[0].state, own.vms[0].group) == ("stopped", "db")


def test_pruning_heeds_how_to_stop_and_nothing_else() -> None:
    defaults = {"forced": True, "expunge_delay": 60, "template": "tiny", "delete_data_disks": "all"}
    removal = fleet_spec({"vms": [], "defaults": defaults, "group": "web", "prune": True}).removal
    assert (removal.state, removal.forced, removal.expunge_delay) == ("destroyed", True, 60)
    assert (removal.name, removal.delete_data_disks, removal.deploys) == ("", "none", False)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"vms": [{"name": "a"}, {"name": "A"}]}, "VM 'a'"),
        ({"vms": [{"name": "a"}, {"nmae": "b"}]}, "vms[1]"),
        ({"vms": [{"name": "a", "cpu": "two"}]}, "vms[0]"),
        ({"vms": [{}]}, "vms[0]"),
        ({"vms": [{"name": "a", "uri": "test:///default"}]}, "vms[0]"),
        ({"vms": [], "defaults": {"name": "a"}}, "defaults"),
        ({"vms": [], "defaults": {"state": "started"}, "state": "stopped"}, "state"),
        ({"vms": [], "prune": True}, "group"),
        ({"vms": [], "parallel": 0}, "parallel"),
        ({"vms": [], "max_failures": -1}, "max_failures"),
    ],
)
def test_what_cannot_be_is_refused_and_named(options: dict[str, Any], names: str) -> None:
    with pytest.raises(AblestackError) as error:
        fleet_spec(options)
    assert error.value.code is Code.INVALID_INPUT
    assert names in error.value.message


def test_the_examples_are_right() -> None:
    for task in yaml.safe_load(ablestack_vm_fleet.EXAMPLES):
        options = task.get("ablestack.kvm.ablestack_vm_fleet")
        if options:
            fleet_spec({key: value for key, value in options.items() if key in FLEET_OPTIONS})
