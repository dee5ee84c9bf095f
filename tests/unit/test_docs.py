"""The documentation says what is: links lead somewhere, YAML works, and nothing is described that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model import catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.documented_yaml import (
    FOLDER,
    MODULES,
    call_errors,
    calls_in,
    catalogs_in,
    inventory_errors,
    plays_in,
    tasks_in,
    without_templates,
)
from support.documents import Document, broken_links, slug_of

ROOT = Path(__file__).parents[2]
PATHS = [
    *(path for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md") if (path := ROOT / name).is_file()),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
    *sorted((ROOT / "benchmarks").glob("*/README.md")),
    ROOT / "extensions" / "molecule" / "README.md",
    ROOT / "tests" / "lab" / "README.md",
]
DOCUMENTS = {path: Document.at(path) for path in PATHS}
LANGUAGES = {"yaml", "sh", "text", "python", "xml"}
PICTURES = sorted((ROOT / "docs" / "images").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def document(name: str) -> Document:
    return DOCUMENTS[ROOT / "docs" / name]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def yaml_in_documents() -> Iterator[tuple[str, Any]]:
    for path, doc in DOCUMENTS.items():
        for block in doc.blocks:
            if block.language == "yaml":
                for data in yaml.safe_load_all(block.text):
                    yield where(path, block.line), data


# Markdown


def test_all_documents_are_there() -> None:
    expected = {"start", "guide", "guide.ko", "catalog", "errors", "coming-from", "limits", "architecture"}
    assert expected <= {path.name[: -len(".md")] for path in PATHS if path.parent == ROOT / "docs"}


def test_every_link_leads_somewhere() -> None:
    assert broken_links(ROOT, DOCUMENTS) == []
    assert sum(1 for doc in DOCUMENTS.values() for _link in doc.links) > 30


def test_every_block_of_code_says_what_it_is() -> None:
    wrong = [
        where(path, block.line)
        for path, doc in DOCUMENTS.items()
        for block in doc.blocks
        if block.language not in LANGUAGES and path.parent == ROOT / "docs"
    ]
    assert wrong == []


def test_lines_are_short_enough_to_be_read() -> None:
    long = [where(path, line) for path, doc in DOCUMENTS.items() for line in doc.long_lines]
    assert long == []


# YAML


def test_every_yaml_block_can_be_read() -> None:
    wrong = []
    for path, doc in DOCUMENTS.items():
        for block in doc.blocks:
            if block.language == "yaml":
                try:
                    list(yaml.safe_load_all(block.text))
                except yaml.YAMLError as error:
                    wrong.append(f"{where(path, block.line)}: {error}")
    assert wrong == []


def test_every_task_has_options_that_its_module_takes() -> None:
    calls = [(place, name, given) for place, data in yaml_in_documents() for name, given in calls_in(data)]
    wrong = [f"{place}: {name}: {error}" for place, name, given in calls for error in call_errors(name, given)]
    assert wrong == []
    assert {name for _place, name, _given in calls} == set(MODULES), "every module is shown at least once"


def test_every_task_has_a_name() -> None:
    plays = [(place, data) for place, data in yaml_in_documents() if plays_in(data) or list(calls_in(data))]
    assert [place for place, data in plays for task in tasks_in(data) if "name" not in task] == []


def test_every_catalog_is_right() -> None:
    found = [(place, one) for place, data in yaml_in_documents() for one in catalogs_in(data)]
    wrong = []
    for place, data in found:
        try:
            read_catalog(without_templates(data))
        except AblestackError as error:
            wrong.append(f"{place}: {error.sentence}")
    assert wrong == []
    assert len(found) >= 4


def test_every_inventory_source_has_options_that_its_plugin_takes() -> None:
    sources = [(place, data) for place, data in yaml_in_documents() if isinstance(data, dict) and "plugin" in data]
    assert [f"{place}: {error}" for place, data in sources for error in inventory_errors(data)] == []


def test_ansible_takes_every_playbook(tmp_path: Path) -> None:
    """One run for all of them; a list of tasks becomes a play."""
    files = []
    for number, (_place, data) in enumerate(yaml_in_documents()):
        if isinstance(data, list) and (plays_in(data) or list(calls_in(data))):
            playbook = data if plays_in(data) else [{"name": "Tasks", "hosts": "localhost", "tasks": data}]
            file = tmp_path / f"{number}.yml"
            file.write_text(yaml.safe_dump(playbook, sort_keys=False, allow_unicode=True), encoding="utf-8")
            files.append(str(file))
    assert len(files) > 20
    done = syntax_check(tmp_path, files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("playbook: ") == len(files)


def syntax_check(folder: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [sys.executable, str(program), "-i", "localhost,", "--syntax-check", *files]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


# Completeness


def test_the_error_codes_are_those_there_are() -> None:
    titles = [heading.title.strip("`") for heading in document("errors.md").headings if heading.level == 3]
    assert sorted(titles) == sorted(code.value for code in Code)
    listed = [row[0] for row in document("errors.md").rows("All codes")]
    assert sorted(re.findall(r"\[`(\w+)`\]", " ".join(listed))) == sorted(titles)


CATALOG = {
    "hosts": catalog.HostSpec,
    "compute_offerings": catalog.ComputeOffering,
    "disk_offerings": catalog.DiskOffering,
    "affinity_groups": catalog.AffinityGroup,
    "settings": catalog.Settings,
}


@pytest.mark.parametrize("section", CATALOG)
def test_the_catalog_keys_are_those_there_are(section: str) -> None:
    named = section == "hosts"
    known = [entry for entry in fields(CATALOG[section]) if named or entry.name != "name"]
    rows = {row[0].strip("`"): row for row in document("catalog.md").rows(section)}
    assert list(rows) == [entry.name for entry in known]
    for entry in known:
        shown = rows[entry.name][2].strip("`")
        if isinstance(entry.default, (str, int, float)) and entry.default not in ("", False):
            assert shown == str(entry.default), entry.name


def test_the_catalog_sections_are_those_there_are() -> None:
    sections = [
        heading.title for heading in document("catalog.md").headings if "_" in heading.title or heading.level == 2
    ]
    known = [entry.name for entry in fields(catalog.Catalog) if entry.name != "implicit"]
    assert [title for title in sections if title in known] == known
    assert [row[0].strip("`") for row in document("catalog.md").rows("The keys at the top")] == known


def test_nothing_is_named_that_does_not_exist() -> None:
    plugins = {path.stem for kind in ("modules", "inventory", "connection") for path in (FOLDER / kind).glob("*.py")}
    wrong = []
    for path, doc in DOCUMENTS.items():
        for line, text in doc.code:
            for name in re.findall(r"\bablestack_\w+", text):
                if name not in plugins and name not in VARIABLES:
                    wrong.append(f"{where(path, line)}: {name}")
    assert wrong == []


# of playbooks and inventories; ablestack_<field of a VM> is a host's variable
VARIABLES = {
    "ablestack_report",
    "ablestack_catalog",
    "ablestack_state",
    "ablestack_zone",
    "ablestack_labels",
    "ablestack_name",
    "ablestack_host",
}


def test_the_architecture_names_files_that_are_there() -> None:
    folders = [ROOT, FOLDER, FOLDER / "module_utils", FOLDER / "module_utils" / "core"]
    named = {text for _line, text in document("architecture.md").code if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", text)}
    assert [name for name in sorted(named) if not any((folder / name).exists() for folder in folders)] == []
    assert len(named) > 20


def test_the_readme_lists_every_module_once() -> None:
    rows = DOCUMENTS[ROOT / "README.md"].rows("Modules")
    listed = re.findall(r"`(ablestack_\w+)`", " ".join(row[0] for row in rows))
    assert sorted(listed) == MODULES


# Languages


def test_both_guides_have_the_same_sections_and_the_same_playbooks() -> None:
    english, korean = document("guide.md"), document("guide.ko.md")
    assert [heading.level for heading in english.headings] == [heading.level for heading in korean.headings]
    assert outline(english) == outline(korean)


def test_both_guides_show_the_same_commands_and_the_same_output() -> None:
    english, korean = ([(block.language, block.text) for block in document(name).blocks] for name in GUIDES)
    assert english == korean


GUIDES = ("guide.md", "guide.ko.md")


def test_the_guide_has_every_task_of_ablestack_s_guide() -> None:
    """Its headings, in its order (its guide to VMs from templates), and the equivalents in English."""
    for name, titles in TASKS.items():
        found = [heading.title for heading in document(name).headings]
        positions = [next((i for i, title in enumerate(found) if title.endswith(task)), -1) for task in titles]
        assert -1 not in positions, titles[positions.index(-1)]
        assert positions == sorted(positions)
    assert len(set(map(len, TASKS.values()))) == 1


TASKS = {
    "guide.ko.md": [
        "템플릿으로 가상머신 추가", "배포 인프라 선택", "템플릿/ISO", "컴퓨터 오퍼링", "데이터 디스크", "5 네트워크",
        "SSH 키 쌍", "확장 모드", "상세", "ISO를 이용한 가상머신 추가", "가상머신 정지/시작/재시작", "가상머신 정지",
        "가상머신 시작", "가상머신 재시작", "가상머신 스냅샷 관리", "가상머신 스냅샷 생성", "가상머신 스냅샷 복원",
        "가상머신 스냅샷 삭제", "가상머신 삭제", "파기된 가상머신의 복원", "콘솔 보기",
    ],
    "guide.md": [
        "Deploy a VM from a template", "Infrastructure", "Template or ISO", "Compute offering", "Data disks",
        "5 Networks", "SSH key pairs", "Advanced mode", "Details", "Deploy a VM from an ISO image",
        "Stop, start, restart", "Stop a VM", "Start a VM", "Restart a VM", "VM snapshots", "Create a VM snapshot",
        "Restore a VM snapshot", "Delete a VM snapshot", "Remove a VM", "Recover a VM", "See a console",
    ],
}  # fmt: skip


def outline(doc: Document) -> list[tuple[int, str]]:
    """The YAML blocks, each with the number of the section that it is in."""
    lines = [heading.line for heading in doc.headings]
    return [(sum(line < block.line for line in lines), block.text) for block in doc.blocks if block.language == "yaml"]


# Pictures


def test_every_picture_is_shown() -> None:
    shown = {
        link.rpartition("/")[2] for doc in DOCUMENTS.values() for _line, link in doc.links if link.endswith(".svg")
    }
    assert {path.name for path in PICTURES} == shown
    assert PICTURES


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_can_be_read_by_everybody(path: Path) -> None:
    assert picture_errors(path.read_text(encoding="utf-8")) == []


def picture_errors(text: str) -> list[str]:
    """What keeps a picture from being read: on a dark page, by a screen reader, or without a network."""
    root = ElementTree.fromstring(text)
    style = "".join(element.text or "" for element in root.iter(f"{SVG}style"))
    size = [float(number) for number in root.get("viewBox", "0 0 0 0").split()]
    errors = []
    if "prefers-color-scheme: dark" not in style:
        errors.append("it has no colours for a dark page")
    if root.get("role") != "img" or root.find(f"{SVG}title") is None:
        errors.append("it has no title")
    if not list(root.iter(f"{SVG}text")):
        errors.append("its text is not text")
    if re.search(r"<(image|script|foreignObject)|url\(['\"]?http|@import", text):
        errors.append("it needs something else")
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        if not (0 <= x <= size[2] and 0 <= y <= size[3]):
            errors.append(f"'{''.join(element.itertext())}' is outside of it")
    return errors


# The checkers themselves


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    text = (
        "# One\n# One\n\n[a](#one-1) [b](#gone) [c](there.md#파기-복원) [d](there.md#gone) [e](no.md) ![f](no.svg)\n"
        "[g](https://example.com) `[h](no.md)`\n\n```text\n[i](no.md)\n```\n[j](../outside.md)\n"
    )
    (tmp_path / "there.md").write_text("## 파기, 복원!\n", encoding="utf-8")
    (tmp_path.parent / "outside.md").touch()
    found = broken_links(tmp_path, {tmp_path / "a.md": Document(text)})
    assert [line.split(": ")[1] for line in found] == ["#gone", "there.md#gone", "no.md", "no.svg", "../outside.md"]


def test_anchors_are_made_as_they_are_on_the_web() -> None:
    assert slug_of("Stop, start, restart") == "stop-start-restart"
    assert slug_of("`wait`: how far to wait") == "wait-how-far-to-wait"
    assert slug_of("가상머신 정지/시작/재시작") == "가상머신-정지시작재시작"


def test_a_block_that_is_not_closed_is_found() -> None:
    assert Document("```yaml\na: 1\n").blocks[0].language == "(not closed)"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("{name: web1, sate: started}", "sate"),
        ("{name: web1, state: running}", "value of state must be one of"),
        ("{name: web1, start: maybe}", "start"),
        ("{name: web1, data_disks: [{name: d, sise: 1}]}", "sise"),
        ("{name: web1, root_disk_size: 20 litres}", "litres"),
        ("{name: 1web}", "1web"),
        ("{name: web1, networks: [{nam: lan}]}", "nam"),
        ("{name: web1, uri: 'qemu:///system', catalog: {}}", "mutually exclusive"),
    ],
)
def test_a_wrong_option_is_found(options: str, error: str) -> None:
    task = yaml.safe_load(f"- {{name: Do, block: [{{name: It, ablestack.kvm.ablestack_vm: {options}}}]}}")
    [(name, given)] = calls_in(task)
    [found] = call_errors(name, given)
    assert error in found


def test_a_right_task_passes_with_whatever_templates_are_in_it() -> None:
    text = """
      - hosts: localhost
        module_defaults: {group/ablestack.kvm.ablestack: {catalog: "{{ c }}"}}
        tasks:
          - ablestack.kvm.ablestack_vm: {name: "web{{ item }}", timeout: "{{ t }}", networks: ["{{ n }}"]}
    """
    [(name, given)] = calls_in(yaml.safe_load(text))
    assert given["catalog"] == "{{ c }}"
    assert call_errors(name, given) == []
    assert call_errors("ablestack_nothing", {}) == ["there is no module ablestack_nothing"]


def test_a_wrong_playbook_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("- hosts: localhost\n  tasks:\n    - name: A\n      no.such.thing: {}\n")
    assert syntax_check(tmp_path, ["a.yml"]).returncode != 0


def test_a_wrong_inventory_source_is_found() -> None:
    assert inventory_errors({"plugin": "ablestack.kvm.nothing"}) == ["there is no inventory plugin nothing"]


def test_a_picture_that_not_everybody_can_read_is_found() -> None:
    empty = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><image href="a.png"/></svg>'
    assert len(picture_errors(empty)) == 4
