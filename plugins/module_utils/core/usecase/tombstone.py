# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is being deleted: a tombstone, a volume of its own, says so for as long as that takes.

Who deletes a data disk makes the tombstone, and then looks who has the disk, or notes that he is about to. Who adopts
one notes that, and then looks for the tombstone. So at least one of two sees the other, and the adopter waits until it
is decided. All hosts that share the pool see the volume, and nobody makes two of one name. That of a dead process
counts for nothing, and whoever finds it removes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.resources import VolumeSpec
from ..model.template_descriptor import decode_claim, encode_claim
from ..model.values import now_text
from ..model.vm import Mark, Phase
from .owner import current_owner, is_abandoned

_PATIENCE = 30.0  # seconds to wait for another process that deletes the disk
_PAUSE = 0.2  # seconds between two looks
_UNWRITTEN = 25  # looks at one that nobody has put his name on, after which its maker counts for dead
_active: set[str] = set()  # tokens of the tombstones that this very process has made


@contextmanager
def burying(host: Host, pool: str, volume: str) -> Iterator[None]:
    """The tombstone of that name is ours meanwhile. Conflict where it is another's, and stays that."""
    owner = current_owner()
    content = encode_claim(Mark(Phase.EXPUNGING, now_text(), owner=owner))
    _active.add(owner.token)
    try:
        _make(host, pool, volume, content)
        try:
            yield
        except AblestackError:
            with suppress(AblestackError):
                host.delete_volume(pool, volume)
            raise
        host.delete_volume(pool, volume)
    finally:
        _active.discard(owner.token)


def await_burial(host: Host, pool: str, volume: str) -> None:
    """Returns once there is none of that name: what it stands for is gone, or stays. Conflict where it lasts."""
    deadline = time.monotonic() + _PATIENCE
    unwritten = 0  # looks, one after the other
    while has_tombstone(host, pool, volume):
        lives = _lives(host, pool, volume)
        unwritten = unwritten + 1 if lives is None else 0
        if lives is False or unwritten >= _UNWRITTEN:
            host.delete_volume(pool, volume)
        elif time.monotonic() > deadline:
            raise _at_it(host, volume)
        else:
            time.sleep(_PAUSE)


def has_tombstone(host: Host, pool: str, volume: str) -> bool:
    """Whether somebody is deleting what it stands for, or died of it."""
    return host.fresh_volume(pool, volume) is not None


def _make(host: Host, pool: str, volume: str, content: bytes) -> None:
    """Makes it ours. In a full pool there is no room for it, and yet its disks have to go: that is done without."""
    while True:
        await_burial(host, pool, volume)
        try:
            host.create_volume(VolumeSpec(pool, volume, len(content), format="raw"))
            host.upload(pool, volume, [content])
        except AblestackError as error:
            if error.code is Code.ALREADY_EXISTS:
                continue
            if error.code is Code.INSUFFICIENT_CAPACITY:
                return
            with suppress(AblestackError):
                host.delete_volume(pool, volume)
            if error.code is Code.NOT_FOUND:  # somebody took us for dead
                raise _at_it(host, volume) from error
            raise
        return


def _lives(host: Host, pool: str, volume: str) -> bool | None:
    """Whether the process that made it is at work; None where nobody has put his name on it, which takes a moment."""
    try:
        mark = decode_claim(b"".join(host.download(pool, volume)))
    except AblestackError as error:
        if error.code is Code.NOT_FOUND:
            return True  # it is gone: the next look shows that
        if error.code is Code.INVALID_STATE:
            return None
        raise
    if mark is None or mark.owner is None:
        return None
    return mark.owner.token in _active or not is_abandoned(mark)


def _at_it(host: Host, volume: str) -> AblestackError:
    name = volume.partition("-")[2].rpartition(".")[0]
    return AblestackError(
        Code.CONFLICT,
        f"another controller is deleting '{name}' on host '{host.spec.name}'",
        "run the task again when it is done; what a dead controller left counts for 15 minutes",
    )
