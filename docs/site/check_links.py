# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows every link between the pages of a folder: `check_links.py FOLDER`. What is on the network is left alone."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value or "")
            elif name in ("href", "src") and value:
                self.links.add(value)


def broken_links(folder: Path) -> list[str]:
    """A line for each link of a page that leads to no file or place in the folder."""
    pages = {file.resolve(): Page(file.read_text(encoding="utf-8")) for file in folder.rglob("*.html")}
    broken = []
    for file, page in sorted(pages.items()):
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file() or unquote(parts.fragment) not in (
                pages[target].places if target in pages else [""]
            ):
                broken.append(f"{file.relative_to(folder.resolve())}: {link}")
    return broken


def main(folder: str) -> int:
    broken = broken_links(Path(folder))
    pages = len(list(Path(folder).rglob("*.html")))
    sys.stdout.write("".join(f"{line}\n" for line in broken))
    sys.stdout.write(f"{pages} pages, {len(broken)} broken links\n")
    return 1 if broken or not pages else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
