# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the inventory beside community.libvirt's, on the same domains of the lab, with the same ansible-core.

  ./dev bench inventory [--rounds 5] [--domains 500] [--agents 20] [--transport tls] [--print]

Writes its tables into benchmarks/inventory/README.md, or only prints them with --print. The lab it starts it ends. So
many guests as --agents says are started, and the guest agent of one is stopped, to see who waits for it; 0 leaves that
out, as it does for --domains. Nothing is installed but into an environment of the benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import libvirt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

import peers  # noqa: E402
from delay import far_away  # noqa: E402
from document import replace_part  # noqa: E402
from lab_tests.lab import Lab, command  # noqa: E402

RECORD = "https://ablestack.io/xmlns/kvm/1"
ROUND_TRIP = 0.001  # seconds to a host that is not in the next rack
LIMIT = 60  # seconds after which an inventory is given up
OURS = "ours, h1, the fields that theirs tells"
FAR = f", {1000 * ROUND_TRIP:.0f} ms away"
FEW = ["name", "state", "host", "cpu", "memory", "nics"]  # about what theirs tells beside the XML
MEASURE = """
import os, resource, sys, time
began = time.monotonic()
pid = os.fork()
if not pid:
    os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(sys.argv[1] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.execvp(sys.argv[2], sys.argv[2:])
_pid, status, used = os.wait4(pid, 0)
print(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Sample:
    """Seconds on the clock and of the processor, memory in MiB, length of the answer, hosts in it."""

    wall: float
    cpu: float
    memory: float
    size: int
    hosts: int


Samples = dict[str, Sample]
Choice = Callable[[list[float]], float]


class Bench:
    def __init__(self, lab: Lab, transport: str) -> None:
        self.lab, self.transport = lab, transport
        self.work = lab.folder / "benchmark"
        self.work.mkdir(exist_ok=True)
        self.bin = peers.programs()

    def uri(self, host: str) -> str:
        return {
            "unix": self.lab.uri(host),
            "tls": f"qemu+tls://{host}/system",
            "ssh": f"qemu+ssh://root@{host}/system",
        }[self.transport]

    def source(self, name: str, **options: object) -> Path:
        path = self.work / name
        path.write_text(json.dumps(options), encoding="utf-8")  # JSON is YAML
        return path

    def theirs(self, uri: str = "") -> Path:
        name = "theirs_far" if uri else "theirs"
        return self.source(f"{name}.libvirt.yml", plugin="community.libvirt.libvirt", uri=uri or self.uri("h1"))

    def ours(self, name: str, hosts: int = 1, uri: str = "", **options: object) -> Path:
        rows = [{"name": f"h{n}", "uri": uri or self.uri(f"h{n}")} for n in range(1, hosts + 1)]
        catalog = {"hosts": rows}
        return self.source(f"{name}.ablestack.yml", plugin="ablestack.kvm.ablestack", catalog=catalog, **options)

    def measure(self, source: Path, form: str = "--list") -> Sample | None:
        """One run where the lab's controller is; None when it did not end in time."""
        answer = self.work / "answer.json"
        env = {
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            # of the bare start-up, no plugin that anybody measures is loaded
            "ANSIBLE_INVENTORY_ENABLED": {
                "theirs": "community.libvirt.libvirt",
                "theirs_far": "community.libvirt.libvirt",
                "bare": "ini",
            }.get(source.name.partition(".")[0], "ablestack.kvm.ablestack"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
        words = ["ansible-inventory", "-i", str(source), form]
        program = [str(self.bin / "python"), "-c", MEASURE, str(answer), "timeout", str(LIMIT), *words]
        settings = [f"{name}={value}" for name, value in env.items()]
        done = self.lab.host("ctl", "env", *settings, *program, timeout=LIMIT + 60)
        wall, cpu, memory, code = (float(word) for word in done.stdout.split())
        if code == 124:
            return None
        text = answer.read_text(encoding="utf-8")
        if code:
            raise SystemExit(f"{' '.join(words)} failed:\n{Path(f'{answer}.err').read_text(encoding='utf-8')}")
        hosts = len(json.loads(text).get("_meta", {}).get("hostvars", {})) if form == "--list" else 0
        return Sample(wall, cpu, memory / 1024, len(text), hosts)

    def compare(self, cases: dict[str, tuple[Path, str]], rounds: int, choose: Choice = statistics.median) -> Samples:
        """The median of each case, or what is chosen; all take turns: whatever else the machine does hits all alike."""
        samples: dict[str, list[Sample]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, (source, form) in cases.items():
                sample = self.measure(source, form)
                if sample is None:
                    raise SystemExit(f"{name} did not end within {LIMIT} seconds")
                if number:  # the first warms caches
                    samples[name].append(sample)
        return {name: chosen(found, choose) for name, found in samples.items()}


def chosen(samples: list[Sample], choose: Choice) -> Sample:
    def of(field: str) -> float:
        return choose([getattr(sample, field) for sample in samples])

    return Sample(of("wall"), of("cpu"), of("memory"), int(of("size")), int(of("hosts")))


def define(lab: Lab, host: str, first: int, count: int) -> None:
    command(sys.executable, str(HERE / "domains.py"), lab.uri(host), str(first), str(count), timeout=600)


def table(results: dict[str, Sample], bare: str, reference: str) -> str:
    """Ratios are of the seconds over the bare start-up, to those of the reference."""
    base = results[bare]
    lines = [
        "| inventory | VMs | s | s over bare | ratio | CPU s over bare | ratio | memory MiB | answer KiB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    theirs = results[reference]
    for name, row in results.items():
        wall, cpu = row.wall - base.wall, row.cpu - base.cpu
        ratios = [f"{wall / (theirs.wall - base.wall):.2f}", f"{cpu / (theirs.cpu - base.cpu):.2f}"]
        over = [f"{wall:.2f}", ratios[0], f"{cpu:.2f}", ratios[1]] if name != bare else [""] * 4
        cells = [name, str(row.hosts or ""), f"{row.wall:.2f}", *over, f"{row.memory:.0f}", f"{row.size / 1024:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def listing(bench: Bench, domains: int, rounds: int) -> Iterator[str]:
    for host, first, count in (("h1", 0, domains), ("h2", domains, domains // 2), ("h3", 2 * domains, domains // 2)):
        define(bench.lab, host, first, count)
    bare, theirs = "bare start-up", "community.libvirt, h1"
    empty = bench.work / "bare.ini"
    empty.write_text("[nobody]\n", encoding="utf-8")
    every: dict[str, object] = {"states": []}
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(bench.work / "cache")}
    near = {
        theirs: (bench.theirs(), "--list"),
        "ours, h1": (bench.ours("all", **every), "--list"),
        "ours, h1, from its cache": (bench.ours("kept", **every, **cache), "--list"),
        OURS: (bench.ours("few", **every, hostvars=FEW), "--list"),
        "ours, h1, only what runs (the default)": (bench.ours("running"), "--list"),
        "ours, h1 to h3": (bench.ours("three", 3, **every), "--list"),
        "ours, h1 to h3, the fields that theirs tells": (bench.ours("few3", 3, **every, hostvars=FEW), "--list"),
        f"{theirs}, --graph": (bench.theirs(), "--graph"),
        "ours, h1, --graph": (bench.ours("all", **every), "--graph"),
    }
    with far_away(bench.lab.uri("h1"), bench.work / "far.sock", ROUND_TRIP) as uri:
        far = {
            f"{theirs}{FAR}": (bench.theirs(uri), "--list"),
            f"ours, h1{FAR}": (bench.ours("far", uri=uri, **every), "--list"),
            f"{OURS}{FAR}": (bench.ours("far_few", uri=uri, **every, hostvars=FEW), "--list"),
            f"{theirs}, --graph{FAR}": (bench.theirs(uri), "--graph"),
            f"ours, h1, --graph{FAR}": (bench.ours("far", uri=uri, **every), "--graph"),
        }
        found = bench.compare({bare: (empty, "--list"), **near, **far}, rounds)
    load = f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    yield f"{domains} domains on h1, {domains} on h2 and h3; {bench.transport}; medians of {rounds} rounds; {load}."
    yield table(found, bare, theirs)
    wall = {name: row.wall - found[bare].wall for name, row in found.items()}
    yield _limits(
        *(
            (f"{domains} domains of one host, {what}{where}: ours over bare start-up, to theirs", ours / peer, 1 / 3)
            for where in ("", FAR)
            for what, ours, peer in (
                ("all fields", wall[f"ours, h1{where}"], wall[f"{theirs}{where}"]),
                ("the fields that theirs tells", wall[f"{OURS}{where}"], wall[f"{theirs}{where}"]),
                ("--graph", wall[f"ours, h1, --graph{where}"], wall[f"{theirs}, --graph{where}"]),
            )
        )
    )


def growth(bench: Bench, domains: int, rounds: int) -> Iterator[str]:
    """Ours on half, all and twice as many domains of one host, in the least seconds of the processor: the clock has all
    that the machine does in it.
    """
    cases = {"bare start-up": (bench.work / "bare.ini", "--list"), "ours": (bench.ours("all", states=[]), "--list")}
    over: dict[int, float] = {}
    for count in (domains // 2, domains, 2 * domains):
        bench.lab.wipe("h1")
        define(bench.lab, "h1", 0, count)
        found = bench.compare(cases, rounds, min)
        over[count] = found["ours"].cpu - found["bare start-up"].cpu
    rows = [f"| {count} | {cpu:.2f} | {1000 * cpu / count:.2f} |" for count, cpu in over.items()]
    yield "\n".join(["| domains of one host | CPU s over bare | ms a domain |", "|--:|--:|--:|", *rows])
    small, middle, large = (over[count] for count in (domains // 2, domains, 2 * domains))
    steepness = (large - middle) / 2 / (middle - small)
    yield _limits((f"seconds for each domain from {domains} on, to those before", steepness, 1.25))


def _limits(*rows: tuple[str, float, float]) -> str:
    lines = [
        f"| {what} | {value:.2f} | at most {limit:.2f} | {'yes' if value <= limit else 'no'} |"
        for what, value, limit in rows
    ]
    return "\n".join(["| ratio | measured | limit | kept |", "|---|--:|---|---|", *lines])


@contextmanager
def guests(lab: Lab, count: int) -> Iterator[list[str]]:
    """So many running guests of ours with an agent that answers, on h1."""
    disks = lab.run / "h1" / "default"
    names = [f"agent{number:02}" for number in range(count)]
    with closing(lab.connect()) as connection:
        command("cp", str(lab.tiny), str(disks / "agents.qcow2"))
        for name in names:
            backing = ["-b", "/srv/default/agents.qcow2", "-F", "qcow2", f"/srv/default/{name}.qcow2"]
            lab.host("h1", "qemu-img", "create", "-q", "-f", "qcow2", *backing)
            text = command(str(ROOT / "tests/lab/tinyvm.sh"), name, f"/srv/default/{name}.qcow2").stdout
            domain = connection.defineXML(text)
            manage(domain)
            domain.create()
        for name in names:
            lab.wait_agent("h1", name, 600)
            lab.wait_address("h1", name, 600)
    yield names


def manage(domain: libvirt.virDomain) -> None:
    """Gives a domain our record: agents of others are not asked."""
    text = f"<vm xmlns='{RECORD}' version='1' name='{domain.name()}'/>"
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, "ablestack", RECORD, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def forget_limits(lab: Lab) -> None:
    """Ours bounds the time of every agent it asks, and libvirt keeps to that: theirs would be spared by it too."""
    with closing(lab.connect()) as connection:
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0)


def agents(bench: Bench, count: int) -> Iterator[str]:
    """One agent that hangs among many: what it costs each inventory."""
    running = {"address_sources": ["agent", "lease"], "hostvars": ["name"]}
    with guests(bench.lab, count) as names:
        source = bench.ours("agents", **running)
        theirs_well, well = bench.measure(bench.theirs()), bench.measure(source)
        forget_limits(bench.lab)
        stop = ["-c", "sleep 1; kill -STOP $(pidof qemu-ga)"]
        bench.lab.agent("h1", names[0], "guest-exec", path="/bin/sh", arg=stop)
        time.sleep(3)
        theirs_hung = bench.measure(bench.theirs())
        hung = bench.measure(source)
        text = (bench.work / "answer.json").read_text(encoding="utf-8")
    found = json.loads(text)["_meta"]["hostvars"]
    addressed = sum("ansible_host" in host for host in found.values())
    if not (well and hung):
        raise SystemExit("our inventory did not end in time")
    yield f"{count} running guests, the agent of one stopped by SIGSTOP:"
    lines = ["| inventory | all answer: s | one hangs: s |", "|---|--:|--:|"]
    for name, first, second in (("community.libvirt", theirs_well, theirs_hung), ("ours", well, hung)):
        cells = [f"{one.wall:.2f}" if one else f"not within {LIMIT}" for one in (first, second)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    yield "\n".join(lines)
    later = hung.wall - well.wall
    yield (
        f"With one that hangs, {addressed} of {len(found)} guests of ours have an address, and the listing ends"
        f" {later:.1f} s later (limit: 3; kept: {'yes' if later <= 3 else 'no'})."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--domains", type=int, default=500, help="on h1, and on h2 and h3 together; 0 leaves this out")
    parser.add_argument("--agents", type=int, default=20, help="running guests, one with an agent that hangs")
    parser.add_argument("--print", action="store_true", help="write no document")
    parser.add_argument("--transport", choices=("unix", "tls", "ssh"), default="tls")
    asked = parser.parse_args()
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # it would print every error it raises
    lab = Lab()
    was_up = bool(lab.hosts)
    lab.up(3)
    try:
        bench = Bench(lab, asked.transport)
        lab.wipe()
        parts: list[str] = []
        if asked.domains:
            parts += listing(bench, asked.domains, asked.rounds)
            parts += growth(bench, asked.domains, asked.rounds)
            lab.wipe()
        if asked.agents:
            parts += agents(bench, asked.agents)
        text = "\n\n".join(parts)
        print(text)
        if not asked.print:
            replace_part(HERE / "README.md", "inventory", text)
    finally:
        if was_up:
            lab.wipe()
        else:
            lab.script("down", "--purge")


if __name__ == "__main__":
    main()
