# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a template: one field an option of `ablestack_template`, UNSET where the user left it out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .errors import invalid
from .values import UNSET, Maybe

STATES = ("present", "absent", "extracted")
SOURCES = ("src", "url", "vm", "volume")
DESCRIBED = (
    "display_text",
    "os_type",
    "boot_type",
    "boot_mode",
    "ssh_key_enabled",
    "dynamic_scaling",
    "featured",
    "labels",
)
"""The options that say something of a template beside its image; they can change any time."""
_DIGITS = {"sha256": 64, "sha512": 128, "md5": 32}


@dataclass(frozen=True)
class TemplateSpec:
    """The options of one template. `checksum` is as `check_checksum` returns it."""

    name: str
    state: str = "present"
    format: Maybe[str] = UNSET
    src: Maybe[str] = UNSET
    url: Maybe[str] = UNSET
    vm: Maybe[str] = UNSET
    volume: Maybe[str] = UNSET
    dest: Maybe[str] = UNSET
    checksum: Maybe[str] = UNSET
    display_text: Maybe[str] = UNSET
    os_type: Maybe[str] = UNSET
    boot_type: Maybe[str] = UNSET
    boot_mode: Maybe[str] = UNSET
    ssh_key_enabled: Maybe[bool] = UNSET
    dynamic_scaling: Maybe[bool] = UNSET
    featured: Maybe[bool] = UNSET
    labels: Maybe[tuple[tuple[str, str], ...]] = UNSET
    zone: Maybe[str] = UNSET
    hosts: tuple[str, ...] = ()
    forced: bool = False

    @property
    def source(self) -> str:
        """Which of SOURCES it names, empty where none."""
        return next((source for source in SOURCES if getattr(self, source)), "")

    @property
    def described(self) -> dict[str, Any]:
        """The descriptive options that were given, by name."""
        given = {name: getattr(self, name) for name in DESCRIBED}
        return {name: value for name, value in given.items() if value is not UNSET}

    def check(self) -> None:
        """InvalidInput where options do not fit together. Where it is to go, it does not matter what it was made of."""
        if self.state == "absent":
            return
        sources = [source for source in SOURCES if getattr(self, source)]
        if len(sources) > 1:
            raise invalid(f"a template has one source, not {' and '.join(sources)}", "keep one of them")
        if sources and self.state != "present":
            raise invalid(
                f"{sources[0]} is not for 'state: {self.state}'", "leave it out: it belongs to 'state: present'"
            )
        if (self.state == "extracted") != bool(self.dest):
            hint = "leave it out" if self.dest else "say in which file the image is wanted"
            raise invalid("dest is needed for 'state: extracted', and is for it alone", hint)
        if self.checksum and (self.vm or self.volume):
            raise invalid("checksum is for src and url: the image made of a disk has none yet", "leave it out")
        if self.vm and self.format == "iso":
            raise invalid("a VM's root disk makes no ISO", "use qcow2 or raw")
        if self.volume and not re.match(r"[^/]+/[^/]+\Z", str(self.volume)):
            raise invalid(f"volume '{self.volume}' names no pool and file", "write it as pool/name")


def check_checksum(text: Any) -> str:
    """A checksum as `algorithm:digits` in lower case; InvalidInput where it is none."""
    algorithm, _colon, digits = str(text).strip().lower().partition(":")
    if algorithm not in _DIGITS or not re.match(r"[0-9a-f]+\Z", digits) or len(digits) != _DIGITS[algorithm]:
        shapes = ", ".join(f"{name}: and {length} hexadecimal digits" for name, length in _DIGITS.items())
        raise invalid(f"checksum '{text}' is malformed", f"write one of {shapes}")
    return f"{algorithm}:{digits}"
