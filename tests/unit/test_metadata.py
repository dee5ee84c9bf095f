"""galaxy.yml, meta/runtime.yml and the requirements agree with what is in the tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def load(path: str) -> Any:
    return yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))


def test_the_action_group_holds_every_module_and_no_other() -> None:
    modules = sorted(path.stem for path in (REPOSITORY / "plugins/modules").glob("*.py") if path.stem != "__init__")
    assert load("meta/runtime.yml")["action_groups"]["ablestack"] == modules


def test_module_names_carry_the_prefix_of_the_group() -> None:
    strays = [
        path.name for path in (REPOSITORY / "plugins/modules").glob("*.py") if not path.name.startswith("ablestack_")
    ]
    assert strays == []


def test_the_license_is_the_one_that_galaxy_names() -> None:
    assert load("galaxy.yml")["license"] == ["GPL-3.0-or-later"]
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 3" in (REPOSITORY / "LICENSE").read_text(
        encoding="utf-8"
    )


def test_one_lowest_python_everywhere() -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert load("tests/config.yml")["modules"]["python_requires"] == ">=3.9"
    assert re.search(r'^python_version = "3\.9"$', pyproject, re.MULTILINE)
    assert re.search(r'^target-version = "py39"$', pyproject, re.MULTILINE)


def test_every_plugin_file_names_the_license() -> None:
    files = [path for path in (REPOSITORY / "plugins").rglob("*.py") if path.read_text(encoding="utf-8").strip()]
    missing = [
        str(path) for path in files if "GNU General Public License v3.0+" not in path.read_text(encoding="utf-8")[:400]
    ]
    assert missing == []
