# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_network`'s own options, and the specification they come to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.model.errors import invalid
from ..core.model.network_spec import STATES, TYPES, NetworkSpec
from ..core.model.resources import DnsRecord, Reservation
from ..core.model.values import check_file_stem, check_mac
from .checks import (
    Check,
    address,
    distinct,
    filled,
    flag,
    known_keys,
    labels,
    many,
    mapping,
    no_repeats,
    number,
    one_of,
    text,
)

RESERVATION_OPTIONS: dict[str, dict[str, Any]] = {
    "mac": {"type": "str", "required": True},
    "ip": {"type": "str", "required": True},
    "name": {"type": "str"},
}
DNS_RECORD_OPTIONS: dict[str, dict[str, Any]] = {
    "ip": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "required": True},
}
NETWORK_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "present", "choices": [*STATES]},
    "type": {"type": "str", "choices": [*TYPES]},
    "cidr": {"type": "str"},
    "gateway": {"type": "str"},
    "dhcp_start": {"type": "str"},
    "dhcp_end": {"type": "str"},
    "ip6_cidr": {"type": "str"},
    "ip6_gateway": {"type": "str"},
    "dns_servers": {"type": "list", "elements": "str"},
    "dns_records": {"type": "list", "elements": "dict", "options": DNS_RECORD_OPTIONS},
    "domain": {"type": "str"},
    "vlan": {"type": "int"},
    "bridge": {"type": "str"},
    "mtu": {"type": "int"},
    "reservations": {"type": "list", "elements": "dict", "options": RESERVATION_OPTIONS},
    "autostart": {"type": "bool"},
    "labels": {"type": "dict"},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
}
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_LEAST_MTU = 68  # what every machine on the internet has to take (RFC 791), and the kernel's limit for bridges
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}\Z")  # the kernel's limit of 15 characters


def network_spec(options: Mapping[str, Any]) -> NetworkSpec:
    """The specification that an `ablestack_network` task describes; None counts as left out. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    return NetworkSpec(**{key: _CHECKS[key](value, key) for key, value in given.items()})


def _address(value: Any, what: str) -> str:
    """An address alone."""
    found = address(value, what)
    if not found or "/" in found:
        raise invalid(f"{what} '{value}' is not an IP address", "write the address alone, such as 10.10.10.5")
    return found


def _name(value: Any, _what: str) -> str:
    return check_file_stem(value, "network")


def _host_name(value: Any, what: str) -> str:
    """A name for the DNS, in lower case as names compare."""
    name = text(value, what).lower()
    if not _HOST_NAME.match(name) or len(name) > 253:
        raise invalid(f"{what} '{value}' is not a name for the DNS", "use letters, digits, '-' and '.'")
    return name


def _domain(value: Any, what: str) -> str:
    return _host_name(value, what) if text(value, what) else ""


def _bridge(value: Any, what: str) -> str:
    name = text(value, what)
    if name and not _INTERFACE.match(name):
        raise invalid(f"{what} '{value}' is no name of a network interface", "use 1 to 15 letters, digits, '-' and '_'")
    return name


def _mtu(value: Any, what: str) -> int:
    mtu: int = number(0, 65535)(value, what)
    if 0 < mtu < _LEAST_MTU:
        raise invalid(f"{what} is {mtu}", f"a bridge takes {_LEAST_MTU} and more; 0 leaves it to the host")
    return mtu


def _entry(value: Any, what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    entry = {key: item for key, item in mapping(value, what).items() if item is not None}
    known_keys(entry, (*required, *optional), what)
    for key in required:
        if not entry.get(key):
            raise invalid(f"{what} has no {key}", "give it with every entry")
    return entry


def _reservation(value: Any, what: str) -> Reservation:
    entry = _entry(value, what, ("mac", "ip"), ("name",))
    name = entry.get("name", "")
    mac = check_mac(text(entry["mac"], f"mac of {what}"))
    return Reservation(mac, _address(entry["ip"], f"ip of {what}"), _host_name(name, f"name of {what}") if name else "")


def _reservations(value: Any, what: str) -> tuple[Reservation, ...]:
    rows = many(_reservation)(value, what)
    no_repeats((row.mac for row in rows), "reservation's mac")
    no_repeats((row.ip for row in rows), "reservation's ip")
    no_repeats((row.name for row in rows if row.name), "reservation's name")
    return rows


def _dns_record(value: Any, what: str) -> DnsRecord:
    entry = _entry(value, what, ("ip", "names"))
    return DnsRecord(_address(entry["ip"], f"ip of {what}"), distinct(_host_name)(entry["names"], f"names of {what}"))


def _dns_records(value: Any, what: str) -> tuple[DnsRecord, ...]:
    rows = many(_dns_record)(value, what)
    no_repeats((row.ip for row in rows), "DNS record's ip")
    no_repeats((name for row in rows for name in row.names), "DNS record's name")
    return rows


_CHECKS: Mapping[str, Check] = {
    "name": _name,
    "state": one_of(STATES),
    "type": one_of(TYPES),
    "cidr": text,
    "gateway": text,
    "dhcp_start": text,
    "dhcp_end": text,
    "ip6_cidr": text,
    "ip6_gateway": text,
    "dns_servers": distinct(_address),
    "dns_records": _dns_records,
    "domain": _domain,
    "vlan": number(0, 4094),
    "bridge": _bridge,
    "mtu": _mtu,
    "reservations": _reservations,
    "autostart": flag,
    "labels": labels,
    "zone": filled,
    "hosts": distinct(filled),
}
