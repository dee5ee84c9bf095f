# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a catalog from plain data and says precisely what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Callable

from .catalog import (
    AFFINITY_TYPES,
    ALLOCATION_RULES,
    HOST_STATES,
    AffinityGroup,
    Catalog,
    ComputeOffering,
    DiskOffering,
    HostSpec,
    Settings,
    key_names,
)
from .errors import AblestackError, invalid
from .values import CENTURY, check_public_key, disk_bytes, memory_mib

_SECTIONS = ("hosts", "compute_offerings", "disk_offerings", "ssh_key_pairs", "affinity_groups", "settings")
Convert = Callable[[Any], Any]


def read_catalog(data: Any) -> Catalog:
    """The catalog in `data` (a dict as INTERFACE 1 shows), else InvalidInput naming key, place and nearest key."""
    top = _mapping(data, "the catalog")
    _known_keys(top, list(_SECTIONS), "the catalog")
    hosts = top.get("hosts")
    if not isinstance(hosts, (list, tuple)) or not hosts:
        raise invalid("the catalog names no hosts", "add at least one entry with name and uri under 'hosts'")
    specs = tuple(_host(entry, f"hosts[{index}]") for index, entry in enumerate(hosts))
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"host '{name}' is in the catalog more than once", "give every host a name of its own")
    _one_host_each_uri(specs)
    return Catalog(
        hosts=specs,
        compute_offerings=_section(top, "compute_offerings", _compute_offering),
        disk_offerings=_section(top, "disk_offerings", _disk_offering),
        ssh_key_pairs=_section(top, "ssh_key_pairs", lambda name, key, place: check_public_key(key, place)),
        affinity_groups=_section(top, "affinity_groups", _affinity_group),
        settings=_settings(_given(top, "settings")),
    )


def _one_host_each_uri(specs: tuple[HostSpec, ...]) -> None:
    """One host under two names would count twice: each VM would be there twice, and its room be given out twice."""
    named: dict[str, str] = {}
    for spec in specs:
        if spec.uri in named:
            raise invalid(
                f"hosts '{named[spec.uri]}' and '{spec.name}' of the catalog have the same uri '{spec.uri}'",
                "give every host its own uri, or remove one of the two",
            )
        named[spec.uri] = spec.name


def _host(data: Any, place: str) -> HostSpec:
    values = _entry(
        data,
        HostSpec,
        place,
        {
            "tags": _strings,
            "state": _one_of(HOST_STATES),
            "name": _text,
            "uri": _uri,
            "zone": _text,
            "pod": _text,
            "cluster": _text,
            "pool": _text,
            "template_pool": _text,
            "shared_pools": _strings,
            "virt_type": _one_of(("auto", "kvm", "qemu")),
            "cpu_mode": _text,
            "migration_uri": _uri,
        },
    )
    for key in ("name", "uri"):
        if not values.get(key):
            raise invalid(f"{place} of the catalog has no '{key}'", "every host needs a name and a libvirt uri")
    return HostSpec(**values)


def _compute_offering(name: str, data: Any, place: str) -> ComputeOffering:
    values = _entry(
        data,
        ComputeOffering,
        place,
        {
            "cpu": _count,
            "max_cpu": _count,
            "min_cpu": _count,
            "memory": memory_mib,
            "max_memory": memory_mib,
            "min_memory": memory_mib,
            "custom": _flag,
            "dynamic_scaling": _flag,
            "host_tags": _strings,
        },
    )
    offering = ComputeOffering(name=name, **values)
    if offering.custom and (offering.cpu or offering.memory):
        raise invalid(f"{place} is custom and has a fixed cpu or memory", "leave those out, or leave out custom")
    if not offering.custom and not (offering.cpu and offering.memory):
        raise invalid(f"{place} needs both cpu and memory", "add them, or 'custom: true' to let each VM say")
    _ordered(place, "cpu", offering.min_cpu, offering.cpu, offering.max_cpu)
    _ordered(place, "memory", offering.min_memory, offering.memory, offering.max_memory)
    return offering


def _disk_offering(name: str, data: Any, place: str) -> DiskOffering:
    values = _entry(
        data,
        DiskOffering,
        place,
        {
            "size": disk_bytes,
            "min_iops": _count,
            "max_iops": _count,
            "pool": _text,
            "provisioning": _one_of(("thin", "fat")),
            "custom": _flag,
        },
    )
    offering = DiskOffering(name=name, **values)
    if offering.custom == (offering.size is not None):
        raise invalid(f"{place} needs either a size or 'custom: true'", "write one of the two")
    _ordered(place, "iops", offering.min_iops, None, offering.max_iops)
    return offering


def _affinity_group(name: str, data: Any, place: str) -> AffinityGroup:
    values = _entry(data, AffinityGroup, place, {"type": _one_of(AFFINITY_TYPES)})
    if "type" not in values:
        raise invalid(f"{place} has no 'type'", f"use one of {', '.join(AFFINITY_TYPES)}")
    return AffinityGroup(name=name, **values)


def _settings(data: Any) -> Settings:
    values = _entry(
        data,
        Settings,
        "settings",
        {
            "cpu_overprovisioning": _positive,
            "memory_overprovisioning": _positive,
            "capacity_threshold": _positive,
            "allocation": _one_of(ALLOCATION_RULES),
            "expunge_delay": _seconds,
            "max_vm_snapshots": _count,
            "stop_timeout": _seconds,
            "max_data_disks": _count,
            "allow_unreachable": _flag,
        },
    )
    if values.get("capacity_threshold", 0) > 1:
        raise invalid("settings.capacity_threshold is above 1", "write a share between 0 and 1, such as 0.85")
    return Settings(**values)


def _section(top: Mapping[str, Any], key: str, read: Callable[[str, Any, str], Any]) -> dict[str, Any]:
    section = _mapping(_given(top, key), key)
    return {str(name): read(str(name), data, f"{key}.{name}") for name, data in section.items()}


def _given(top: Mapping[str, Any], key: str) -> Any:
    """A section's data; one that is None counts as left out."""
    return {} if top.get(key) is None else top[key]


def _entry(data: Any, kind: type, place: str, converters: Mapping[str, Convert]) -> dict[str, Any]:
    """The converted keys of one entry; a key that is None counts as left out."""
    entry = _mapping(data, place)
    _known_keys(entry, [key for key in key_names(kind) if key in converters], place)
    values = {}
    for key, value in entry.items():
        if value is None:
            continue
        try:
            values[key] = converters[key](value)
        except AblestackError as error:
            raise invalid(f"{place}.{key} of the catalog is wrong: {error.message}", error.hint) from error
    return values


def _mapping(data: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise invalid(
            f"{place} must be a mapping, not {type(data).__name__}", "write its keys and values as key: value"
        )
    return data


def _known_keys(data: Mapping[str, Any], valid: list[str], place: str) -> None:
    for key in data:
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0)
            raise invalid(f"unknown key '{key}' in {place}", f"did you mean '{near[0]}'? It may be: {', '.join(valid)}")


def _ordered(place: str, what: str, low: int | None, value: int | None, high: int | None) -> None:
    bounds = [bound for bound in (low, value, high) if bound is not None]
    if bounds != sorted(bounds):
        raise invalid(f"the {what} bounds of {place} are in the wrong order", "it must be minimum <= value <= maximum")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise invalid(f"'{value}' is not a text", "write one, in quotes where it looks like a number")
    return value


def _uri(value: Any) -> str:
    if "://" not in _text(value):
        raise invalid(f"'{value}' is not a libvirt URI", "write for example qemu+ssh://root@kvm01/system")
    return str(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "yes", "on", "false", "no", "off"):
        return value.lower() in ("true", "yes", "on")
    raise invalid(f"'{value}' is neither true nor false", "write one of the two")


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError(value)
        return float(value)
    except OverflowError:
        raise invalid(f"'{str(value)[:12]}…' is out of range", "write a smaller number") from None
    except (TypeError, ValueError):
        raise invalid(f"'{value}' is not a number", "write it in digits") from None


def _positive(value: Any) -> float:
    number = _number(value)
    if not 0 < number < float("inf"):
        raise invalid(f"'{value}' is out of range", "write a number greater than zero")
    return number


def _seconds(value: Any) -> int:
    number = _number(value)
    if not 0 <= number < float("inf") or number != int(number):
        raise invalid(f"'{value}' is no time", "write a whole number of seconds")
    if number > CENTURY:
        raise invalid(f"'{value}' is out of range", f"write at most {CENTURY} seconds, which are 100 years")
    return int(number)


def _count(value: Any) -> int:
    number = _number(value)
    if not 0 < number < float("inf") or number != int(number):
        raise invalid(f"'{value}' is out of range", "write a whole number greater than zero")
    return int(number)


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise invalid(f"'{value}' is not a list", "write its entries in a list: [...]")
    return tuple(_text(item) for item in value)


def _one_of(choices: tuple[str, ...]) -> Convert:
    def convert(value: Any) -> str:
        if value not in choices:
            raise invalid(f"'{value}' is not known", f"write one of {', '.join(choices)}")
        return str(value)

    return convert
