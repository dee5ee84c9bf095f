# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What planning a fleet that needs nothing costs beside listing it, on libvirt's test driver: no host and no network.

  ./dev shell python benchmarks/fleet/planning.py [COUNT ...] [--profile]      (default 100 300 1000)

Prints a Markdown table of processor milliseconds, the least of several runs: libvirt's own part of the listing, the
listing (what ablestack_vm_info does), and the task (what ablestack_vm_fleet does in check mode).
"""

from __future__ import annotations

import cProfile
import gc
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree as ET

HERE = Path(__file__).resolve().parent
sys.path[:0] = [os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")[0], str(HERE.parent / "inventory")]

import libvirt  # noqa: E402
from domains import config_of  # noqa: E402

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import (  # noqa: E402
    Infrastructure,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import VmFilter, list_vms  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import new_domain  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec  # noqa: E402

ROUNDS = 25
RUNSTATE = "{http://libvirt.org/schemas/domain/test/1.0}runstate"
Work = Callable[[], Any]


@contextmanager
def site(count: int, runs: bool) -> Iterator[dict[str, Any]]:
    """A catalog of one host of the test driver with so many VMs of ours, all running or all shut off."""
    node = ET.Element("node")
    for number in range(count):
        domain = ET.fromstring(new_domain(config_of(number)).text)
        domain.set("type", "test")
        ET.SubElement(domain, RUNSTATE).text = str(libvirt.VIR_DOMAIN_RUNNING if runs else libvirt.VIR_DOMAIN_SHUTOFF)
        node.append(domain)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "node.xml")
        ET.ElementTree(node).write(file)
        offerings = {"small": {"cpu": 1, "memory": 96}}
        yield {"hosts": [{"name": "h1", "uri": f"test://{file}"}], "compute_offerings": offerings}


def least(*works: Work) -> tuple[float, ...]:
    """Milliseconds of the processor, of each the least of ROUNDS; they take turns, for the machine has its moods."""
    spent: list[list[float]] = [[] for _work in works]
    for _round in range(ROUNDS):
        gc.collect()
        for work, its in zip(works, spent):
            began = time.process_time()
            work()
            its.append(time.process_time() - began)
    return tuple(min(its) * 1000 for its in spent)


def row(count: int, runs: bool, profile: bool) -> tuple[float, ...]:
    vms = [{"name": config_of(number).domain_name} for number in range(count)]
    defaults = {"compute_offering": "small", "template": "tiny", "networks": ["default"]}
    with site(count, runs) as catalog, Infrastructure(read_catalog(catalog), open_host, check=True) as infra:
        infra.host("h1")
        plain = libvirt.open(catalog["hosts"][0]["uri"])

        def raw() -> None:
            for domain, _stats in plain.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
                domain.XMLDesc(0)

        def listing() -> None:
            if len(list_vms(infra, VmFilter()).result["vms"]) != count:
                raise SystemExit("the listing is not complete")

        def task() -> None:
            if apply_fleet(
                infra, fleet_spec({"vms": vms, "defaults": defaults, "state": "started" if runs else "stopped"})
            ).changed:
                raise SystemExit("the fleet is not what the task says")

        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(task)
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
        return least(raw, listing, task)


def main() -> None:
    gc.disable()  # as it is in a module's process (face/runner.py)
    words = sys.argv[1:]
    counts = [int(word) for word in words if word.isdigit()] or [100, 300, 1000]
    print("| VMs | libvirt: ms | listing: ms | task: ms | task to listing | task to libvirt |")
    print("|---|--:|--:|--:|--:|--:|")
    for runs in (False, True):
        for count in counts:
            raw, listing, task = row(count, runs, "--profile" in words)
            name = f"{count}, {'running' if runs else 'off'}"
            print(f"| {name} | {raw:.0f} | {listing:.0f} | {task:.0f} | {task / listing:.2f} | {task / raw:.1f} |")


if __name__ == "__main__":
    main()
