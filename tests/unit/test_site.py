"""The check of the built documentation's links finds what leads nowhere."""

from __future__ import annotations

import runpy
from pathlib import Path

CHECK = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "site" / "check_links.py"))


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h2 id="파기-복원">x</h2><a href="index.html#top">up</a>', encoding="utf-8")
    (tmp_path / "index.html").write_text(
        '<p id="top"><a href="there.html#%ED%8C%8C%EA%B8%B0-%EB%B3%B5%EC%9B%90">1</a><a href="#top">2</a>'
        '<a href="there.html#gone">3</a><a href="gone.html">4</a><img src="gone.png"><a href="https://a.example/">5</a>',
        encoding="utf-8",
    )
    expected = ["gone.html", "gone.png", "there.html#gone"]
    assert CHECK["broken_links"](tmp_path) == [f"index.html: {link}" for link in expected]


def test_a_folder_without_pages_is_no_success(tmp_path: Path) -> None:
    assert CHECK["main"](str(tmp_path)) == 1
