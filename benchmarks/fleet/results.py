# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, and what is made of it: medians, a Markdown table, the ratios that count."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases import DEEDS, FAR_FLEET, FLEET, SHELL_FOUR, SHELL_OURS, THEIRS

BARE, EMPTY = "bare start-up", "a module that does nothing"


@dataclass
class Results:
    """Seconds by number of VMs, tool and deed, in the order measured; `costs` are counts of one fleet task.

    `conditions` is a sentence of the machine that they were measured on.
    """

    seconds: dict[tuple[int, str, str], list[float]] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    conditions: str = ""

    def add(self, count: int, tool: str, deed: str, seconds: float) -> None:
        self.seconds.setdefault((count, tool, deed), []).append(seconds)

    def median(self, count: int, tool: str, deed: str) -> float | None:
        found = self.seconds.get((count, tool, deed))
        return statistics.median(found) if found else None

    def counts(self) -> list[int]:
        return sorted({count for count, _tool, _deed in self.seconds})

    def tools(self, count: int) -> list[str]:
        return list(dict.fromkeys(tool for number, tool, _deed in self.seconds if number == count))

    def save(self, path: Path) -> None:
        rows = [[*key, values] for key, values in self.seconds.items()]
        data = {"seconds": rows, "costs": self.costs, "conditions": self.conditions}
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        seconds = {(count, tool, deed): values for count, tool, deed, values in data["seconds"]}
        return cls(seconds, data["costs"], data["conditions"])


@dataclass(frozen=True)
class Ratio:
    """One that has a limit; `value` is None where something it needs was not measured."""

    what: str
    value: float | None
    limit: float
    at_least: bool = False

    @property
    def line(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.2f}"
        limit = f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        kept = "" if self.value is None else "yes" if (self.value >= self.limit) is self.at_least else "no"
        return f"| {self.what} | {value} | {limit} | {kept} |"


def ratios(found: Results, count: int) -> list[Ratio]:
    """Of that number of VMs; a playbook's own start-up is taken off where a shell is compared with one."""

    def of(tool: str, deed: str) -> float | None:
        return found.median(count, tool, deed)

    bare, fleet, again = of(BARE, ""), of(FLEET, "deploy"), of(FLEET, "again")
    net = fleet - bare if fleet is not None and bare is not None else None
    rows = [
        Ratio(
            f"{count} VMs deployed: fleet less bare start-up, to {SHELL_FOUR}",
            over(net, of(SHELL_FOUR, "deploy")),
            1.15,
        ),
        Ratio(f"{count} VMs deployed: the same, to {SHELL_OURS}", over(net, of(SHELL_OURS, "deploy")), 1.15),
        Ratio(f"{count} VMs deployed: {THEIRS}, to fleet", over(of(THEIRS, "deploy"), fleet), 6, True),
        Ratio(f"{count} VMs again: fleet, to {EMPTY}", over(again, of(EMPTY, "")), 1.5),
        Ratio(f"{count} VMs again: {THEIRS}, to fleet", over(of(THEIRS, "again"), again), 20, True),
        Ratio(f"{count} VMs deployed: fleet 20 ms away, to fleet", over(of(FAR_FLEET, "deploy"), fleet), 2),
        Ratio(f"{count} VMs again: fleet 20 ms away, to fleet", over(of(FAR_FLEET, "again"), again), 2),
    ]
    one, all_of_them = found.costs.get("1 VM, deploy"), found.costs.get(f"{count} VMs, deploy")
    if one and all_of_them and count > 1:
        grown = (all_of_them["kib"] - one["kib"]) / 1024 / (count - 1)
        rows.append(Ratio(f"{count} VMs deployed: memory for each VM, MiB", grown, 0.3))
    return rows


def over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def report(found: Results) -> str:
    """The whole in Markdown."""
    return "\n\n".join(_sections(found)) + "\n"


def _sections(found: Results) -> Iterable[str]:
    rounds = [len(values) for values in found.seconds.values()]
    if rounds:
        yield f"Medians of at most {max(rounds)} rounds, of slow tools one. {found.conditions}".strip() + "."
    for count in found.counts():
        rows = [
            [tool, *(_cell(found.median(count, tool, deed)) for deed in DEEDS)]
            for tool in found.tools(count)
            if tool not in (BARE, EMPTY)
        ]
        yield f"Seconds for {count} VMs:"
        yield _table(["", *DEEDS], rows)
        starts = [f"{tool} {_cell(found.median(count, tool, ''))} s" for tool in (BARE, EMPTY)]
        yield f"A playbook: {', '.join(starts)}."
    if found.costs:
        yield "Calls of libvirt that a host answers, and memory of the process, for one fleet task:"
        rows = [[name, f"{cost['trips']:g}", f"{cost['kib'] / 1024:.1f}"] for name, cost in found.costs.items()]
        yield _table(["", "calls", "MiB"], rows)
    lines = [row.line for row in ratios(found, max(found.counts(), default=0))]  # the limits are for a fleet
    yield "\n".join(["| ratio | measured | limit | kept |", "|---|--:|---|---|", *lines])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
