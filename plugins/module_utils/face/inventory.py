# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory source: its options, what they list, and the variables of each VM. No libvirt until hosts are asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ..core.model.catalog import HostSpec
from ..core.model.errors import invalid
from ..core.model.outcome import Outcome
from ..core.model.vm import Power, VmConfig, VmFacts
from ..core.model.vm_view import vm_view
from ..core.usecase.infrastructure import Infrastructure
from ..core.usecase.inventory import ADDRESS_SOURCES, FILTERS, Selection, list_inventory, texts_of
from .checks import known_keys, mapping
from .connection import EXCLUSIVE, catalog_of, open_hosts

PREFIX = "ablestack_"
GUEST_AGENT = "ablestack.kvm.ablestack_guest_agent"
_NEEDED_BY_AGENT = ("id", "uri")
_FORMAT = 2  # of what is cached


class Source:
    """One inventory source. `options` are those of the plugin, `folder` is where its file lies.

    InvalidInput for options that cannot be right.
    """

    def __init__(self, options: Mapping[str, Any], folder: str, environment: Mapping[str, str]) -> None:
        options = _plain(options)
        given = [name for name in EXCLUSIVE[0] if options.get(name)]
        if len(given) > 1:
            raise invalid(f"{' and '.join(given)} exclude each other", "give one of them")
        if options.get("catalog_file"):
            path = os.path.expanduser(os.path.expandvars(options["catalog_file"]))
            options["catalog_file"] = os.path.join(folder, path)
        self.catalog = catalog_of(options, environment)
        self.selection = _selection(options)
        self.by_agent = options.get("connection") == "guest_agent"
        self.fields = _fields(options.get("hostvars"), self.by_agent)

    @property
    def asked(self) -> str:
        """What the answer depends on: a cached one for anything else is of no use."""
        return repr((_FORMAT, self.catalog.hosts, self.selection))

    def read(self) -> Outcome:
        """Result: `vms` (each with its `address`) and `left_out`, as usecase.inventory has them."""
        reads_only = "agent" not in self.selection.sources  # libvirt lets only writers talk to agents
        with Infrastructure(self.catalog, open_hosts(reads_only), check=reads_only) as infrastructure:
            return list_inventory(infrastructure, self.selection)

    def all_variables(self, vm: Mapping[str, Any]) -> dict[str, Any]:
        """Everything known of a VM, for templates: `ansible_host`, how to connect, and its fields."""
        variables = {PREFIX + name: value for name, value in vm.items() if name != "address"}
        if vm["address"]:
            variables["ansible_host"] = vm["address"]
        if self.by_agent:
            variables["ansible_connection"] = GUEST_AGENT
        return variables

    def host_variables(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Those of them that the host gets."""
        return {
            name: value
            for name, value in variables.items()
            if not name.startswith(PREFIX) or name[len(PREFIX) :] in self.fields
        }


def host_names(wanted: list[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[str]]:
    """A name for every VM, and warnings: of those that want one and the same, a destroyed or unmanaged one yields.

    `wanted` has each VM's first choice, and the VM.
    """
    order = sorted(
        range(len(wanted)),
        key=lambda at: (not wanted[at][1]["managed"], wanted[at][1]["state"] in ("Destroyed", "Expunging"), at),
    )
    names, taken, warnings = [""] * len(wanted), set(), []
    for at in order:
        name, vm = wanted[at]
        if name in taken:
            short = f"{name}_{vm['id'][:8]}"
            unique = f"{name}_{vm['id']}" if short in taken else short
            warnings.append(
                f"there is more than one VM '{name}': the one with id {vm['id']} on host '{vm['host']}' is listed as"
                f" '{unique}'"
            )
            name = unique
        taken.add(name)
        names[at] = name
    return names, warnings


def vm_fields() -> tuple[str, ...]:
    """The names of all fields of a VM."""
    config = VmConfig(id="", domain_name="", record=None, cpu=0, memory=0, max_cpu=0, max_memory=0)
    return tuple(vm_view(VmFacts(HostSpec("", ""), Power.OFF, config)))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without the marks that Ansible's loader puts on texts; dates become the texts they were."""

    def text_of_date(value: Any) -> str:
        if isinstance(value, date):
            return value.isoformat()
        raise TypeError

    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options), default=text_of_date))
    except (TypeError, ValueError):
        raise invalid("the options are not plain data", "encrypted values and the like have no place here") from None
    return plain


def _selection(options: Mapping[str, Any]) -> Selection:
    filters = dict(mapping(options.get("filters") or {}, "filters"))
    known_keys(filters, FILTERS, "filters")
    labels = mapping(filters.pop("labels", None) or {}, "filters.labels")
    sources = options.get("address_sources")
    return Selection(
        states=tuple(options.get("states") or ()),
        unmanaged=bool(options.get("include_unmanaged")),
        sources=tuple(dict.fromkeys(ADDRESS_SOURCES if sources is None else sources)),
        fields={name: _values(value, f"filters.{name}") for name, value in filters.items()},
        labels={str(name): _values(value, f"filters.labels.{name}") for name, value in labels.items()},
    )


def _values(value: Any, what: str) -> tuple[str, ...]:
    """The values that a filter lets pass; one stands for a list of one."""
    if isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, (list, dict)) for one in value)):
        raise invalid(f"{what} is neither a value nor a list of values", "write one value, or [one, another]")
    return tuple(sorted(texts_of(value)))


def _fields(allowed: Iterable[str] | None, by_agent: bool) -> frozenset[str]:
    known = vm_fields()
    if allowed is None:
        return frozenset(known)
    names = [name[len(PREFIX) :] if name.startswith(PREFIX) else name for name in allowed]
    known_keys(dict.fromkeys(names), known, "hostvars")
    return frozenset(names) | frozenset(_NEEDED_BY_AGENT if by_agent else ())
