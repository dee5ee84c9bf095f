# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of a fleet to its specification."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import FLEET_OPTIONS, fleet_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.vm_options import VM_OPTIONS
from ansible_collections.ablestack.kvm.plugins.modules import ablestack_vm_fleet

SPELLINGS: list[dict[str, Any]] = [
    {"template": 12},
    {"template": 12.5},
    {"iso": 24},
    {"attached_iso": 24},
    {"networks": "lan,backup"},
    {"networks": "lan"},
    {"networks": ["lan", {"name": "backup", "ip": "auto"}]},
    {"ssh_key_pairs": "ops,dev"},
    {"affinity_groups": "a,b"},
    {"affinity_groups": 7},
    {"labels": "role=web tier=2"},
    {"labels": '{"role": "web", "on": true}'},
    {"labels": {"role": True, "tier": 2}},
    {"cpu": 2.0},
    {"cpu": "4"},
    {"memory": 2048},
    {"memory": "2GiB"},
    {"root_disk_size": 20},
    {"data_disks": [{"name": 1, "size": 5, "device": "4", "max_iops": 500.0}]},
    {"data_disks": "name=data"},
    {"delete_data_disks": [1, "log"]},
    {"delete_data_disks": "all"},
    {"group": 7},
    {"host": 7},
    {"display_name": 2025},
    {"display_name": True},
    {"user_data": 5},
    {"tpm": "yes"},
    {"start": 0},
    {"forced": "on"},
    {"timeout": "30"},
    {"wait": "none", "wait_timeout": 5.0},
    {"state": "absent", "expunge_delay": "60"},
]


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


@pytest.mark.parametrize("options", SPELLINGS, ids=str)
def test_an_entry_and_a_default_are_read_as_the_options_of_a_vm_are(options: dict[str, Any]) -> None:
    task = ArgumentSpecValidator(VM_OPTIONS).validate({"name": "a", **options})
    if task.error_messages:  # before 2.18 Ansible itself takes 2.0 for no whole number
        assert ".0" in str(options)
        with pytest.raises(AblestackError) as error:
            fleet_spec({"vms": [{"name": "a", **options}]})
        assert error.value.hint == "write a whole number"
        return
    wanted = vm_spec(task.validated_parameters)
    assert wanted != vm_spec({"name": "a"})
    assert fleet_spec({"vms": [{"name": "a", **options}]}).vms == (wanted,)
    assert fleet_spec({"vms": [{"name": "a"}], "defaults": options}).vms == (wanted,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu": 2.5}, "vms[0]: cpu is '2.5'"),
        ({"cpu": float("inf")}, "vms[0]: cpu is 'inf'"),
        ({"cpu": True}, "vms[0]: cpu is 'True'"),
        ({"labels": "web"}, "vms[0]: labels must be a mapping, not str"),
        ({"data_disks": ["data"]}, "vms[0]: data_disks[0] must be a mapping, not str"),
        ({"networks": {"name": "lan"}}, "vms[0]: networks must be a list, not dict"),
        ({"template": ["debian12"]}, "vms[0]: template must be a text, not list"),
        ({"tpm": "perhaps"}, "vms[0]: tpm is 'perhaps'"),
    ],
)
def test_what_nobody_can_read_is_told_in_our_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(AblestackError) as error:
        fleet_spec({"vms": [{"name": "a", **options}]})
    assert error.value.message == said
    assert error.value.hint


def test_user_data_that_is_no_text_is_not_shown() -> None:
    with pytest.raises(AblestackError) as error:
        fleet_spec({"vms": [{"name": "a", "user_data": {"password": "hunter2"}}]})
    assert "hunter2" not in error.value.sentence
