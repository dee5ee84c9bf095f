"""Every failure says what to do about it, too (INTERFACE 10)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.source_tree import Source, SourceTree

REPOSITORY = Path(__file__).resolve().parents[2]
ARGUMENTS_BEFORE_HINT = {"AblestackError": 2, "invalid": 1}
# Their messages are reasons inside another sentence, which has a hint of its own.
REASONS = {"survey_move", "template_descriptor", "template_lookup"}


def without_hint(source: Source) -> Iterator[str]:
    for node in ast.walk(source.syntax):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        before = ARGUMENTS_BEFORE_HINT.get(node.func.id)
        internal = bool(node.args) and ast.unparse(node.args[0]) == "Code.INTERNAL"
        given = len(node.args), {keyword.arg for keyword in node.keywords}
        if before is not None and not internal and given[0] <= before and "hint" not in given[1]:
            yield f"{source.path}:{node.lineno}"


def test_every_error_has_a_hint() -> None:
    sources = [source for source in SourceTree(REPOSITORY).below("plugins") if source.path.stem not in REASONS]
    assert len(sources) > 100
    assert [place for source in sources for place in without_hint(source)] == []


def test_an_error_without_a_hint_is_found(tmp_path: Path) -> None:
    path = tmp_path / "plugins" / "thing.py"
    path.parent.mkdir()
    path.write_text(
        "raise invalid('wrong')\n"
        "raise invalid('wrong', 'do this')\n"
        "raise AblestackError(Code.NOT_FOUND, 'gone', host='kvm01')\n"
        "raise AblestackError(Code.INTERNAL, 'oops')\n",
        encoding="utf-8",
    )
    assert [place for source in SourceTree(tmp_path).below("plugins") for place in without_hint(source)] == [
        "plugins/thing.py:1",
        "plugins/thing.py:3",
    ]


def test_a_mistake_of_ours_asks_to_be_reported() -> None:
    assert "report" in AblestackError(Code.INTERNAL, "oops").hint
    assert AblestackError(Code.INTERNAL, "oops", "see the log").hint == "see the log"
