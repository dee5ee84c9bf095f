"""What the documentation says, as data: its headings, links, tables and code, and what is wrong with them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

MAX_LENGTH = 120

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([\w+-]*)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_INLINE_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^\s)>]+)>?(?:\s+[\"'][^)]*)?\)")
_DEFINED_LINK = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$")
_HTML_LINK = re.compile(r"\b(?:src|href|srcset)=[\"']([^\"']+)")
_HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=[\"']([^\"']+)")
_CODE = re.compile(r"(`+)(.+?)\1")


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `line` is that of its fence."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Heading:
    level: int
    title: str
    line: int


class Document:
    """A Markdown file, its code set apart from its prose."""

    def __init__(self, text: str, path: Path = Path("README.md")) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.blocks: list[Block] = []
        self.prose: list[tuple[int, str]] = []
        self._read()

    @staticmethod
    def at(path: Path) -> Document:
        return Document(path.read_text(encoding="utf-8"), path)

    def _read(self) -> None:
        fence, language, start, body = "", "", 0, []
        for number, line in enumerate(self.lines, 1):
            found = _FENCE.match(line)
            if fence:
                if found and found[2].startswith(fence) and not found[3]:
                    self.blocks.append(Block(language, "\n".join(body) + "\n", start))
                    fence = ""
                else:
                    body.append(line)
            elif found:
                fence, language, start, body = found[2], found[3], number, []
            else:
                self.prose.append((number, line))
        if fence:
            self.blocks.append(Block("(not closed)", "\n".join(body), start))

    @property
    def headings(self) -> list[Heading]:
        found = ((number, _HEADING.match(line)) for number, line in self.prose)
        return [Heading(len(match[1]), match[2], number) for number, match in found if match]

    @property
    def anchors(self) -> set[str]:
        """What a link can point at in this file, as GitHub makes it of headings."""
        anchors: set[str] = set()
        for heading in self.headings:
            slug, again = slug_of(heading.title), 0
            while (anchor := f"{slug}-{again}" if again else slug) in anchors:
                again += 1
            anchors.add(anchor)
        return anchors | {match for _number, line in self.prose for match in _HTML_ANCHOR.findall(line)}

    @property
    def links(self) -> Iterator[tuple[int, str]]:
        """The targets of all links and pictures."""
        for number, line in self.prose:
            plain = _CODE.sub("", line)
            for pattern in (_INLINE_LINK, _DEFINED_LINK, _HTML_LINK):
                for target in pattern.findall(plain):
                    yield number, target

    @property
    def code(self) -> Iterator[tuple[int, str]]:
        """All that stands between backticks in the prose."""
        for number, line in self.prose:
            for _ticks, text in _CODE.findall(line):
                yield number, text

    def section(self, title: str) -> list[str]:
        """The prose below a heading, up to the next of its level or above."""
        heading = next(heading for heading in self.headings if heading.title == title)
        ends = [other.line for other in self.headings if other.line > heading.line and other.level <= heading.level]
        return [line for number, line in self.prose if heading.line < number < min(ends, default=len(self.lines) + 1)]

    def rows(self, title: str) -> list[list[str]]:
        """The rows of the tables in that section, without their heads."""
        rows = []
        lines = self.section(title)
        for at, line in enumerate(lines):
            follows_head = at + 1 < len(lines) and re.match(r"\|[\s:|-]+\|$", lines[at + 1])
            if line.startswith("|") and not follows_head and not re.match(r"\|[\s:|-]+\|$", line):
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        return rows

    @property
    def long_lines(self) -> list[int]:
        """Lines of prose and code that are too long; a row of a table cannot be broken."""
        return [at for at, line in enumerate(self.lines, 1) if len(line) > MAX_LENGTH and not line.startswith("|")]


def slug_of(title: str) -> str:
    """The anchor of a heading: letters, digits and hyphens of any script, spaces as hyphens."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
    kept = (char for char in plain if char in " -_" or unicodedata.category(char)[0] in "LNM")
    return "".join(kept).replace(" ", "-")


def broken_links(root: Path, documents: Mapping[Path, Document]) -> list[str]:
    """Relative links that lead nowhere: no such file in the repository, or no such heading in it."""
    broken = []
    known = {path.resolve(): document for path, document in documents.items()}
    for path, document in documents.items():
        for line, link in document.links:
            if re.match(r"[a-z][a-z+.-]*:", link):
                continue
            target, _hash, anchor = unquote(link).partition("#")
            place = (path.parent / target).resolve() if target else path.resolve()
            where = f"{path.relative_to(root)}:{line}: {link}"
            if place not in known and not (place.exists() and place.is_relative_to(root.resolve())):
                broken.append(f"{where}: there is no such file")
            elif anchor and anchor not in (known.get(place) or Document.at(place)).anchors:
                broken.append(f"{where}: there is no such heading")
    return broken
