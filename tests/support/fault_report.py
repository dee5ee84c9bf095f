# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has shown of faults and races, as text: gathered from its reports, whichever process ran a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

NAME = "faults"
"""The property in which a test tells (operation, fault, steps, cases, failures)."""


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
