# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NoCloud seed tells cloud-init; the image is built from it in seed/."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SeedNic:
    """One NIC, matched by MAC. `address` is "ip/prefix" where it is static, empty where DHCP serves it."""

    mac: str
    address: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeedContent:
    """All of a seed. `instance_id` is the VM's id; `user_data` is secret and stays out of every repr.

    `pair_keys` are those of the catalog's key pairs, None in an old seed, which has them among its `public_keys`.
    """

    instance_id: str
    hostname: str
    public_keys: tuple[str, ...] = ()
    nics: tuple[SeedNic, ...] = ()
    user_data: str = field(default="", repr=False)
    pair_keys: tuple[str, ...] | None = ()
