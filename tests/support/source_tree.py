"""The collection's Python files as syntax trees, and which of our files each one imports.

Nothing is imported or run: everything here works on source text, so it also works on small made-up trees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

# How Python and Ansible name the root of the repository.
ROOT_PACKAGE = "ansible_collections.ablestack.kvm"


@dataclass(frozen=True)
class Import:
    """One imported module: `name` is absolute; `relative` tells how it was written."""

    line: int
    name: str
    relative: bool

    @property
    def is_ours(self) -> bool:
        return self.relative or f"{self.name}.".startswith(f"{ROOT_PACKAGE}.")

    @property
    def parts(self) -> tuple[str, ...]:
        """Of a module of ours: its path from the root of the repository, without suffix."""
        return tuple(self.name.split(".")[ROOT_PACKAGE.count(".") + 1 :])


@dataclass(frozen=True)
class Source:
    """One file; `path` is relative to the root of the repository."""

    tree: SourceTree
    path: PurePosixPath
    text: str

    @cached_property
    def syntax(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def parts(self) -> tuple[str, ...]:
        return self.path.with_suffix("").parts

    @cached_property
    def imports(self) -> list[Import]:
        """Every import statement at any depth: AnsiballZ packs those inside functions and type-checking blocks too."""
        found = []
        for node in ast.walk(self.syntax):
            if isinstance(node, ast.Import):
                found += [Import(node.lineno, alias.name, relative=False) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += self._imports_from(node)
        return sorted(found, key=lambda item: (item.line, item.name))

    def _imports_from(self, node: ast.ImportFrom) -> Iterator[Import]:
        base = node.module or ""
        if node.level:
            package = (*ROOT_PACKAGE.split("."), *self.path.parent.parts)
            above = package[: len(package) - node.level + 1]
            base = ".".join((*above, base)) if base else ".".join(above)
        for alias in node.names:
            # `from package import name`: the name is a module of that package, or something inside the package.
            inner = Import(node.lineno, f"{base}.{alias.name}", bool(node.level))
            if inner.is_ours and self.tree.find(inner.parts) is not None:
                yield inner
            else:
                yield Import(node.lineno, base, bool(node.level))


class SourceTree:
    """All Python files below `root`, hidden folders and test output left out."""

    def __init__(self, root: Path) -> None:
        self.sources = {
            path: Source(self, path, root.joinpath(path).read_text(encoding="utf-8")) for path in _python_files(root)
        }

    def below(self, *parts: str) -> list[Source]:
        return [source for source in self.sources.values() if source.parts[: len(parts)] == parts]

    def find(self, parts: tuple[str, ...]) -> Source | None:
        """The file of a module or package, given by its path without suffix."""
        if not parts:
            return None
        path = PurePosixPath(*parts)
        return self.sources.get(path.with_suffix(".py")) or self.sources.get(path / "__init__.py")

    def shipped_with(self, source: Source) -> set[PurePosixPath]:
        """The non-empty files of the collection that travel to the host when Ansible runs this module."""
        seen: set[PurePosixPath] = set()
        waiting = [source]
        while waiting:
            current = waiting.pop()
            if current.path in seen:
                continue
            seen.add(current.path)
            for item in current.imports:
                if item.is_ours:
                    # a package's __init__.py travels with every module below it
                    prefixes = (item.parts[:length] for length in range(1, len(item.parts) + 1))
                    waiting += [found for found in map(self.find, prefixes) if found is not None]
        return {path for path in seen if self.sources[path].text.strip()}


def _python_files(root: Path) -> Iterator[PurePosixPath]:
    for path in sorted(root.rglob("*.py")):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        if not hidden and relative.parts[:2] != ("tests", "output"):
            yield relative
