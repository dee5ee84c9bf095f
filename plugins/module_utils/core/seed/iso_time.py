# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets every time stamp of a small ISO image to one fixed moment, so that equal contents make equal images.

pycdlib stamps the time of day. The places are those of ECMA-119 (ISO 9660) 8.4 and 9.1, and of Rock Ridge 4.1.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SECTOR = 2048
_PRIMARY, _SUPPLEMENTARY, _TERMINATOR = 1, 2, 255
_VOLUME_TIMES = (813, 830, 864)  # creation, modification, effective; 847 is the expiration, which is none
_VOLUME_TIME = b"2000010100000000\x00"
_RECORD_TIME = bytes((100, 1, 1, 0, 0, 0, 0))
_ROOT_RECORD = 156


def fix_times(image: bytes) -> bytes:
    """The same image, all of whose times are 2000-01-01 00:00 UTC. It has one folder, its root."""
    fixed = bytearray(image)
    for volume in _volumes(image):
        for place in _VOLUME_TIMES:
            fixed[volume + place : volume + place + 17] = _VOLUME_TIME
        root = volume + _ROOT_RECORD
        for place in (root + 18, *_folder_times(image, root)):
            fixed[place : place + 7] = _RECORD_TIME
    return bytes(fixed)


def _volumes(image: bytes) -> Iterator[int]:
    """Where the volume descriptors with times begin."""
    for place in range(16 * _SECTOR, len(image), _SECTOR):
        if image[place] == _TERMINATOR:
            return
        if image[place] in (_PRIMARY, _SUPPLEMENTARY):
            yield place


def _folder_times(image: bytes, record: int) -> Iterator[int]:
    """Where the times of a folder's entries are; `record` is where the folder's own record begins."""
    (extent,) = struct.unpack_from("<I", image, record + 2)
    (length,) = struct.unpack_from("<I", image, record + 10)
    place, end = extent * _SECTOR, extent * _SECTOR + length
    while place < end:
        size = image[place]
        if size == 0:  # the rest of a sector stays empty where no record fits any more
            place = (place // _SECTOR + 1) * _SECTOR
            continue
        yield place + 18
        name = image[place + 32]
        yield from _rock_ridge_times(image, place + 33 + name + (name + 1) % 2, place + size)
        place += size


def _rock_ridge_times(image: bytes, place: int, end: int) -> Iterator[int]:
    """Where the times in a record's system use fields are, and in the area that continues them."""
    while place + 4 <= end and image[place + 2] >= 4:
        signature, size = image[place : place + 2], image[place + 2]
        if signature == b"TF":
            yield from range(place + 5, place + size, 7)
        elif signature == b"CE":
            block, offset, length = struct.unpack_from("<I4xI4xI", image, place + 4)
            yield from _rock_ridge_times(image, block * _SECTOR + offset, block * _SECTOR + offset + length)
        place += size
