# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files: what the first bytes of one say it is, how large a disk it holds, and whether it can be a template."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import AblestackError, invalid
from .values import UNSET, Maybe

HEAD_SIZE = 64 * 1024
"""Bytes from the beginning of a file that are enough to judge it."""

_SECTOR = 512
_FETCH = "fetch it anew from where it comes"
_QCOW2 = b"QFI\xfb"
_ISO_AT, _ISO = 0x8001, b"CD001"
# docs/interop/qcow2.txt of QEMU: of the incompatible features, those an image may have that can be read by itself
_CORRUPT, _EXTERNAL_DATA = 1 << 1, 1 << 2
_KNOWN_FEATURES = (1 << 5) - 1
_OTHERS = (
    (b"\x1f\x8b", "gzip data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"BZh", "bzip2 data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"KDMV", "a VMDK image"),
    (b"vhdxfile", "a VHDX image"),
    (b"conectix", "a VHD image"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)


@dataclass(frozen=True)
class ImageFacts:
    """An image file: its format, the size of the disk in it and of the file, both in bytes."""

    format: str
    size: int
    file_size: int


def judge_image(head: bytes, file_size: int, wanted: Maybe[str] = UNSET) -> ImageFacts:
    """What the file is, by its first HEAD_SIZE bytes; InvalidInput where it is not `wanted` or no template can be it.

    A file without `wanted` must say itself what it is: a raw disk cannot, so it is never guessed.
    """
    if not file_size:
        raise invalid("the image is empty", _FETCH)
    found = _recognised(head)
    if found is None and wanted is UNSET:
        raise invalid(
            f"the image's format is not recognisable: it {_nature(head)}", "a raw disk image needs 'format: raw'"
        )
    image_format = found if wanted is UNSET or found == wanted else _insisted(str(wanted), found, head)
    if image_format == "qcow2":
        return ImageFacts("qcow2", _qcow2_size(head), file_size)
    return ImageFacts(str(image_format), -(-file_size // _SECTOR) * _SECTOR, file_size)


def _recognised(head: bytes) -> str | None:
    if head.startswith(_QCOW2):
        return "qcow2"
    return "iso" if head[_ISO_AT : _ISO_AT + len(_ISO)] == _ISO else None


def _insisted(wanted: str, found: str | None, head: bytes) -> str:
    """`wanted` although the content does not say so: right for a raw disk only, which may well begin like an ISO."""
    if wanted == "raw" and found != "qcow2" and _other(head) is None:
        return wanted
    raise _unlike(wanted, f"is {found}" if found else _nature(head))


def _unlike(wanted: str, nature: str) -> AblestackError:
    return invalid(f"the image is not {wanted}: it {nature}", "give the format it has, or convert it first")


def _other(head: bytes) -> str | None:
    return next((what for magic, what in _OTHERS if head.startswith(magic)), None)


def _nature(head: bytes) -> str:
    other = _other(head)
    return f"is {other}" if other else "has neither qcow2's nor an ISO's mark"


def _qcow2_size(head: bytes) -> int:
    """The virtual size, of an image that stands by itself."""
    version, size = _number(head, 4, 4), _number(head, 24, 8)
    features = _number(head, 72, 8) if version >= 3 else 0
    if len(head) < (104 if version >= 3 else 72) or version not in (2, 3):
        raise invalid(f"the image's qcow2 header is damaged or of an unknown version ({version})", _FETCH)
    if _number(head, 8, 8):
        raise invalid("the image stands on a backing file", "flatten it first: qemu-img convert -O qcow2 IMAGE NEW")
    if features & _EXTERNAL_DATA:
        raise invalid(
            "the image keeps its data in another file", "convert it first: qemu-img convert -O qcow2 IMAGE NEW"
        )
    if _number(head, 32, 4):
        raise invalid("the image is encrypted", "decrypt it first: qemu-img convert")
    if features & _CORRUPT:
        raise invalid("the image is marked as corrupt", "repair it first: qemu-img check -r all IMAGE")
    if features & ~_KNOWN_FEATURES:
        raise invalid(
            "the image uses qcow2 features that are not known", "convert it: qemu-img convert -O qcow2 IMAGE NEW"
        )
    if not size or size % _SECTOR:
        raise invalid(f"the image's qcow2 header tells an impossible size of {size} bytes", _FETCH)
    return size


def _number(head: bytes, at: int, length: int) -> int:
    return int.from_bytes(head[at : at + length], "big")
