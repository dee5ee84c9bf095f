# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A qcow2 overlay's first bytes: whether anything was ever written into it."""

from __future__ import annotations

OVERLAY_HEAD = 1024 * 1024
"""Bytes that hold the first table of every overlay we make: an entry in it maps half a GiB of disk."""
_MAGIC = b"QFI\xfb"


def holds_nothing(head: bytes) -> bool:
    """Whether the image's content is that of the image below it. False where the beginning does not tell.

    Source: QEMU, docs/interop/qcow2.txt. A cluster that was ever written has an entry in the first table.
    """
    if not head.startswith(_MAGIC) or len(head) < 72:
        return False
    entries, table = int.from_bytes(head[36:40], "big"), int.from_bytes(head[40:48], "big")
    end = table + 8 * entries
    internal_snapshots = int.from_bytes(head[60:64], "big")
    return end <= len(head) and not internal_snapshots and not any(head[table:end])
