# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program: runs the inventory plugin in Ansible over a site in memory, once for each source given.

On stdin, JSON: `vms` (arguments of Site.add), `down` (hosts), `folder` (where the sources lie, a temporary one by
default), `runs` (a list of sources' options; `file` and `text` instead name another file).
On stdout, JSON: for each run `hosts` (variables by name), `groups`, `trusted` (texts in which a template would be
evaluated), `warnings`, `error`, and `calls`, how many calls its hosts got.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
init_plugin_loader([])

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, Phase, Power  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import addresses  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.face import inventory as face  # noqa: E402
from support.listed_site import Site, says  # noqa: E402
from support.memory_host import MemoryHost  # noqa: E402

MAGIC = ("inventory_file", "inventory_dir", "inventory_hostname", "inventory_hostname_short", "group_names")


def trusted(text: str) -> bool:
    """Whether Ansible would take a template in it for one."""
    try:
        from ansible.template import is_trusted_as_template
    except ImportError:  # before ansible-core 2.19
        return not hasattr(text, "__UNSAFE__")
    return bool(is_trusted_as_template(text))


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def add(site: Site, vm: dict[str, Any]) -> None:
    told, hangs = vm.pop("agent", ()), vm.pop("hangs", False)
    vm["power"] = Power(vm.get("power", "running"))
    vm["labels"] = tuple(vm.get("labels", {}).items())
    vm["affinity_groups"] = tuple(vm.get("affinity_groups", ()))
    vm["mark"] = Mark(Phase(vm.pop("phase", "")))
    domain = site.add(**vm)
    says(domain, *told)
    domain.guest.agent = "hung" if hangs else "present"


def one(folder: Path, source: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    name = source.pop("file", "test.ablestack.yml")
    path = folder / name
    path.write_text(source.get("text") or yaml.safe_dump({"plugin": "ablestack.kvm.ablestack", **source}))
    try:
        inventory = InventoryManager(loader=DataLoader(), sources=[str(path)])
    except Exception as failure:  # noqa: BLE001 - told to the test
        return {"hosts": {}, "error": " ".join([*warnings, *said(failure)]), "warnings": []}
    hosts = {host.name: host.get_vars() for host in inventory.get_hosts()}
    for variables in hosts.values():
        for magic in (
            "inventory_file",
            "inventory_dir",
            "inventory_hostname",
            "inventory_hostname_short",
            "group_names",
        ):
            variables.pop(magic, None)
    return {
        "hosts": hosts,
        "groups": {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()},
        "trusted": sorted({text for variables in hosts.values() for text in texts(variables) if trusted(text)}),
        "warnings": warnings[:],
        "error": "",
    }


def said(failure: BaseException | None) -> Iterator[str]:
    """What an error and those behind it say."""
    while failure is not None:
        yield str(failure)
        failure = failure.__cause__ or failure.__context__


def main() -> None:
    asked = json.load(sys.stdin)
    site = Site()
    for vm in asked["vms"]:
        add(site, vm)
    site.world.down.update(asked.get("down", ()))
    calls: list[str] = []

    def open_hosts(read_only: bool) -> Any:
        controller = site.world.controller(check=read_only)
        first = site.world.catalog.hosts[0]  # also for sources that name another, or none

        def open_host(spec: Any) -> Any:
            calls.append(spec.name)
            host = controller.infrastructure._open(spec if spec.name in site.world.states else first)
            begin = host.begin

            def counted(name: str, *arguments: Any) -> Any:
                calls.append(name)
                return begin(name, *arguments)

            host.begin, host.spec = counted, spec
            return host

        return open_host

    face.open_hosts = open_hosts
    answer = MemoryHost.addresses

    def addresses_of(self: MemoryHost, vm: Any, sources: tuple[str, ...]) -> Any:
        if self.state.domains[vm.id].guest.agent == "hung":
            Event().wait(60)  # the program ends before
        return answer(self, vm, sources)

    MemoryHost.addresses = addresses_of
    if any(domain.guest.agent == "hung" for state in site.world.states.values() for domain in state.domains.values()):
        addresses.AGENT_SECONDS = 3.0
    warnings: list[str] = []
    Display.warning = lambda _self, text, *_more, **_others: warnings.append(str(text))
    Display.error_as_warning = lambda _self, msg, exception, **_others: warnings.extend(said(exception))
    answers = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.get("folder", temporary)
        entries = [{"name": spec.name, "uri": spec.uri, "zone": spec.zone} for spec in site.world.catalog.hosts]
        Path(folder, "catalog.yml").write_text(yaml.safe_dump({"hosts": entries}))
        for source in asked["runs"]:
            calls.clear()
            warnings.clear()
            answers.append({**one(Path(folder), source, warnings), "calls": len(calls)})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
