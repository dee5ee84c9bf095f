# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a fleet, and how they become its specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.model.errors import invalid
from ..core.model.fleet_spec import FleetSpec
from ..core.model.vm_spec import STATES, VmSpec
from .checks import mapping, no_repeats
from .convert import vm_spec
from .vm_options import STATE_ALIASES

FLEET_OPTIONS: dict[str, dict[str, Any]] = {
    "vms": {"type": "list", "elements": "dict", "required": True},
    "defaults": {"type": "dict"},
    "state": {"type": "str", "choices": [*STATES, *STATE_ALIASES]},
    "group": {"type": "str"},
    "prune": {"type": "bool", "default": False},
    "parallel": {"type": "int"},
    "max_failures": {"type": "int"},
}

_REMOVAL = ("forced", "timeout", "force_after_timeout", "expunge_delay")  # of `defaults`, what pruning heeds


def fleet_spec(options: Mapping[str, Any]) -> FleetSpec:
    """The specification that an `ablestack_vm_fleet` task describes. Raises InvalidInput."""
    defaults = _given(options.get("defaults") or {})
    for key in ("name", "id"):
        if key in defaults:
            raise invalid(f"defaults has {key}, which no two VMs share", f"give {key} in each entry of vms")
    for key in ("state", "group"):
        value = options.get(key)
        if value is not None and defaults.setdefault(key, value) != value:
            raise invalid(f"{key} is given twice, as '{value}' and in defaults as '{defaults[key]}'", "give it once")
    group = options.get("group") or ""
    if options.get("prune") and not group:
        raise invalid("prune needs group", "name the group whose VMs are to be exactly those of vms")
    parallel, most = options.get("parallel"), options.get("max_failures")
    if parallel is not None and parallel < 1:
        raise invalid(f"parallel is {parallel}", "let at least one VM be worked on at a time")
    if most is not None and most < 0:
        raise invalid(f"max_failures is {most}", "write 0 to begin no further VM after the first failure")
    vms = _vms(options["vms"], defaults)
    removal = vm_spec({"name": "x", **{key: defaults[key] for key in _REMOVAL if key in defaults}}, "defaults")
    return FleetSpec(
        vms=vms,
        group=group,
        prune=bool(options.get("prune")),
        parallel=parallel or 0,
        max_failures=most,
        removal=replace(removal, name="", state="destroyed"),
    )


def _vms(entries: Any, defaults: Mapping[str, Any]) -> tuple[VmSpec, ...]:
    given = [_given(mapping(entry, f"vms[{at}]")) for at, entry in enumerate(entries)]
    vms = tuple(vm_spec({**defaults, **entry}, f"vms[{at}]") for at, entry in enumerate(given))
    no_repeats((vm.name.lower() for vm in vms if vm.name), "VM")
    no_repeats((vm.id for vm in vms if vm.id), "VM id")
    return vms


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """An option that is None counts as left out."""
    return {key: value for key, value in options.items() if value is not None}
