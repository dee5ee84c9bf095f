# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single option values, for options that Ansible has checked and for plain data that nobody has.

Each takes the value and what to call it in an error, returns it in its proper type, and raises InvalidInput.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Callable, TypeVar

from ..core.model.errors import invalid
from ..core.model.values import is_uuid

T = TypeVar("T")
Check = Callable[[Any, str], Any]

# Whatever XML 1.0 cannot hold, and line breaks: these texts end up in the domain's metadata.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")


def known_keys(data: Mapping[str, Any], valid: Iterable[str], what: str = "") -> None:
    """Every key is one of `valid`; the error names the nearest valid one."""
    valid = list(valid)
    for key in data:
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0)
            where = f" in {what}" if what else ""
            raise invalid(f"unknown option '{key}'{where}", f"did you mean '{near[0]}'? It may be: {', '.join(valid)}")


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A mapping of keys to values."""
    if not isinstance(value, Mapping):
        raise invalid(
            f"{what} must be a mapping, not {type(value).__name__}", "write its keys and values as key: value"
        )
    return value


def text(value: Any, what: str) -> str:
    """One line of text, possibly empty; a number counts as its digits."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise invalid(f"{what} must be a text, not {type(value).__name__}", "write it in quotes")
    if _NOT_PLAIN.search(value):
        raise invalid(f"{what} has a line break or a control character in it", "write it on one line")
    return value


def short_text(value: Any, what: str) -> str:
    """One line of at most 255 characters (Mold: VARCHAR(255))."""
    if len(text(value, what)) > 255:
        raise invalid(f"{what} has {len(str(value))} characters", "use at most 255")
    return str(value)


def filled(value: Any, what: str) -> str:
    """One line of text that is not empty."""
    if not text(value, what).strip():
        raise invalid(f"{what} is empty", "name one, or leave the option out")
    return str(value)


def flag(value: Any, what: str) -> bool:
    """A truth value; the words are those of YAML 1.1, as in Ansible."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _TRUE + _FALSE:
        raise invalid(f"{what} is '{value}'", "write true or false")
    return word in _TRUE


def number(low: int, high: int = 2**31 - 1) -> Check:
    """A whole number within bounds."""

    def check(value: Any, what: str) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.match(r"-?\d{1,18}\Z", digits):
            raise invalid(f"{what} is '{value}'", "write a whole number")
        if not low <= int(digits) <= high:
            raise invalid(f"{what} is {digits}", f"write a number between {low} and {high}")
        return int(digits)

    return check


def one_of(choices: Iterable[str], aliases: Mapping[str, str] | None = None) -> Check:
    """One of some words; an alias becomes the word it stands for."""

    def check(value: Any, what: str) -> str:
        word = (aliases or {}).get(str(value), str(value))
        if word not in choices:
            raise invalid(f"{what} '{value}' is not known", f"write one of {', '.join(choices)}")
        return word

    return check


def many(check: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    """A list of such values; a lone text is a list of one."""

    def check_all(value: Any, what: str) -> tuple[T, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise invalid(f"{what} must be a list, not {type(value).__name__}", "write its entries in a list: [...]")
        return tuple(check(item, f"{what}[{index}]") for index, item in enumerate(items))

    return check_all


def distinct(check: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    """A list in which what is said twice counts once."""
    read = many(check)
    return lambda value, what: tuple(dict.fromkeys(read(value, what)))


def no_repeats(values: Iterable[Any], what: str) -> None:
    """No value stands there twice."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise invalid(f"{what} '{value}' is named twice", "name it once")
        seen.add(value)


def address(value: Any, what: str) -> str:
    """An IP address in its usual notation, with its prefix length where one is given; empty where nothing is."""
    given = text(value, what).strip()
    if not given:
        return ""
    import ipaddress

    try:
        found = ipaddress.ip_interface(given)
    except ValueError:
        raise invalid(f"{what} '{value}' is not an IP address", "write for example 10.10.10.5") from None
    if found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
        raise invalid(f"{what} '{value}' is not an address for a VM", "write a unicast address of the network")
    return str(found) if "/" in given else str(found.ip)


def vm_id(value: Any, what: str) -> str:
    """The id of a VM, in lower case as libvirt prints it."""
    if not is_uuid(text(value, what)):
        raise invalid(f"VM id '{value}' is not a UUID", "take it from the id that ablestack_vm_info returns")
    return str(value).lower()


def labels(value: Any, what: str) -> tuple[tuple[str, str], ...]:
    """Pairs of texts in the order of their names; a truth value is the word YAML has for it."""
    pairs = {}
    for key, item in mapping(value, what).items():
        name = short_text(filled(key, "the name of a label"), "the name of a label")
        pairs[name] = short_text(str(item).lower() if isinstance(item, bool) else item, f"label '{name}'")
    return tuple(sorted(pairs.items()))
