# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small values every layer shares: the two sentinels, sizes with units, names, addresses, times."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union

from .errors import invalid

T = TypeVar("T")


class _Unset(Enum):
    """The type of UNSET, so that type checkers can tell it from every other value."""

    UNSET = "unset"

    def __bool__(self) -> Literal[False]:
        return False


UNSET = _Unset.UNSET
"""An option the user left out: it is not managed."""
Maybe = Union[T, _Unset]

UNKNOWN = "(known after it is done)"
"""Stands in predicted facts for what only the real run can know: generated ids, addresses, times."""

MIB = 1024**2
GIB = 1024**3
CENTURY = 100 * 365 * 86400
"""The seconds of the longest time that may be asked for."""
_UNITS = {
    "b": 1,
    "k": 1024, "kib": 1024, "kb": 1000,
    "m": MIB, "mib": MIB, "mb": 1000**2,
    "g": GIB, "gib": GIB, "gb": 1000**3,
    "t": 1024**4, "tib": 1024**4, "tb": 1000**4,
}  # fmt: skip
_SIZE = re.compile(r"^\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-zA-Z]*)\s*\Z", re.ASCII)
_LABEL = re.compile(r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z", re.IGNORECASE | re.ASCII)
_FILE_STEM = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?\Z")
_UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE | re.ASCII)
_MAC = re.compile(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}\Z", re.IGNORECASE | re.ASCII)
_PUBLIC_KEY = re.compile(r"(^|\s)(sk-)?(ssh|ecdsa)-\S+\s+\S")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def _size(value: Any, plain_unit: int, what: str, example: str) -> int:
    """Bytes of `value`: a plain number counts `plain_unit`, a unit in the text wins."""
    match = _SIZE.match(str(value)) if not isinstance(value, bool) else None
    suffix = match.group(2).lower() if match else "?"
    unit = plain_unit if suffix == "" else _UNITS.get(suffix)
    if match is None or unit is None:
        raise invalid(f"{what} '{value}' is not a size", f"write a number or a number with a unit, such as {example}")
    size = int(float(match.group(1)) * unit)
    if size <= 0:
        raise invalid(f"{what} '{value}' is nothing", "write a size greater than zero")
    if size >= 2**63:
        raise invalid(f"{what} '{value}' is more than any disk or machine holds", "write a smaller size")
    return size


def memory_mib(value: Any, what: str = "memory") -> int:
    """Memory in MiB from a plain number (MiB) or text with a unit ("4GiB")."""
    size = _size(value, MIB, what, '2048 or "2GiB"')
    if size % MIB:
        raise invalid(f"{what} '{value}' is not a whole number of MiB", f"write for example {-(-size // MIB)}MiB")
    return size // MIB


def disk_bytes(value: Any, what: str = "size") -> int:
    """Disk size in bytes from a plain number (GiB) or text with a unit, rounded up to whole sectors."""
    return -(-_size(value, GIB, what, '20 or "512MiB"') // 512) * 512


def gib(size: int) -> int | float:
    """Bytes as GiB for people: a whole number where it is one, else three decimals."""
    exact = size / GIB
    return int(exact) if exact == int(exact) else round(exact, 3)


def check_vm_name(name: Any) -> str:
    """A VM's name: an RFC 1123 label without a leading digit, as in Mold (`NetUtils.verifyDomainNameLabel`)."""
    if not isinstance(name, str) or not _LABEL.match(name):
        raise invalid(
            f"VM name '{name}' is not a host name",
            "use 1 to 63 letters, digits and '-', beginning with a letter and not ending in '-'",
        )
    return name


def check_file_stem(name: Any, what: str) -> str:
    """A name that becomes part of a volume's file name, so it must not leave its pool."""
    if not isinstance(name, str) or not _FILE_STEM.match(name) or ".." in name:
        raise invalid(
            f"{what} name '{name}' is not usable",
            "use 1 to 128 letters, digits, '.', '_' and '-', beginning and ending with a letter or digit",
        )
    return name


def check_public_key(value: Any, what: str) -> str:
    """One public SSH key, whose options may stand before it; an error shows nothing of it: it may be a private one."""
    key = value.strip() if isinstance(value, str) else ""
    if "PRIVATE KEY" in key or not key.isprintable() or not _PUBLIC_KEY.search(key):
        raise invalid(f"{what} is not one public SSH key", "write one line such as 'ssh-ed25519 AAAA… name'")
    return key


def is_uuid(text: str) -> bool:
    """Whether the text has the shape of a UUID."""
    return bool(_UUID.match(text))


def check_mac(mac: str) -> str:
    """A unicast MAC address in lower case, as libvirt prints it."""
    if not _MAC.match(mac):
        raise invalid(f"MAC address '{mac}' is malformed", "write six pairs of hexadecimal digits joined by ':'")
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise invalid(f"MAC address '{mac}' is not a unicast address", "its first pair must be even, such as 52:54:…")
    return mac.lower()


def time_text(moment: datetime) -> str:
    """A moment as it is stored and shown: UTC, ISO 8601, whole seconds."""
    return moment.astimezone(timezone.utc).strftime(_TIME_FORMAT)


def now_text() -> str:
    """The present moment likewise."""
    return _second_text(int(time.time()))


@lru_cache(maxsize=1)
def _second_text(second: int) -> str:
    return time.strftime(_TIME_FORMAT, time.gmtime(second))


def seconds_text(seconds: float) -> str:
    """The same of so many seconds since 1970, as libvirt gives them; empty where no calendar has that moment."""
    try:
        return time_text(datetime.fromtimestamp(seconds, timezone.utc))
    except (ValueError, OverflowError, OSError):
        return ""


def parse_time(text: str) -> datetime:
    """The moment behind `time_text`."""
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)


def later(text: str, seconds: int) -> str:
    """The stored time that many seconds after another."""
    return time_text(parse_time(text) + timedelta(seconds=seconds))


def altered(item: T, **values: Any) -> T:
    """The dataclass with these values: itself where they are its own, as in most of a fleet, else a copy."""
    for name, value in values.items():
        own = getattr(item, name)
        if own is not value and own != value:
            return replace(item, **values)  # type: ignore[type-var]
    return item
