# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed digests by which a change of the seed's secrets is seen, without keeping the secrets."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def user_data_digest(vm_id: str, user_data: str) -> str:
    """128 bits as hex. The VM's id is the key: equal user data of two VMs does not look equal in their metadata."""
    return _digest(vm_id, "user-data", user_data)


def keys_digest(vm_id: str, keys: Iterable[str]) -> str:
    """128 bits as hex of a set of public keys: their order and repetitions make no difference."""
    return _digest(vm_id, "public-keys", "\n".join(sorted({key.strip() for key in keys})))


def _digest(vm_id: str, kind: str, text: str) -> str:
    message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(vm_id.lower().encode(), message, hashlib.sha256).hexdigest()[:32]
