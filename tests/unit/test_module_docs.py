"""What each module documents is what it takes and returns."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.plan_parts import Change
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    NicConfig,
    Power,
    VmConfig,
    VmFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_view import vm_view
from ansible_collections.ablestack.kvm.plugins.module_utils.face import runner
from ansible_collections.ablestack.kvm.plugins.module_utils.face.connection import CONNECTION_OPTIONS
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import NIC_MODELS, vm_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.vm_options import VM_OPTIONS

PLUGINS = "ansible_collections.ablestack.kvm.plugins"
MODULES = sorted(path.stem for path in (Path(__file__).parents[2] / "plugins/modules").glob("ablestack_*.py"))


DOCS = Path(__file__).parents[2] / "docs"


class Called(Exception):  # noqa: N818
    """Ends a module where it would begin; its argument is what AnsibleModule was to be called with."""


def module(name: str) -> Any:
    return importlib.import_module(f"{PLUGINS}.modules.{name}")


def fragment(name: str) -> dict[str, Any]:
    """A documentation fragment, such as ablestack.kvm.attributes.info."""
    _namespace, _collection, file, *part = name.split(".")
    holder = importlib.import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
    found: dict[str, Any] = yaml.safe_load(getattr(holder, part[0].upper() if part else "DOCUMENTATION"))
    return found


def documentation(name: str) -> dict[str, Any]:
    """A module's documentation with its fragments in it."""
    own: dict[str, Any] = yaml.safe_load(module(name).DOCUMENTATION)
    own.setdefault("options", {})
    own.setdefault("attributes", {})
    for part in map(fragment, own["extends_documentation_fragment"]):
        own["options"].update(part.get("options", {}))
        own["attributes"].update(part.get("attributes", {}))
    return own


def specification(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module calls AnsibleModule with."""

    def call(**arguments: Any) -> None:
        raise Called(arguments)

    monkeypatch.setattr(runner, "Module", call)
    with pytest.raises(Called) as called:
        module(name).main()
    arguments: dict[str, Any] = called.value.args[0]
    return arguments


def essence(options: dict[str, Any], nested: str) -> dict[str, Any]:
    """What documentation and specification have to agree on."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": essence(option.get(nested) or {}, nested),
        }
        for name, option in options.items()
    }


def test_there_are_modules() -> None:
    assert {"ablestack_vm", "ablestack_vm_info", "ablestack_expunge"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_option_is_documented_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = specification(name, monkeypatch)
    documented = essence(documentation(name)["options"], "suboptions")
    assert documented == essence(arguments["argument_spec"], "options")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_takes_the_connection_and_keeps_the_promises_it_states(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = specification(name, monkeypatch)
    assert CONNECTION_OPTIONS.items() <= arguments["argument_spec"].items()
    assert ("uri", "catalog", "catalog_file") in arguments["mutually_exclusive"]
    assert arguments["supports_check_mode"] is True
    attributes = documentation(name)["attributes"]
    assert set(attributes) == {"action_group", "check_mode", "diff_mode", "idempotent", "platform"}
    assert attributes["check_mode"]["support"] == "full"


@pytest.mark.parametrize("name", MODULES)
def test_every_option_and_value_in_an_example_exists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = specification(name, monkeypatch)["argument_spec"]
    tasks = yaml.safe_load(module(name).EXAMPLES)
    used = [task[f"ablestack.kvm.{name}"] for task in tasks if f"ablestack.kvm.{name}" in task]
    assert used
    for options in used:
        assert set(options or {}) <= set(known)


@pytest.mark.parametrize("name", MODULES)
def test_the_codes_of_errors_are_documented(name: str) -> None:
    error = yaml.safe_load(module(name).RETURN)["error"]["contains"]
    assert set(error) == {"code", "hint", "details"}
    text = " ".join(error["code"]["description"])
    assert sorted(f"V({code.value})" for code in Code) == sorted(
        part.strip(".,") for part in text.split() if "V(" in part
    )


def test_the_examples_of_a_vm_are_right() -> None:
    tasks = [task["ablestack.kvm.ablestack_vm"] for task in yaml.safe_load(module("ablestack_vm").EXAMPLES)]
    for task in tasks:
        vm_spec({key: value for key, value in task.items() if key in VM_OPTIONS})
    together = {key for task in tasks for key in task}
    # one wizard step after another: every option that deploys is shown
    assert {"template", "iso", "compute_offering", "data_disks", "networks", "ssh_key_pairs", "user_data"} <= together


def test_the_models_of_nics_are_documented() -> None:
    text = " ".join(documentation("ablestack_vm")["options"]["networks"]["description"])
    assert all(f"V({model})" in text for model in NIC_MODELS)


def test_what_is_returned_of_a_vm_is_documented_field_by_field() -> None:
    config = VmConfig(
        "5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10", "web01", None, 1, 512, 1, 512,
        disks=(DiskConfig("vda", "/pool/a"),), nics=(NicConfig("52:54:00:00:00:01", "lan"),),
    )  # fmt: skip
    view = vm_view(VmFacts(HostSpec("kvm01", "test:///default"), Power.OFF, config))
    documented = yaml.safe_load(module("ablestack_vm").RETURN)["vm"]["contains"]
    listed = yaml.safe_load(module("ablestack_vm_info").RETURN)["vms"]["contains"]
    assert documented == listed
    assert list(documented) == list(view)
    assert set(documented["disks"]["contains"]) == set(view["disks"][0])
    assert set(documented["nics"]["contains"]) == set(view["nics"][0])
    types = {"str": str, "bool": bool, "int": int, "list": list, "dict": dict}
    assert {key: types[field["type"]] for key, field in documented.items()} == {
        key: type(value) for key, value in view.items()
    }


def test_what_is_returned_of_a_change_is_documented() -> None:
    documented = yaml.safe_load(module("ablestack_vm").RETURN)["changes"]["contains"]
    assert set(documented) == set(Change("cpu", 1, 2).as_dict())


def test_the_keys_of_a_host_are_the_same_wherever_they_are_told() -> None:
    keys = {field.name for field in dataclasses.fields(HostSpec)}
    with pytest.raises(AblestackError) as refused:
        read_catalog({"hosts": [{"name": "a", "uri": "qemu:///system", "no such key at all": 1}]})
    assert refused.value.code is Code.INVALID_INPUT
    for key in keys:  # the reader knows each: a wrong value is refused as that, and not as a key that there is not
        with pytest.raises(AblestackError, match=key):
            read_catalog({"hosts": [{"name": "a", "uri": "qemu:///system", key: {"no": "value"}}]})
    section = (DOCS / "catalog.md").read_text(encoding="utf-8").partition("## hosts\n")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == keys
    (told,) = [
        line for line in fragment("ablestack.kvm.connection")["options"]["catalog"]["description"] if "V(hosts)" in line
    ]
    values = {"hosts", "default", "enabled", "disabled", "maintenance", "auto", "kvm", "qemu"}
    assert set(re.findall(r"V\((\w+)\)", told)) - values == keys
