# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory lists: the VMs that a selection wants, each once, with the address to reach it at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..hypervisor.port import SOURCES
from ..model.catalog import Catalog
from ..model.errors import AblestackError, Code
from ..model.outcome import Outcome
from ..model.vm import VmFacts
from ..model.vm_view import main_address, vm_view
from .infrastructure import Infrastructure
from .query import VmFilter, find_vms

ADDRESS_SOURCES = (*SOURCES, "arp")
"""All there are, in the order in which they are asked unless the user says otherwise."""
PLACES = {"zone": "zone", "pod": "pod", "cluster": "cluster", "host": "name"}
"""Filters that hosts already decide, and the catalog's name of each."""
FILTERS = (
    *PLACES,
    *("name", "display_name", "id", "group", "labels", "template", "iso", "compute_offering", "affinity_groups"),
    *("networks", "ssh_key_pairs", "boot_type", "boot_mode", "tpm", "protected", "autostart", "managed"),
    *("state", "uri", "cpu", "memory", "dynamic_scaling", "snapshots", "created", "destroyed_at", "expunge_at"),
)


@dataclass(frozen=True)
class Selection:
    """Which VMs are wanted. `fields` maps filters to the values they may have, any of which will do."""

    states: tuple[str, ...] = ("Running",)
    unmanaged: bool = False
    sources: tuple[str, ...] = ADDRESS_SOURCES
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def hosts(self, catalog: Catalog) -> tuple[str, ...]:
        """The names of the hosts to ask; NotFound where the catalog has none."""
        places = {what: self.fields[what] for what in PLACES if what in self.fields}
        hosts = [
            spec.name
            for spec in catalog.hosts
            if all(getattr(spec, PLACES[what]) in values for what, values in places.items())
        ]
        if not hosts:
            asked = " and ".join(f"{what} {', '.join(values)}" for what, values in places.items())
            raise AblestackError(Code.NOT_FOUND, f"no host of the catalog has {asked}", "correct the filters")
        return tuple(hosts)

    def accepts(self, vm: VmFacts) -> bool:
        """Whether the filters want a VM that was read; its addresses play no part."""
        if not (self.fields or self.labels):
            return True
        view = vm_view(vm)
        view["networks"] = [nic["network"] for nic in view["nics"]]
        if any(text_of(view["labels"].get(label)) not in values for label, values in self.labels.items()):
            return False
        decided = (*PLACES, "name", "id")  # by hosts, and by the listing
        rest = {what: values for what, values in self.fields.items() if what not in decided}
        return all(not texts_of(view[what]).isdisjoint(values) for what, values in rest.items())


def list_inventory(infra: Infrastructure, wanted: Selection) -> Outcome:
    """Result: `vms` as vm_view has them, by name, each with `address` (empty where none is known), and `left_out`.

    `left_out` are those of the warnings that mean that VMs are missing.
    """
    narrowed = VmFilter(
        names=wanted.fields.get("name", ()),
        ids=tuple(vm_id.lower() for vm_id in wanted.fields.get("id", ())),
        states=wanted.states,
        hosts=wanted.hosts(infra.catalog),
        unmanaged=wanted.unmanaged,
    )
    found = find_vms(infra, narrowed, wanted.sources, wanted.accepts)
    vms = [{**vm, "address": _address(vm, wanted.sources)} for vm in _each_once(found.vms)]
    result = {"vms": vms, "left_out": found.left_out}
    return Outcome(result=result, warnings=(*found.slow, *found.left_out))


def _each_once(vms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A VM that two hosts know (it migrates, or did), or one host under two names: where it runs, else the first."""
    chosen: dict[str, dict[str, Any]] = {}
    for vm in vms:
        known = chosen.setdefault(vm["id"], vm)
        if known is not vm and vm["state"] == "Running" and known["state"] != "Running":
            chosen[vm["id"]] = vm
    return [vm for vm in vms if chosen[vm["id"]] is vm]


def _address(vm: Mapping[str, Any], sources: tuple[str, ...]) -> str:
    """Of the default NIC, else of the first that has one; of a VM that is off, the one that is reserved for it."""
    for nic in vm["nics"]:
        if nic["ip_addresses"]:
            return main_address(tuple(nic["ip_addresses"]))
    return str(vm["ip_address"]) if "reservation" in sources else ""


def text_of(value: Any) -> str:
    """A value as filters compare it: true and false as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def texts_of(value: Any) -> set[str]:
    """All values of a field: those of a list, or the one."""
    return {text_of(item) for item in value} if isinstance(value, (list, tuple)) else {text_of(value)}
