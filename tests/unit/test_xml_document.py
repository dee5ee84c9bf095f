# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML parser refuses what is unsafe; fields read, write and clean up; what no field names survives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.document import (
    AnyText,
    Document,
    DocumentError,
    Flag,
    Names,
    Number,
    Pairs,
    Size,
    Switch,
    Text,
    escape,
    parse,
    serialize,
    unescape,
)

BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>\n<a>&b;</a>'


class Thing(Document):
    tag = "thing"
    name = Text("name", "nobody")
    kind = Text("@kind")
    count = Number("counts/inner@count", 7)
    on = Switch("power@state", "on", "off")
    size = Size("size")
    total = Size("total", "bytes", "bytes")
    flag = Flag("flags/here")
    label = AnyText("@label")
    words = Names("words/word@is")
    pairs = Pairs("pair@a", "b")
    chosen = Text("features/feature[@name='one']@enabled")


class StrictThing(Thing):
    strict = True


@pytest.mark.parametrize(
    "prolog",
    [
        "",
        "\ufeff",
        "<?xml version='1.0'?>",
        "\n <!-- > [ <!DOCTYPE --><?pi <!DOCTYPE [ ?>\n",
        "<!--a--><!--b-->\n",
        "<!--> -->",
    ],
)
def test_a_doctype_is_refused_whatever_stands_before_it(prolog: str) -> None:
    with pytest.raises(DocumentError, match="DOCTYPE"):
        parse(prolog + BOMB)
    assert parse(prolog.lstrip("\ufeff") + "<a/>").tag == "a"


def test_the_parser_itself_refuses_a_doctype_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.document._refuse_doctype", lambda text: None
    )
    with pytest.raises(DocumentError, match="DOCTYPE"):
        parse("<!DOCTYPE a><a/>")


@pytest.mark.parametrize(
    "text", ["", "   ", "<a>", "<a></b>", "no xml", "<a>&nbsp;</a>", "<!--", "<?x", "<a>\x00</a>", "\ud800"]
)
def test_what_is_no_document_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(DocumentError):
        parse(text)


def test_doctype_as_content_is_harmless() -> None:
    assert parse("<a><!-- <!DOCTYPE x> --><b><![CDATA[<!DOCTYPE y>]]></b></a>").findtext("b") == "<!DOCTYPE y>"


def test_comments_and_foreign_namespaces_survive() -> None:
    text = "<a><!-- mind --><m:x xmlns:m='urn:m' m:y='1'>t</m:x> tail</a>"
    again = parse(serialize(parse(text)))
    assert "<!-- mind -->" in serialize(again)
    assert again.find("{urn:m}x").get("{urn:m}y") == "1"


VALUES = [
    ("name", "web", "<thing><name>web</name></thing>"),
    ("kind", "big", '<thing kind="big" />'),
    ("count", 3, '<thing><counts><inner count="3" /></counts></thing>'),
    ("on", True, '<thing><power state="on" /></thing>'),
    ("size", 5, '<thing><size unit="MiB">5</size></thing>'),
    ("total", 5, '<thing><total unit="bytes">5</total></thing>'),
    ("flag", True, "<thing><flags><here /></flags></thing>"),
    ("label", "a\nb", r'<thing label="a\u000ab" />'),
    ("words", ("x", "y\t"), r'<thing><words><word is="x" /><word is="y\u0009" /></words></thing>'),
    ("pairs", (("k", "v"), ("", "")), '<thing><pair a="k" b="v" /><pair a="" b="" /></thing>'),
    ("chosen", "yes", '<thing><features><feature name="one" enabled="yes" /></features></thing>'),
]


@pytest.mark.parametrize(("field", "value", "text"), VALUES, ids=[row[0] for row in VALUES])
def test_a_field_is_written_read_and_removed_without_a_trace(field: str, value: Any, text: str) -> None:
    thing = Thing()
    missing = getattr(thing, field)
    setattr(thing, field, value)
    assert thing.text == text
    assert getattr(Thing.parse(text), field) == value
    assert Thing(**{field: value}).text == text
    setattr(thing, field, () if isinstance(value, tuple) else type(value)())
    assert getattr(thing, field) == missing
    if field != "words":  # an emptied list keeps its parent
        assert thing.text == "<thing />"


def test_every_field_is_tried_above() -> None:
    assert {row[0] for row in VALUES} == set(Thing.fields())


def test_removing_keeps_what_others_put_beside_it() -> None:
    thing = Thing.parse(
        '<thing><counts by="you"><inner count="3" more="1" /></counts><size unit="KiB" o="p">9</size></thing>'
    )
    thing.count = 0
    thing.size = 0
    assert thing.text == '<thing><counts by="you"><inner more="1" /></counts><size o="p" /></thing>'


def test_a_flag_goes_with_all_that_is_in_it() -> None:
    thing = Thing.parse("<thing><flags><here a='1'>x<y/></here></flags></thing>")
    thing.flag = False
    assert thing.text == "<thing />"


def test_an_element_chosen_by_attribute_is_told_from_its_like() -> None:
    thing = Thing.parse('<thing><features><feature name="two" enabled="no" /></features></thing>')
    assert thing.chosen == ""
    thing.chosen = "yes"
    assert [one.get("enabled") for one in thing.element.iter("feature")] == ["no", "yes"]
    thing.chosen = ""
    assert [one.get("name") for one in thing.element.iter("feature")] == ["two"]


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("<size>2048</size>", 2),
        ("<size unit='KiB'>1025</size>", 2),  # rounded up
        ("<size unit='k'>2048</size>", 2),
        ("<size unit='M'>3</size>", 3),
        ("<size unit='GiB'>1</size>", 1024),
        ("<size unit='b'>1</size>", 1),
        ("<size unit='bytes'>1048576</size>", 1),
        ("<size unit='MB'>1</size>", 1),
        ("<size unit='TiB'> 1 </size>", 1 << 20),
        ("<size unit='furlong'>1</size>", 0),
        ("<size>much</size>", 0),
        ("<size/>", 0),
    ],
)
def test_sizes_come_in_libvirts_units(text: str, mib: int) -> None:
    assert Thing.parse(f"<thing>{text}</thing>").size == mib


DAMAGED = [
    "<counts><inner count='many'/></counts>",
    "<power state='maybe'/>",
    "<size unit='furlong'>1</size>",
    "<size>x</size>",
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_value_is_missing_or_in_a_strict_document_an_error(text: str) -> None:
    assert Thing.parse(f"<thing>{text}</thing>").values() == Thing().values()
    with pytest.raises(DocumentError):
        StrictThing.parse(f"<thing>{text}</thing>").values()


def test_a_strict_list_needs_its_attributes() -> None:
    assert Thing.parse("<thing><pair a='1'/></thing>").pairs == (("1", ""),)
    with pytest.raises(DocumentError, match="pair lacks b"):
        StrictThing.parse("<thing><pair a='1'/></thing>").values()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives_as_an_attribute(text: str) -> None:
    assert unescape(escape(text)) == text
    assert Thing.parse(Thing(label=text).text).label == text
