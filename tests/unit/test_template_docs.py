"""What the template modules document is what they take and return."""

from __future__ import annotations

import importlib
from typing import Any

import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Template, TemplateCopy
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_view import template_view
from ansible_collections.ablestack.kvm.plugins.module_utils.face.template_options import TEMPLATE_OPTIONS, template_spec


def module(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.ablestack.kvm.plugins.modules.{name}")


def test_what_is_returned_of_a_template_is_documented_field_by_field() -> None:
    template = Template("t", "qcow2", 1024**3, 1000, "sha256:0", created="2026-01-01T00:00:00Z")
    ready = TemplateCopy("h1", "p", "/i", template, True, "", "t")
    view = template_view([ready, TemplateCopy("h2", "p", "", None, False, "half", "t", ("x",))], ["web"])
    documented = yaml.safe_load(module("ablestack_template").RETURN)["template"]["contains"]
    listed = yaml.safe_load(module("ablestack_template_info").RETURN)["templates"]["contains"]
    assert documented == listed
    assert (
        set(documented) == set(view) == set(template_view([TemplateCopy("h", "p", "", None, False, "", "t", ("x",))]))
    )
    assert set(documented["problems"]["contains"]) == set(view["problems"][0])
    types = {"str": str, "bool": bool, "float": (int, float), "list": list, "dict": dict}
    wrong = [key for key, field in documented.items() if not isinstance(view[key], types[field["type"]])]
    assert wrong == []


def test_the_examples_of_a_template_are_right() -> None:
    tasks = [task["ablestack.kvm.ablestack_template"] for task in yaml.safe_load(module("ablestack_template").EXAMPLES)]
    for task in tasks:
        template_spec({key: value for key, value in task.items() if key in TEMPLATE_OPTIONS})
    assert {task.get("state", "present") for task in tasks} == {"present", "absent", "extracted"}
    assert {"src", "url", "vm"} <= {key for task in tasks for key in task}
