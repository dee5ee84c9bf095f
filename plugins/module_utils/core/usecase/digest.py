# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums of what streams by: SHA-256 always, and the kind of checksum the user gave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from ..model.errors import AblestackError, Code


class Digest:
    """Sums up the content that `passing` hands on. `wanted` are checksums it must come to; empty ones do not count."""

    def __init__(self, *wanted: str) -> None:
        self.wanted = [checksum for checksum in wanted if checksum]
        kinds = {"sha256", *(checksum.partition(":")[0] for checksum in self.wanted)}
        self._sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(kinds)}
        self.size = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, summed up as they pass."""
        for chunk in chunks:
            self.size += len(chunk)
            for each in self._sums.values():
                each.update(chunk)
            yield chunk

    def drain(self, chunks: Iterable[bytes]) -> Digest:
        """Sums up all of it."""
        for _chunk in self.passing(chunks):
            pass
        return self

    def checksum(self, kind: str = "sha256") -> str:
        """The checksum of what has passed, as `kind:digits`."""
        return f"{kind}:{self._sums[kind].hexdigest()}"

    def verify(self, what: str) -> str:
        """The SHA-256 of what has passed; ChecksumMismatch where it does not come to what is wanted."""
        for wanted in self.wanted:
            found = self.checksum(wanted.partition(":")[0])
            if found != wanted:
                raise AblestackError(
                    Code.CHECKSUM_MISMATCH,
                    f"{what} has the checksum {found}, not {wanted}",
                    "check where the file comes from, then correct the file or the checksum",
                    expected=wanted,
                    found=found,
                )
        return self.checksum()
