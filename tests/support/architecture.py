"""The rules of the architecture (CONTRIBUTING.md, "Where a line belongs"), each a function from files to violations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from .source_tree import Source, SourceTree

MAX_LINES = 400
# Every file shipped costs each task about 2 ms.
MAX_SHIPPED = 96

# Who may import whom. A layer may always use its own files, except that plugins never import each other, and that
# the two dotted ones are parts of a layer: the port is all that use cases see of the hypervisor, and of xml/ only
# the mapping knows the model.
ALLOWED = {
    "modules": {"face", "usecase", "model"},
    "inventory": {"face", "usecase", "model"},
    "connection": {"face", "usecase", "model"},
    "action": {"plugin_utils", "face", "usecase", "model"},
    "plugin_utils": set(),
    "doc_fragments": set(),
    "face": {"face", "usecase", "hypervisor", "hypervisor.port", "model"},
    "usecase": {"usecase", "plan", "hypervisor.port", "seed", "model"},
    "plan": {"plan", "model"},
    "hypervisor": {"hypervisor", "hypervisor.port", "xml", "xml.mapping", "model"},
    "hypervisor.port": {"hypervisor.port", "model"},
    "xml": {"xml"},
    "xml.mapping": {"xml", "xml.mapping", "model"},
    "seed": {"seed", "model"},
    "model": {"model"},
}
CORE_LAYERS = {"model", "plan", "usecase", "hypervisor", "xml", "seed"}

LIBVIRT = {"libvirt", "libvirt_lxc", "libvirt_qemu", "libvirtaio"}
XML_PARSER_FILE = "plugins/module_utils/core/xml/document.py"
XML_PARSERS = {"XML", "XMLID", "XMLParser", "XMLPullParser", "fromstring", "fromstringlist", "iterparse", "parse"}
OTHER_XML_LIBRARIES = ("defusedxml", "lxml", "xml.dom", "xml.sax", "xml.parsers", "xmltodict")
# A plan is a function of its arguments: it asks no clock, no file, no network and no dice.
IMPURE = {
    "glob",
    "io",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "tempfile",
    "threading",
    "time",
    "urllib",
}
CLOCK_OR_DICE = re.compile(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)|uuid\.uuid[14]")


@dataclass(frozen=True)
class Violation:
    """A broken rule, and where."""

    rule: str
    where: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: [{self.rule}] {self.why}"


Finding = tuple[int, str]
FileRule = Callable[[Source], Iterator[Finding]]


def layer_of(parts: tuple[str, ...]) -> str | None:
    """The layer of a file of ours, given by its path without suffix; None if it belongs to none."""
    if parts[:1] != ("plugins",):
        return None
    if parts[1:2] != ("module_utils",):
        return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else None
    if parts[2:3] == ("face",):
        return "face"
    if parts[2:3] != ("core",) or len(parts) < 4 or parts[3] not in CORE_LAYERS:
        return None
    layer, inside = parts[3], parts[4:]
    if layer == "hypervisor" and inside[:1] == ("port",):
        return "hypervisor.port"
    if layer == "xml" and any("mapping" in part for part in inside):
        return "xml.mapping"
    return layer


def is_core(source: Source) -> bool:
    return source.parts[:3] == ("plugins", "module_utils", "core")


def names_library(name: str, library: str) -> bool:
    return f"{name}.".startswith(f"{library}.")


def layers(source: Source) -> Iterator[Finding]:
    """Only the arrows of ALLOWED, wherever in a file the import stands."""
    own = layer_of(source.parts)
    if own is None:
        if source.text.strip():
            yield 1, "belongs to no layer"
        return
    for item in source.imports:
        if item.is_ours:
            other = layer_of(item.parts)
            if other not in ALLOWED[own]:
                yield item.line, f"{own} may not import {other or 'what belongs to no layer'} ({'/'.join(item.parts)})"


def ansible_free_core(source: Source) -> Iterator[Finding]:
    """The core runs where no Ansible is installed, and under any name: it imports itself relatively."""
    if is_core(source):
        for item in source.imports:
            if names_library(item.name, "ansible"):
                yield item.line, "the core imports no Ansible"
            elif item.is_ours and not item.relative:
                yield item.line, "within the core imports are relative"


def libvirt_in_one_place(source: Source) -> Iterator[Finding]:
    """Only the hypervisor's implementation knows libvirt."""
    if layer_of(source.parts) != "hypervisor":
        for item in source.imports:
            if item.name.split(".")[0] in LIBVIRT:
                yield item.line, "libvirt is imported in core/hypervisor/ only, and not by its port"


def pure_plan(source: Source) -> Iterator[Finding]:
    if layer_of(source.parts) == "plan":
        for item in source.imports:
            if not item.relative and item.name.split(".")[0] in IMPURE:
                yield item.line, f"a plan is pure, so it does not import {item.name}"
        for node in ast.walk(source.syntax):
            if isinstance(node, ast.Attribute) and CLOCK_OR_DICE.fullmatch(ast.unparse(node)):
                yield node.lineno, f"a plan is pure, so {ast.unparse(node)} is an argument"


def visible_imports(source: Source) -> Iterator[Finding]:
    """AnsiballZ and these rules see import statements only; and nothing here starts a program."""
    for item in source.imports:
        if item.name.split(".")[0] in {"importlib", "subprocess", "pty"}:
            yield item.line, f"{item.name} has no place in plugins/"
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.Name) and node.id == "__import__":
            yield node.lineno, "an import is a statement"


def no_assert(source: Source) -> Iterator[Finding]:
    """`python -O` drops assertions, and a user is owed a sentence, not an AssertionError."""
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.Assert):
            yield node.lineno, "raise an error of core/model instead of assert"


def empty_init(source: Source) -> Iterator[Finding]:
    """A re-export is zipped and shipped with every task."""
    if source.path.name == "__init__.py" and source.text.strip():
        yield 1, "__init__.py is empty"


def no_xml_text(source: Source) -> Iterator[Finding]:
    """XML is built as elements: text forgets to escape."""
    if not is_core(source):
        return
    docstrings = set(_docstrings(source.syntax))
    for node in ast.walk(source.syntax):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if node not in docstrings and re.search(r"<domain|</|/>|<\?xml", text):
            yield node.lineno, "build XML as elements, not as text"


def one_xml_parser(source: Source) -> Iterator[Finding]:
    """Text from outside becomes XML in one file, which refuses what is unsafe (entities, doctypes)."""
    if str(source.path) == XML_PARSER_FILE:
        return
    only = f"XML is parsed in {XML_PARSER_FILE} only"
    for item in source.imports:
        if any(names_library(item.name, library) for library in OTHER_XML_LIBRARIES):
            yield item.line, f"{item.name}: {only}"
    element_tree = _element_tree_names(source.syntax)
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xml.etree"):
            if any(alias.name in XML_PARSERS for alias in node.names):
                yield node.lineno, only
        # fromstring is said of XML alone; parse and its like are many things' names
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in XML_PARSERS
            and (node.attr == "fromstring" or ast.unparse(node.value) in element_tree)
        ):
            yield node.lineno, only


def _element_tree_names(syntax: ast.Module) -> set[str]:
    """The expressions that mean the ElementTree module in this file."""
    names = {"xml.etree.ElementTree"}
    for node in ast.walk(syntax):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name.split(".")[-1] == "ElementTree":
                    names.add(alias.asname or alias.name)
    return names


def _docstrings(syntax: ast.Module) -> Iterator[ast.AST]:
    """The constants that are documentation: a string that stands alone as a statement."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


FILE_RULES: tuple[FileRule, ...] = (
    layers,
    ansible_free_core,
    libvirt_in_one_place,
    pure_plan,
    visible_imports,
    no_assert,
    empty_init,
    no_xml_text,
    one_xml_parser,
)


def check(tree: SourceTree) -> list[Violation]:
    """Every violation in a tree, in the order of its files."""
    found = []
    for source in tree.below("plugins"):
        for rule in FILE_RULES:
            found += [Violation(rule.__name__, str(source.path), line, why) for line, why in rule(source)]
    for source in tree.below():
        if (lines := source.text.count("\n")) > MAX_LINES:
            found.append(Violation("short_files", str(source.path), lines, f"more than {MAX_LINES} lines"))
    for source in tree.below("plugins", "modules"):
        if (count := len(tree.shipped_with(source))) > MAX_SHIPPED:
            found.append(Violation("few_files_shipped", str(source.path), 1, f"ships {count} files, not {MAX_SHIPPED}"))
    return found
