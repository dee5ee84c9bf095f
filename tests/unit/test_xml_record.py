# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record in a domain's metadata: all of it comes back, from a definition and from virDomainSetMetadata's form."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import NetworkRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskRecord,
    Mark,
    NicRecord,
    Owner,
    Phase,
    VmRecord,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.document import Document, parse, serialize
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import (
    NAMESPACE,
    VERSION,
    put_record,
    read_network_record,
    read_record,
    record_element,
)
from support.samples import FULL_RECORD, check_golden

OTHERS = "<o:os xmlns:o='urn:o'><o:id/></o:os>"
texts = st.text(st.characters(exclude_categories=()), max_size=12)
numbers = st.integers(0, 2**63)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
names = st.lists(texts, max_size=3).map(tuple)
owners = st.builds(Owner, texts, numbers, numbers, texts)
marks = st.builds(Mark, st.sampled_from(Phase), texts, texts, names, st.none() | owners)
disks = st.lists(
    st.builds(DiskRecord, *[texts, texts, numbers, texts, texts, texts, numbers, texts, numbers]), max_size=2
)
nics = st.lists(st.builds(NicRecord, texts, texts, texts), max_size=2)
_KNOWN = {"labels": pairs, "disks": disks.map(tuple), "nics": nics.map(tuple), "mark": marks}
_BY_TYPE = {"bool": st.booleans(), "str": texts, "tuple[str, ...]": names}
# from the record's own fields: a new one is tried here without anybody thinking of it
records = st.builds(
    VmRecord,
    **{field.name: _KNOWN[field.name] if field.name in _KNOWN else _BY_TYPE[field.type] for field in fields(VmRecord)},
).map(lambda record: record if record.name else replace(record, name="x"))


def domain(content: str = "") -> Document:
    return Document(parse(f"<domain><name>d</name><metadata>{OTHERS}{content}</metadata></domain>"))


def kept(record: VmRecord) -> Document:
    """What libvirt holds after the record was defined, read again."""
    document = domain()
    put_record(document, record)
    return Document(parse(serialize(document.element)))


@given(records)
def test_a_record_comes_back(record: VmRecord) -> None:
    assert read_record(kept(record), "domain 'd'") == record


def test_the_full_record_uses_every_field() -> None:
    def blank(value: Any) -> list[str]:
        return [field.name for field in fields(value) if not getattr(value, field.name)]

    parts = [FULL_RECORD, FULL_RECORD.mark, FULL_RECORD.mark.owner, FULL_RECORD.disks[1], FULL_RECORD.nics[0]]
    assert [blank(part) for part in parts if is_dataclass(part)] == [[], [], [], [], []]
    check_golden("record.xml", serialize(record_element(FULL_RECORD)))


def test_set_metadata_puts_the_namespace_on_all_of_it() -> None:
    """Libvirt declares the namespace on the element it is given and moves all of it in there."""
    element = record_element(FULL_RECORD)
    assert all("}" not in part.tag for part in element.iter())
    for part in element.iter():
        part.tag = f"{{{NAMESPACE}}}{part.tag}"
    assert read_record(domain(serialize(element)), "domain 'd'") == FULL_RECORD
    assert read_record(kept(FULL_RECORD), "domain 'd'") == FULL_RECORD


def test_replacing_a_record_leaves_one_and_all_of_the_others() -> None:
    document = kept(FULL_RECORD)
    put_record(document, replace(FULL_RECORD, group="other"))
    assert read_record(document, "domain 'd'").group == "other"
    assert [child.tag for child in document.element.find("metadata")] == ["{urn:o}os", f"{{{NAMESPACE}}}vm"]
    put_record(document, None)
    assert read_record(document, "domain 'd'") is None
    assert [child.tag for child in document.element.find("metadata")] == ["{urn:o}os"]


def test_reading_changes_nothing() -> None:
    document = kept(FULL_RECORD)
    before = serialize(document.element)
    read_record(document, "domain 'd'")
    assert serialize(document.element) == before


@pytest.mark.parametrize("content", ["", "<vm version='1' name='x'/>", "<a:vm xmlns:a='urn:other' name='x'/>"])
def test_what_is_not_ours_is_no_record(content: str) -> None:
    assert read_record(domain(content), "domain 'd'") is None


def ours(text: str) -> Document:
    return domain(text.replace("<vm", f"<a:vm xmlns:a='{NAMESPACE}'", 1).replace("</vm", "</a:vm"))


@pytest.mark.parametrize(
    "text",
    [
        "<vm/>",
        "<vm name='x'/>",
        "<vm version='0' name='x'/>",
        "<vm version='one' name='x'/>",
        "<vm version='1'/>",
        "<vm version='1' name='x' protected='perhaps'/>",
        "<vm version='1' name='x'><mark phase='melted'/></vm>",
        "<vm version='1' name='x'><mark phase='destroyed'><owner pid='?'/></mark></vm>",
        "<vm version='1' name='x'><disk device='first'/></vm>",
        "<vm version='1' name='x'><label name='k'/></vm>",
        "<vm version='1' name='x'><snapshot/></vm>",
    ],
)
def test_damage_is_told_with_the_name_of_the_domain(text: str) -> None:
    with pytest.raises(AblestackError, match="domain 'd' is damaged") as raised:
        read_record(ours(text), "domain 'd'")
    assert raised.value.code is Code.INVALID_STATE
    assert raised.value.hint


def test_a_newer_schema_is_refused_and_ours_is_read_with_comments() -> None:
    with pytest.raises(AblestackError, match="newer release") as raised:
        read_record(ours(f"<vm version='{VERSION + 1}' name='x' protected='new word'/>"), "domain 'd'")
    assert raised.value.code is Code.UNSUPPORTED
    assert read_record(ours(f"<vm version='{VERSION}' name='x'><!-- hi --></vm>"), "d") == VmRecord("x", clone="")


def test_a_network_has_a_record_too() -> None:
    content = f"<n:network xmlns:n='{NAMESPACE}' version='1' type='shared'><n:label name='a' value='b'/></n:network>"
    assert read_network_record(domain(content), "network 'n'") == NetworkRecord(
        type="shared", autostart=False, labels=(("a", "b"),)
    )
    assert read_network_record(domain(), "network 'n'") is None
    with pytest.raises(AblestackError, match="network 'n'"):
        read_network_record(domain(content.replace("version='1'", "version='2'")), "network 'n'")
