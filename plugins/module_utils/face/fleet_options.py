# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a fleet, and how they become its specification."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Callable

from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_int,
    check_type_list,
    check_type_str,
)

from ..core.model.errors import invalid
from ..core.model.fleet_spec import FleetSpec
from ..core.model.vm_spec import STATES, VmSpec
from .checks import mapping, no_repeats
from .convert import Checked, vm_spec
from .vm_options import STATE_ALIASES, VM_OPTIONS

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
    checked: Checked = {}
    vms = tuple(vm_spec({**defaults, **entry}, f"vms[{at}]", checked) for at, entry in enumerate(given))
    no_repeats((vm.name.lower() for vm in vms if vm.name), "VM")
    no_repeats((vm.id for vm in vms if vm.id), "VM id")
    return vms


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a VM, each in the type in which `ablestack_vm` gets it; one that is None counts as left out."""
    return _read_all({key: value for key, value in options.items() if value is not None}, VM_OPTIONS)


def _read_all(values: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: _read(value, options.get(key, {})) for key, value in values.items()}


def _read(value: Any, option: Mapping[str, Any]) -> Any:
    """As Ansible converts it; what it cannot convert stays as it is, for the checks: their errors show no secret."""
    kind = option.get("type")
    plain = _PLAIN.get(str(kind))
    if plain and isinstance(value, plain) and not (plain is int and isinstance(value, bool)):
        return value
    # other data as a text would be Python's spelling of it
    if kind in _CONVERSIONS and not (kind == "str" and isinstance(value, (list, tuple, Mapping))):
        with suppress(TypeError, ValueError, OverflowError):
            value = _CONVERSIONS[kind](value)
    if kind == "list" and isinstance(value, list):
        entry = {"type": option["elements"], "options": option.get("options", {})}
        return [_read(item, entry) for item in value]
    return _read_all(value, option["options"]) if isinstance(value, Mapping) and option.get("options") else value


_PLAIN: Mapping[str, type] = {"bool": bool, "int": int, "str": str}
"""What needs no conversion: almost all there is."""
_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "bool": check_type_bool,
    "dict": check_type_dict,
    "int": check_type_int,
    "list": check_type_list,
    "str": check_type_str,
}
