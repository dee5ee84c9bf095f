# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has shown of faults and races, as text: gathered from its reports, whichever process ran a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

NAME, RACES, FUZZ = "faults", "races", "fuzz"
"""The properties in which tests tell (operation, fault, steps, cases, failures), (race, *RACE_CELLS), (file, cases)."""
RACE_CELLS = ("orders", "calls", "changed", "unchanged", "refused")


def shown(properties: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """All that was shown; nothing where no such test ran."""
    found = list(properties)
    yield from fault_table(found)
    yield from race_table(found)
    yield from fuzz_table(found)


def race_table(properties: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A line for each race, and the sums."""
    rows = sorted(tuple(value) for name, value in properties if name == RACES)
    if not rows:
        return
    width = max(len(name) for name, *_cells in rows) + 2
    yield _line("race of eight", RACE_CELLS, width)
    for name, *cells in rows:
        yield _line(name, cells, width)
    yield _line(f"{len(rows)} races", [sum(column) for column in zip(*(cells for _name, *cells in rows))], width)


def fuzz_table(properties: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A line for each file of tests on made-up input, and the sum."""
    cases: dict[str, int] = {}
    for name, value in properties:
        if name == FUZZ:
            cases[value[0]] = cases.get(value[0], 0) + value[1]
    if cases:
        width = max(map(len, cases)) + 2
        yield _line("made-up input", ["cases"], width)
        yield from (_line(file, [cases[file]], width) for file in sorted(cases))
        yield _line("in all", [sum(cases.values())], width)


def fault_table(properties: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A line for each operation, and the sums; nothing where no such test ran."""
    rows = [tuple(value) for name, value in properties if name == NAME]
    faults = list(dict.fromkeys(fault for _operation, fault, *_rest in rows))
    operations = list(dict.fromkeys(operation for operation, *_rest in rows))
    if not rows:
        return
    cells = {(operation, fault): (steps, cases, failures) for operation, fault, steps, cases, failures in rows}
    width = max(map(len, operations)) + 2
    yield _line("operation", ["steps", *faults, "cases", "converged"], width)
    sums = [0] * (len(faults) + 3)
    for operation in sorted(operations):
        found = [cells.get((operation, fault), (0, 0, 0)) for fault in faults]
        counts = [cases for _steps, cases, _failures in found]
        converged = sum(counts) - sum(failures for _steps, _cases, failures in found)
        numbers = [max(steps for steps, _cases, _failures in found), *counts, sum(counts), converged]
        sums = [total + number for total, number in zip(sums, numbers)]
        yield _line(operation, numbers, width)
    yield _line(f"{len(operations)} operations", sums, width)


def _line(first: str, cells: Iterable[Any], width: int) -> str:
    return first.ljust(width) + "".join(str(cell).rjust(18) for cell in cells)
