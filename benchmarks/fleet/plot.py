# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws what was measured: a panel for each deed, a bar for each tool, as an SVG that suits light and dark pages."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from cases import FAR_FLEET, FLEET
from results import EMPTY, Results

PANELS = (("deploy", "deploy and start"), ("again", "the same task again"), ("stop", "stop"), ("remove", "remove"))
_WIDTH, _LABELS, _BAR, _GAP, _HEAD = 760, 260, 16, 6, 34
_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .head { font-weight: 600; }
    .value { font-size: 12px; fill: #57606a; }
    .name { text-anchor: end; }
    .peer { fill: #afb8c1; }
    .ours { fill: #0969da; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .value { fill: #9198a1; }
      .peer { fill: #484f58; }
      .ours { fill: #58a6ff; }
    }
"""


def plot(found: Results, count: int) -> str:
    """The whole picture, for that number of VMs; every panel has a scale of its own."""
    panels = [(title, _bars(found, count, deed)) for deed, title in PANELS]
    panels = [(title, bars) for title, bars in panels if bars]
    height = sum(_HEAD + len(bars) * (_BAR + _GAP) for _title, bars in panels) + _GAP
    words = f"Seconds that each tool takes for {count} VMs"
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}", role="img")
    root.set("aria-labelledby", "title")
    ET.SubElement(root, "title", id="title").text = words
    ET.SubElement(root, "style").text = _STYLE
    top = 0
    for title, bars in panels:
        _text(root, 8, top + 22, f"{count} VMs: {title}, seconds", "head")
        top += _HEAD
        longest = max(seconds for _name, seconds in bars)
        for name, seconds in bars:
            width = max((_WIDTH - _LABELS - 70) * seconds / longest, 1)
            kind = "ours" if name.startswith("ablestack") else "peer"
            _text(root, _LABELS - 8, top + 13, name, "name")
            ET.SubElement(root, "rect", x=str(_LABELS), y=str(top), width=f"{width:.1f}", height=str(_BAR)).set(
                "class", kind
            )
            _text(root, _LABELS + width + 6, top + 13, f"{seconds:.1f}", "value")
            top += _BAR + _GAP
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _bars(found: Results, count: int, deed: str) -> list[tuple[str, float]]:
    """Quickest first; again is shown beside what any task costs."""
    named = [(tool, found.median(count, tool, deed)) for tool in found.tools(count)]
    if deed == "again":
        named.append((EMPTY, found.median(count, EMPTY, "")))
    bars = [(name, seconds) for name, seconds in named if seconds is not None]
    return sorted(bars, key=lambda bar: bar[1]) if {FLEET, FAR_FLEET} & {name for name, _seconds in bars} else []


def _text(root: ET.Element, x: float, y: float, words: str, kind: str) -> None:
    ET.SubElement(root, "text", {"x": f"{x:.1f}", "y": str(y), "class": kind}).text = words
