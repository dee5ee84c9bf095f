# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what fleets cost: our modules, libvirt's own tools, virt-install and community.libvirt, on one lab host.

  ./dev bench fleet [--counts 10 30] [--rounds 3] [--minutes 20] [--only WORD ...]
                                             [--into FOLDER [--more]]

Writes the tables, the ratios and the picture into the documents (docs/design/speed.md, docs/images/fleet.svg); with
--into they go to FOLDER instead, with the samples, as fleet.md, fleet.svg and fleet.json, and with --more, FOLDER's
samples are added to. Every tool is measured once; further rounds are left out when the minutes are over. --only
measures the tools whose names have one of the words. The lab it starts it ends. Nothing is installed but into an
environment of the benchmarks' own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs" / "design" / "speed.md"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks"), str(HERE)]

from cases import DEPLOY, Bench, Deed, Tool, finish, tools  # noqa: E402
from document import replace_part  # noqa: E402
from lab_tests.lab import Lab  # noqa: E402
from plot import plot  # noqa: E402
from results import BARE, EMPTY, Results, report  # noqa: E402


def seconds(deed: Deed) -> float:
    began = time.monotonic()
    deed()
    return time.monotonic() - began


def measure(bench: Bench, tool: Tool, count: int, found: Results) -> None:
    """One life of so many VMs; a tool that did not do its work ends the benchmark."""
    expected = {"deploy": (count, count), "again": (count, count), "stop": (count, 0), "remove": (0, 0)}
    for deed, run in tool.deeds(count).items():
        found.add(count, tool.name, deed, seconds(run))
        if bench.there() != expected[deed]:
            raise SystemExit(f"{tool.name}, {deed}: defined and running are {bench.there()}, not {expected[deed]}")
    bench.clean()


def compare(bench: Bench, chosen: list[Tool], count: int, number: int, found: Results, kept: Path) -> None:
    """All take turns, so that whatever else the machine does hits all alike; what is measured is saved at once."""
    found.add(count, BARE, "", seconds(lambda: bench.play([])))
    found.add(count, EMPTY, "", seconds(lambda: bench.play([{"nothing": {}}])))
    for tool in chosen:
        if not (tool.slow and number):
            print(f"{count} VMs, round {number + 1}: {tool.name}", file=sys.stderr, flush=True)
            measure(bench, tool, count, found)
            found.save(kept)


def count_costs(bench: Bench, count: int, found: Results) -> None:
    """Round trips and memory of one fleet task."""
    options = {"catalog": bench.catalog, **bench.fleet_options(count, **DEPLOY)}
    name = "1 VM" if count == 1 else f"{count} VMs"
    for deed in ("deploy", "again"):
        words = [sys.executable, str(HERE / "counted.py")]
        done = subprocess.run(words, input=json.dumps(options), capture_output=True, text=True, check=False)
        finish(done)
        found.costs[f"{name}, {deed}"] = json.loads(done.stdout)
    bench.clean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--into", type=Path)
    parser.add_argument("--more", action="store_true")
    asked = parser.parse_args()
    over = time.monotonic() + asked.minutes * 60
    loads = [os.getloadavg()[0]]
    kept = (asked.into or Path(tempfile.gettempdir())) / "fleet.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found = Results.load(kept) if asked.more and kept.exists() else Results()
    lab = Lab()
    was_up = bool(lab.hosts)
    lab.up(1)
    try:
        bench = Bench(lab)
        bench.prepare()
        chosen = [tool for tool in tools(bench) if any(word in tool.name for word in asked.only)]
        for number in range(asked.rounds):
            for count in asked.counts:
                if not number or time.monotonic() < over:
                    compare(bench, chosen, count, number, found, kept)
                    loads.append(os.getloadavg()[0])
        for count in [1, *asked.counts]:
            count_costs(bench, count, found)
        found.conditions = f"{os.cpu_count()} processors; load of the machine {min(loads):.1f} to {max(loads):.1f}"
        found.save(kept)
    finally:
        if was_up:
            lab.wipe("h1")
        else:
            lab.script("down", "--purge")
    text, picture = report(found), plot(found, max(found.counts()))
    print(text)
    if asked.into:
        (asked.into / "fleet.md").write_text(text, encoding="utf-8")
        (asked.into / "fleet.svg").write_text(picture, encoding="utf-8")
        return
    replace_part(DOCUMENT, "fleet", text)
    (ROOT / "docs" / "images" / "fleet.svg").write_text(picture, encoding="utf-8")
    planned = subprocess.run([sys.executable, str(HERE / "planning.py")], capture_output=True, text=True, check=True)
    print(planned.stdout)
    replace_part(DOCUMENT, "planning", planned.stdout)


if __name__ == "__main__":
    main()
