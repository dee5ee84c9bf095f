# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents that others wrote, or that were damaged: read as far as they make sense, or refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Template
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import (
    decode_claim,
    decode_descriptor,
    encode_descriptor,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import (
    read_domain,
    read_live,
    read_shown,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.host_mapping import (
    read_abilities,
    read_pool,
    read_volume,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.network_mapping import read_network
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.snapshot_mapping import read_snapshot
from support.hostile import NASTY

GOLDEN = Path(__file__).parent / "golden"
READERS: dict[str, Callable[[str], Any]] = {
    "domain-uefi": read_domain,
    "domain-growing": read_live,
    "foreign": read_shown,
    "foreign-container": read_shown,
    "libvirt-running": read_live,
    "libvirt-running-chain": read_domain,
    "libvirt-stored": read_domain,
    "libvirt-network": lambda text: read_network(text, True, text),
    "network-isolated": lambda text: read_network(text, False),
    "network-vlan": lambda text: read_network(text, True),
    "libvirt-pool": read_pool,
    "libvirt-volume": lambda text: read_volume(text, "default"),
    "libvirt-domcaps": read_abilities,
    "libvirt-snapshot": lambda text: read_snapshot(text, ""),
}
TEXTS = st.one_of(st.sampled_from([text for text in NASTY if "\x00" not in text and "\x1b" not in text]), st.text())
EXAMPLES = settings(max_examples=int(os.environ.get("ABLESTACK_FUZZ", "60")), suppress_health_check=list(HealthCheck))


def read_or_refused(reader: Callable[[Any], Any], document: Any) -> None:
    error: AblestackError | None = None
    try:
        reader(document)
    except AblestackError as refused:
        error = refused
    assert error is None or error.sentence.strip()
    assert error is None or error.code in (Code.INVALID_STATE, Code.UNSUPPORTED, Code.INTERNAL)


def damaged(root: ElementTree.Element, data: st.DataObject) -> None:
    """One thing in it is gone, doubled, moved, or says something else."""
    element = data.draw(st.sampled_from(list(root.iter())))
    how = data.draw(st.sampled_from(("drop", "double", "text", "attribute", "tag", "attributes", "move")))
    if how == "text":
        element.text = _xml(data.draw(TEXTS))
    elif how == "attribute" and element.attrib:
        element.set(data.draw(st.sampled_from(sorted(element.attrib))), _xml(data.draw(TEXTS)))
    elif how == "attributes":
        element.attrib.clear()
    elif how == "tag" and element is not root:
        element.tag = data.draw(st.sampled_from(("disk", "other", "metadata", "source")))
    elif len(element):
        child = data.draw(st.sampled_from(list(element)))
        element.remove(child)
        if how != "drop":
            (root if how == "move" else element).extend([child, child][: 1 if how == "move" else 2])


def _xml(text: str) -> str:
    """What can stand in a document."""
    return "".join(letter for letter in text if letter >= " " and not "\ud800" <= letter <= "\udfff")


@pytest.mark.parametrize("name", sorted(READERS))
@EXAMPLES
@given(data=st.data())
def test_whatever_happened_to_a_document(name: str, data: st.DataObject, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    root = ElementTree.fromstring((GOLDEN / f"{name}.xml").read_text(encoding="utf-8"))
    for _time in range(data.draw(st.integers(1, 4))):
        damaged(root, data)
    read_or_refused(READERS[name], ElementTree.tostring(root, encoding="unicode"))


@pytest.mark.parametrize("name", sorted(READERS))
@EXAMPLES
@given(data=st.data())
def test_whatever_a_text_is_torn_to(name: str, data: st.DataObject, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    text = (GOLDEN / f"{name}.xml").read_text(encoding="utf-8")
    start, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 60))
    read_or_refused(READERS[name], text[:start] + data.draw(st.text(max_size=5)) + text[start + length :])


BOMB = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [BOMB, OUTSIDE, f"<?xml version='1.0'?>{BOMB}", f"<!-- x -->\n{OUTSIDE}"])
@pytest.mark.parametrize("name", sorted(READERS))
def test_no_document_declares_entities(name: str, head: str) -> None:
    text = (GOLDEN / f"{name}.xml").read_text(encoding="utf-8")
    with pytest.raises(AblestackError, match="DOCTYPE"):
        READERS[name](head + text.replace("<name>", "<name>&b;"))


CLAIM = '{"schema": 1, "claim": {"phase": "deploying", "since": %s, "owner": {}}}'
DESCRIPTOR = encode_descriptor(
    Template("tiny", "qcow2", 1, 1, "sha256:" + "0" * 64, "2026-01-01T00:00:00Z", labels=(("tier", "db"),))
)


@EXAMPLES
@given(start=st.integers(0, len(DESCRIPTOR)), put=st.binary(max_size=6), length=st.integers(0, 40))
def test_whatever_a_descriptor_is_torn_to(start: int, put: bytes, length: int, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    content = DESCRIPTOR[:start] + put + DESCRIPTOR[start + length :]
    read_or_refused(decode_descriptor, content)
    read_or_refused(decode_claim, content)


@pytest.mark.parametrize(
    ("key", "value"), [("size", "1"), ("name", ["a"]), ("featured", 1), ("labels", []), ("size", True)]
)
def test_a_descriptor_with_a_value_of_the_wrong_kind_is_damaged(key: str, value: Any) -> None:
    data = {**json.loads(DESCRIPTOR), key: value}
    with pytest.raises(AblestackError, match="damaged"):
        decode_descriptor(json.dumps(data).encode())


@EXAMPLES
@given(
    data=st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_whatever_a_descriptor_says(data: Any, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    for content in (data, {"schema": 1, "claim": data}, {"schema": 1, "name": data, "labels": data}, {"schema": data}):
        read_or_refused(decode_descriptor, json.dumps(content).encode())
        read_or_refused(decode_claim, json.dumps(content).encode())


@pytest.mark.parametrize("depth", [500, 900, 200_000])
@pytest.mark.parametrize("around", ["%s", '{"schema": %s}', '{"schema": 1, "labels": {"a": %s}}', CLAIM])
def test_however_deep_a_descriptor_is(around: str, depth: int) -> None:
    content = (around % ("[" * depth + "]" * depth)).encode()
    read_or_refused(decode_descriptor, content)
    read_or_refused(decode_claim, content)


@pytest.mark.parametrize("schema", ["1e999", "-1e999", "NaN", "1" * 5000, '"' + "1" * 5000 + '"', "true", "{}"])
def test_whatever_a_descriptor_says_its_schema_is(schema: str) -> None:
    content = f'{{"schema": {schema}}}'.encode()
    read_or_refused(decode_descriptor, content)
    read_or_refused(decode_claim, content)


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "yesterday"},
        {"since": 1},
        {"owner": {"machine": "m", "pid": "../../1", "started": 1, "token": "t"}},
        {"owner": {"machine": "m", "pid": 1, "started": None, "token": "t"}},
    ],
)
def test_a_claim_of_nonsense_is_nobodys(wrong: dict[str, Any]) -> None:
    owner = {"machine": "m", "pid": 1, "started": 1, "token": "t"}
    claim = {"phase": "deploying", "since": "2026-01-01T00:00:00Z", "owner": owner}
    held = decode_claim(json.dumps({"schema": 1, "claim": claim}).encode())
    found = decode_claim(json.dumps({"schema": 1, "claim": {**claim, **wrong}}).encode())
    assert held
    assert held.owner
    assert found
    assert found.owner is None
