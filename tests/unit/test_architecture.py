"""The architecture holds in this repository, and each of its rules can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.architecture import ALLOWED, FILE_RULES, MAX_LINES, MAX_SHIPPED, check, layer_of
from support.source_tree import ROOT_PACKAGE, SourceTree

REPOSITORY = Path(__file__).resolve().parents[2]
UTILS = f"{ROOT_PACKAGE}.plugins.module_utils"

# One file of each layer.
PLACES = {
    "modules": "plugins/modules/ablestack_thing.py",
    "inventory": "plugins/inventory/ablestack.py",
    "connection": "plugins/connection/ablestack_guest_agent.py",
    "action": "plugins/action/ablestack_thing.py",
    "plugin_utils": "plugins/plugin_utils/installed.py",
    "doc_fragments": "plugins/doc_fragments/connection.py",
    "face": "plugins/module_utils/face/runner.py",
    "usecase": "plugins/module_utils/core/usecase/deploy.py",
    "plan": "plugins/module_utils/core/plan/disks.py",
    "hypervisor": "plugins/module_utils/core/hypervisor/domains.py",
    "hypervisor.port": "plugins/module_utils/core/hypervisor/port.py",
    "xml": "plugins/module_utils/core/xml/disk.py",
    "xml.mapping": "plugins/module_utils/core/xml/mapping.py",
    "seed": "plugins/module_utils/core/seed/image.py",
    "model": "plugins/module_utils/core/model/errors.py",
}
# DESIGN's table, written out a second time by hand, so that a slip in the checker's own shows.
ARROWS = """
modules -> face usecase model
inventory -> face usecase model
connection -> face usecase model
action -> plugin_utils face usecase model
plugin_utils ->
doc_fragments ->
face -> face usecase hypervisor hypervisor.port model
usecase -> usecase plan hypervisor.port seed model
plan -> plan model
hypervisor -> hypervisor hypervisor.port xml xml.mapping model
hypervisor.port -> hypervisor.port model
xml -> xml
xml.mapping -> xml xml.mapping model
seed -> seed model
model -> model
"""


def tree_of(root: Path, files: dict[str, str]) -> SourceTree:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return SourceTree(root)


def broken_rules(root: Path, files: dict[str, str]) -> set[str]:
    return {violation.rule for violation in check(tree_of(root, files))}


def dotted(path: str) -> str:
    return ROOT_PACKAGE + "." + path[: -len(".py")].replace("/", ".")


def import_between(importer: str, imported: str) -> str:
    """The import of one layer's file by another's, written as it must be: relative within the core."""
    here, there = PLACES[importer], PLACES[imported]
    core = "plugins/module_utils/core/"
    if here.startswith(core):
        ups = ".." if there.startswith(core) else "..." if there.startswith("plugins/module_utils/") else "...."
        base = {"..": core, "...": "plugins/module_utils/", "....": "plugins/"}[ups]
        return f"from {ups}{there[len(base) : -len('.py')].replace('/', '.')} import name\n"
    return f"from {dotted(there)} import name\n"


def test_this_repository_keeps_the_rules() -> None:
    assert [str(violation) for violation in check(SourceTree(REPOSITORY))] == []


def test_the_real_tree_is_seen() -> None:
    sources = SourceTree(REPOSITORY)
    assert sources.find(("tests", "support", "architecture")) is not None
    assert sources.below("plugins", "module_utils", "core")


def test_each_place_is_of_its_layer() -> None:
    assert {layer: layer_of(tuple(path[: -len(".py")].split("/"))) for layer, path in PLACES.items()} == {
        layer: layer for layer in ALLOWED
    }


@pytest.mark.parametrize("importer", ALLOWED)
@pytest.mark.parametrize("imported", ALLOWED)
def test_every_arrow(tmp_path: Path, importer: str, imported: str) -> None:
    right_sides = dict(line.split(" ->") for line in ARROWS.strip().splitlines())
    line = import_between(importer, imported)
    lazily = f"def function():\n    {line}    return name\n"
    for text in (line, lazily):
        files = {PLACES[imported]: "name = 1\n", PLACES[importer]: text}
        expected = set() if imported in right_sides[importer].split() else {"layers"}
        assert broken_rules(tmp_path, files) == expected, text


CORE = "plugins/module_utils/core"
WRONG = {
    "a file outside the layers": ("layers", "plugins/module_utils/helpers.py", "x = 1\n"),
    "a file of the core outside its layers": ("layers", f"{CORE}/helpers.py", "x = 1\n"),
    "a plugin kind without a layer": ("layers", "plugins/lookup/thing.py", "x = 1\n"),
    "a package by name": ("layers", PLACES["plan"], "from .. import usecase\n"),
    "import with dots": ("layers", PLACES["modules"], f"import {UTILS}.core.plan.disks\n"),
    "a relative import by a module": ("layers", PLACES["modules"], "from ..module_utils.core.plan import disks\n"),
    "only for type checking": (
        "layers",
        PLACES["plan"],
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..usecase.deploy import Deploy\n",
    ),
    "import ansible": ("ansible_free_core", PLACES["usecase"], "import ansible\n"),
    "from ansible": ("ansible_free_core", PLACES["model"], "from ansible.module_utils.basic import AnsibleModule\n"),
    "absolute import in the core": ("ansible_free_core", PLACES["plan"], f"from {UTILS}.core.model import errors\n"),
    "libvirt in a use case": ("libvirt_in_one_place", PLACES["usecase"], "import libvirt\n"),
    "libvirt in the port": ("libvirt_in_one_place", PLACES["hypervisor.port"], "import libvirt\n"),
    "libvirt in a module": (
        "libvirt_in_one_place",
        PLACES["modules"],
        "try:\n    import libvirt\nexcept ImportError:\n    pass\n",
    ),
    "libvirt_qemu in the face": ("libvirt_in_one_place", PLACES["face"], "def f():\n    from libvirt_qemu import x\n"),
    "a plan that reads the clock": ("pure_plan", PLACES["plan"], "import time\n"),
    "a plan that asks for now": ("pure_plan", PLACES["plan"], "import datetime\nx = datetime.datetime.now()\n"),
    "a plan that throws dice": ("pure_plan", PLACES["plan"], "import uuid\nx = uuid.uuid4()\n"),
    "importlib": ("visible_imports", PLACES["face"], "import importlib\n"),
    "dunder import": ("visible_imports", PLACES["face"], "x = __import__('libvirt')\n"),
    "a program is started": ("visible_imports", PLACES["hypervisor"], "import subprocess\n"),
    "assert": ("no_assert", PLACES["modules"], "assert 1\n"),
    "assert inside": ("no_assert", PLACES["seed"], "def f():\n    assert 1\n"),
    "a re-export": ("empty_init", f"{CORE}/model/__init__.py", "from .errors import Error\n"),
    "xml text": ("no_xml_text", PLACES["xml"], "x = '<domain type=\"kvm\">'\n"),
    "xml text in an f-string": ("no_xml_text", PLACES["hypervisor"], "x = f'<name>{x}</name>'\n"),
    "an empty element as text": ("no_xml_text", PLACES["hypervisor"], "x = '<acpi/>'\n"),
    "ET.fromstring": ("one_xml_parser", PLACES["xml"], "import xml.etree.ElementTree as ET\nx = ET.fromstring('')\n"),
    "ElementTree.parse": (
        "one_xml_parser",
        PLACES["face"],
        "from xml.etree import ElementTree\nElementTree.parse('x')\n",
    ),
    "the whole name": (
        "one_xml_parser",
        PLACES["hypervisor"],
        "import xml.etree.ElementTree\nxml.etree.ElementTree.XML('')\n",
    ),
    "under another name": ("one_xml_parser", PLACES["xml"], "from xml.etree.ElementTree import XML as x\n"),
    "passed as a value": (
        "one_xml_parser",
        PLACES["xml"],
        "from xml.etree import ElementTree as E\nx = map(E.XML, [])\n",
    ),
    "minidom": ("one_xml_parser", PLACES["xml"], "from xml.dom import minidom\n"),
    "lxml": ("one_xml_parser", PLACES["hypervisor"], "import lxml.etree\n"),
    "a long file": ("short_files", "tests/unit/test_long.py", "#\n" * (MAX_LINES + 1)),
}


@pytest.mark.parametrize(("rule", "path", "text"), WRONG.values(), ids=WRONG.keys())
def test_every_rule_can_fail(tmp_path: Path, rule: str, path: str, text: str) -> None:
    assert broken_rules(tmp_path, {path: text}) == {rule}


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, _path, _text in WRONG.values()} == {rule.__name__ for rule in FILE_RULES} | {"short_files"}


RIGHT = {
    "xml in a docstring": (PLACES["xml"], '"""The <domain> element, as in <domain></domain>."""\n'),
    "xml text in a test": ("tests/unit/test_xml.py", "x = '<domain/>'\n"),
    "assert in a test": ("tests/unit/test_xml.py", "assert 1\n"),
    "the parser's own file": (f"{CORE}/xml/document.py", "import xml.etree.ElementTree as ET\nx = ET.fromstring('')\n"),
    "another parse": (PLACES["face"], "import urllib.parse\nx = urllib.parse.urlparse('')\n"),
    "building elements": (
        PLACES["xml"],
        "import xml.etree.ElementTree as ET\nx = ET.SubElement(ET.Element('a'), 'b')\n",
    ),
    "libvirt at its place": (PLACES["hypervisor"], "import libvirt\n"),
    "ansible in the face": (PLACES["face"], "from ansible.module_utils.basic import AnsibleModule\n"),
    "a file at the limit": (PLACES["model"], "#\n" * MAX_LINES),
    "a hidden folder": (".venv/lib/thing.py", "#\n" * (MAX_LINES + 1)),
}


@pytest.mark.parametrize(("path", "text"), RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_passes(tmp_path: Path, path: str, text: str) -> None:
    assert broken_rules(tmp_path, {path: text}) == set()


def chain(length: int, last: str) -> dict[str, str]:
    """A module that imports m1, which imports m2 (inside a function), and so on."""
    model = f"{CORE}/model"
    files = {f"{model}/m{i}.py": f"def f():\n    from .m{i + 1} import f\n    return f\n" for i in range(1, length)}
    return {
        **files,
        f"{model}/m{length}.py": last,
        f"{model}/__init__.py": "",
        f"{model}/unused.py": "x = 1\n",
        PLACES["modules"]: f"from {UTILS}.core.model import m1\n",
    }


def test_files_shipped_are_counted_through_lazy_imports(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, chain(3, "x = 1\n"))
    (module,) = tree.below("plugins", "modules")
    names = {path.stem for path in tree.shipped_with(module)}
    assert names == {"ablestack_thing", "m1", "m2", "m3"}  # neither the empty __init__.py nor what nobody imports


@pytest.mark.parametrize(("last", "expected"), [("", set()), ("x = 1\n", {"few_files_shipped"})])
def test_the_budget_of_files_shipped(tmp_path: Path, last: str, expected: set[str]) -> None:
    # the module and its chain, of which the last file counts only if there is something in it
    assert broken_rules(tmp_path, chain(MAX_SHIPPED, last)) == expected


def test_a_re_export_is_shipped_with_every_module_below_it(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {**chain(1, "x = 1\n"), f"{CORE}/model/__init__.py": "from . import unused\n"})
    (module,) = tree.below("plugins", "modules")
    assert {path.stem for path in tree.shipped_with(module)} == {"ablestack_thing", "m1", "__init__", "unused"}
