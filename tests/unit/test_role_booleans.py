# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's truth values are read as such wherever they are used: `-e name=false` gives the text "false", which is true
by itself, and the role's argument specification accepts it without a conversion.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"
OURS = "ablestack.kvm."
CONDITIONS = ("when", "that", "until", "failed_when", "changed_when")
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def booleans() -> list[tuple[str, str]]:
    """Each role with each of its variables that are truth values."""
    found = []
    for file in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        options = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
        found += [(file.parts[-3], name) for name, option in options.items() if option["type"] == "bool"]
    return found


def unread(role: Path, name: str) -> list[str]:
    """The places that take the variable as it came."""
    texts = [
        (file.name, text)
        for part in ("tasks", "vars", "handlers")
        for file in sorted(role.glob(f"{part}/*.yml"))
        for text in expressions(yaml.safe_load(file.read_text(encoding="utf-8")), name)
    ]
    for file in sorted(role.glob("templates/*")):
        texts += [(file.name, text) for text in EXPRESSION.findall(file.read_text(encoding="utf-8"))]
    bare = re.compile(rf"(?<!\w){name}(?!\w)(?!\s*\|\s*bool\b)")
    return [f"{file}: {text}" for file, text in texts if bare.search(text)]


def expressions(data: Any, name: str, condition: bool = False) -> Iterator[str]:
    """All but those that hand the variable as it is to a truth value of a module of ours, which converts it."""
    if isinstance(data, dict):
        for key, value in data.items():
            flags = flags_of(key[len(OURS) :]) if str(key).startswith(OURS) and isinstance(value, dict) else ()
            kept = (
                {one: value[one] for one in value if not (one in flags and handed(value[one], name))}
                if flags
                else value
            )
            yield from expressions(kept, name, key in CONDITIONS)
    elif isinstance(data, list):
        for item in data:
            yield from expressions(item, name, condition)
    elif isinstance(data, str):
        yield from [data] if condition else EXPRESSION.findall(data)


def handed(value: Any, name: str) -> bool:
    return isinstance(value, str) and re.fullmatch(rf"\{{\{{\s*{name}\s*\}}\}}", value) is not None


def flags_of(module: str) -> set[str]:
    found = importlib.import_module(f"ansible_collections.ablestack.kvm.plugins.modules.{module}")
    specs = [value for name, value in vars(found).items() if name.endswith("OPTIONS")]
    return {name for spec in specs for name, option in spec.items() if option["type"] == "bool"}


@pytest.mark.parametrize(("role", "name"), booleans())
def test_a_truth_value_is_read_as_one(role: str, name: str) -> None:
    assert unread(ROLES / role, name) == []


def test_what_takes_one_as_it_came_is_found(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    tasks = [
        {"ansible.builtin.fail": {"msg": "no"}, "when": ["not x_on"]},
        {"ablestack.kvm.ablestack_vm_fleet": {"prune": "{{ x_on }}", "group": "{{ x_on }}"}},
        {"ansible.builtin.fail": {"msg": "no"}, "when": "not (x_on | bool) and x_only"},
    ]
    (tmp_path / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks))
    assert unread(tmp_path, "x_on") == ["main.yml: not x_on", "main.yml: {{ x_on }}"]
