"""What the first bytes of an image file tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.image import HEAD_SIZE, ImageFacts, judge_image

GIB = 1024**3


def qcow2(size: int = GIB, version: int = 3, backing: int = 0, crypt: int = 0, features: int = 0) -> bytes:
    """A header as docs/interop/qcow2.txt of QEMU lays it out, field by field."""
    fields = [
        (b"QFI\xfb", 4),
        (version, 4),
        (backing, 8),
        (8 if backing else 0, 4),
        (16, 4),  # cluster bits
        (size, 8),
        (crypt, 4),
        (1, 4),  # size of the L1 table
        (0x30000, 8),
        (0x10000, 8),
        (1, 4),
        (0, 4),  # snapshots
        (0, 8),
        (features, 8),
        (0, 8),
        (0, 8),
        (4, 4),
        (104, 4),
    ]
    head = b"".join(value if isinstance(value, bytes) else value.to_bytes(length, "big") for value, length in fields)
    return head.ljust(HEAD_SIZE, b"\0")


ISO = (bytes(0x8000) + b"\x01CD001\x01").ljust(HEAD_SIZE, b"\0")


def refusal(*arguments: Any) -> str:
    with pytest.raises(AblestackError) as caught:
        judge_image(*arguments)
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value.sentence


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("wanted", [(), ("qcow2",)])
def test_qcow2(version: int, wanted: tuple[str, ...]) -> None:
    assert judge_image(qcow2(5 * GIB, version), 196624, *wanted) == ImageFacts("qcow2", 5 * GIB, 196624)


@pytest.mark.parametrize("features", [0, 1, 1 << 3, 1 << 4])
def test_features_that_a_template_may_have(features: int) -> None:
    assert judge_image(qcow2(features=features), 1000).size == GIB


def test_the_rest_of_a_version_2_header_is_no_feature_bits() -> None:
    head = qcow2(version=2)
    assert judge_image(head[:72] + b"\xff" * 32 + head[104:], 1000).size == GIB


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (qcow2(backing=512), "backing file"),
        (qcow2(version=2, backing=512), "backing file"),
        (qcow2(crypt=1), "encrypted"),
        (qcow2(crypt=2), "encrypted"),
        (qcow2(features=1 << 2), "another file"),
        (qcow2(features=1 << 1), "corrupt"),
        (qcow2(features=1 << 5), "not known"),
        (qcow2(features=1 << 63), "not known"),
        (qcow2(size=0), "size"),
        (qcow2(size=1000), "size"),
        (qcow2(version=1), "version"),
        (qcow2(version=4), "version"),
        (qcow2()[:50], "damaged"),
        (b"QFI\xfb", "damaged"),
    ],
)
def test_qcow2_that_can_be_no_template(head: bytes, why: str) -> None:
    for wanted in ((), ("qcow2",)):
        assert why in refusal(head, 1000, *wanted)
    assert "is qcow2" in refusal(head, 1000, "raw")


def test_iso() -> None:
    assert judge_image(ISO, 700 * 1024**2) == ImageFacts("iso", 700 * 1024**2, 700 * 1024**2)
    assert judge_image(ISO, 10**6, "iso").format == "iso"
    assert "is iso" in refusal(ISO, 10**6, "qcow2")


def test_raw_is_believed_but_never_guessed() -> None:
    disk = b"\xeb\x63\x90".ljust(HEAD_SIZE, b"\0")
    assert judge_image(disk, GIB, "raw") == ImageFacts("raw", GIB, GIB)
    assert "format: raw" in refusal(disk, GIB)
    assert "is not iso" in refusal(disk, GIB, "iso")
    # a hybrid image begins like an ISO and is a disk all the same
    assert judge_image(ISO, GIB, "raw").format == "raw"


def test_a_raw_disk_is_as_large_as_its_file_in_whole_sectors() -> None:
    assert judge_image(b"x", 513, "raw") == ImageFacts("raw", 1024, 513)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh9", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"KDMV", "VMDK"),
        (b"vhdxfile", "VHDX"),
        (b"<!DOCTYPE html>", "web page"),
        (b"<html>", "web page"),
    ],
)
def test_what_people_take_for_an_image(head: bytes, what: str) -> None:
    for wanted in ((), ("raw",), ("qcow2",), ("iso",)):
        assert what in refusal(head, 1000, *wanted)


def test_an_empty_file() -> None:
    assert "empty" in refusal(b"", 0, "raw")


@given(head=st.binary(max_size=200), size=st.integers(0, 2**50), wanted=st.sampled_from(["qcow2", "raw", "iso"]))
def test_any_bytes_are_judged_or_refused_in_words(head: bytes, size: int, wanted: str) -> None:
    for content in (head, b"QFI\xfb" + head):
        code, found = Code.INTERNAL, None
        try:
            found = judge_image(content, size, wanted)
        except AblestackError as error:
            code = error.code
        if found is None:
            assert code is Code.INVALID_INPUT
        else:
            assert (found.format, found.file_size) == (wanted, size)
            assert found.size > 0
            assert found.size % 512 == 0
