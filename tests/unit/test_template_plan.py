"""Plans for templates, their options, and their descriptors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.image import ImageFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import (
    template_descriptor,
    template_image,
    template_of,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Template, TemplateCopy
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import (
    decode_claim,
    decode_descriptor,
    encode_claim,
    encode_descriptor,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_spec import TemplateSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Mark, Owner, Phase
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.template import (
    CopyImage,
    OnHost,
    SourceFacts,
    WriteDescriptor,
    must_read,
    plan_absent,
    plan_present,
    same_image,
    would_delete,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.face.template_options import template_spec

SUM, OTHER_SUM = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NOW = "2026-01-01T00:00:00Z"
TEMPLATE = Template("t", "qcow2", 1024**3, 1000, SUM, source="/i", source_mtime=5, created=NOW)
IMAGE = ImageFacts("qcow2", 1024**3, 1000)
FILE = SourceFacts("/i", mtime=5, image=IMAGE)


def ready(host: str = "h1", template: Template = TEMPLATE, **values: Any) -> OnHost:
    return OnHost(TemplateCopy(host, "default", "/p/tmpl-t.qcow2", template, True, "", "t", ("d", "i")), **values)


def absent(host: str = "h1") -> OnHost:
    return OnHost(TemplateCopy(host, "default", "", None, False, "nothing", "t"))


def half(host: str = "h1", **values: Any) -> OnHost:
    return OnHost(TemplateCopy(host, "default", "", None, False, "half", "t", ("tmpl-t.qcow2",)), **values)


SAME: list[tuple[dict[str, Any], SourceFacts, bool | None]] = [
    ({}, SourceFacts(), True),
    ({"src": "/i"}, FILE, True),
    ({"src": "/i"}, replace(FILE, mtime=6), None),
    ({"src": "/i"}, replace(FILE, image=replace(IMAGE, file_size=999)), None),
    ({"src": "/j"}, replace(FILE, text="/j"), None),
    ({"src": "/i"}, replace(FILE, exists=False), True),
    ({"src": "/i"}, replace(FILE, checksum=SUM), True),
    ({"src": "/i"}, replace(FILE, checksum=OTHER_SUM), False),
    ({"src": "/i", "checksum": SUM}, replace(FILE, mtime=6), True),
    ({"src": "/i", "checksum": OTHER_SUM}, FILE, False),
    ({"src": "/i", "checksum": "md5:" + "0" * 32}, FILE, None),
    ({"checksum": OTHER_SUM}, SourceFacts(), False),
    ({"checksum": "md5:" + "0" * 32}, SourceFacts(), False),
    ({"url": "http://h/i"}, SourceFacts("/i"), True),
    ({"url": "http://h/j"}, SourceFacts("http://h/j"), None),
    ({"vm": "web"}, SourceFacts("/i"), True),
    ({"vm": "web"}, SourceFacts("vm:web"), False),
]


@pytest.mark.parametrize(("options", "source", "answer"), SAME)
def test_whether_it_is_the_wanted_image(options: dict[str, Any], source: SourceFacts, answer: bool | None) -> None:
    assert same_image(TemplateSpec("t", **options), TEMPLATE, source) is answer


def test_a_checksum_that_was_verified_before_is_known() -> None:
    template = replace(TEMPLATE, verified="md5:" + "0" * 32)
    assert same_image(TemplateSpec("t", url="u", checksum="md5:" + "0" * 32), template, SourceFacts("v")) is True


def test_the_source_is_read_only_where_that_decides() -> None:
    moved = replace(FILE, mtime=6)
    assert must_read(TemplateSpec("t", src="/i"), [ready()], moved)
    assert not must_read(TemplateSpec("t", src="/i"), [ready()], FILE)
    assert not must_read(TemplateSpec("t", src="/i"), [absent(), half()], moved)
    assert not must_read(TemplateSpec("t", src="/i"), [ready()], replace(moved, checksum=OTHER_SUM))
    different = TemplateSpec("t", src="/i", checksum=OTHER_SUM)
    assert not must_read(different, [ready()], FILE)
    assert must_read(replace(different, forced=True), [ready()], FILE)


def test_what_stands_on_an_image_is_looked_for_only_where_it_would_go() -> None:
    spec = TemplateSpec("t", src="/i")
    other = replace(FILE, checksum=OTHER_SUM)
    assert not would_delete(spec, ready(), FILE)
    assert not would_delete(spec, ready(), other)
    assert would_delete(replace(spec, forced=True), ready(), other)
    assert would_delete(spec, half(), FILE)
    assert not would_delete(spec, absent(), FILE)
    assert would_delete(TemplateSpec("t", state="absent"), ready(), SourceFacts())


def test_each_host_gets_what_it_lacks() -> None:
    hosts = {"h1": ready("h1"), "h2": absent("h2"), "h3": half("h3")}
    plan = plan_present(TemplateSpec("t", src="/i", featured=True), hosts, FILE, "later")
    wanted = replace(TEMPLATE, featured=True)
    assert plan.steps[0] == WriteDescriptor("h1", TEMPLATE, wanted)
    made = replace(wanted, checksum="", created="later")
    assert plan.steps[1:] == (CopyImage("h2", made), CopyImage("h3", made))
    assert plan.refusals == ()


def test_a_plan_that_was_carried_out_leaves_nothing_to_do() -> None:
    spec = TemplateSpec("t", src="/i", labels=(("a", "b"),), display_text="x")
    plan = plan_present(spec, {"h1": absent()}, replace(FILE, checksum=SUM), NOW)
    assert plan.predicted
    again = plan_present(spec, {"h1": OnHost(plan.predicted[0])}, FILE, NOW)
    assert (again.changed, again.predicted) == (False, plan.predicted)


def test_refusals() -> None:
    other = replace(FILE, checksum=OTHER_SUM)
    spec, forced = TemplateSpec("t", src="/i"), TemplateSpec("t", src="/i", forced=True)

    def codes(spec: TemplateSpec, on: OnHost, source: SourceFacts = other) -> list[Code]:
        return [error.code for error in plan_present(spec, {"h1": on}, source, NOW).refusals]

    assert codes(spec, ready()) == [Code.CONFLICT]
    assert codes(forced, ready()) == []
    assert codes(spec, ready(used_by=("web",))) == codes(forced, ready(used_by=("web",))) == [Code.IN_USE]
    assert codes(forced, ready(standing=("default/x",))) == [Code.IN_USE]
    assert codes(spec, half(standing=("default/x",))) == [Code.IN_USE]
    assert codes(spec, half(used_by=("web",))) == []  # its disk came along from another host
    assert codes(TemplateSpec("t"), absent(), SourceFacts()) == [Code.NOT_FOUND]
    assert codes(spec, absent(), SourceFacts("/i", exists=False)) == [Code.INVALID_INPUT]
    assert [error.code for error in plan_absent({"h1": ready(used_by=("web",))}).refusals] == [Code.IN_USE]
    assert plan_absent({"h1": absent()}).steps == ()


# Options


def options(**values: Any) -> dict[str, Any]:
    return {"name": "t", **values}


def test_options_that_are_left_out_are_not_managed() -> None:
    spec = template_spec(options(src=None, labels=None, featured=None, forced=False))
    assert spec == TemplateSpec("t")
    assert spec.described == {}


@pytest.mark.parametrize(
    "values",
    [
        {"name": "../etc/passwd"},
        {"name": "a/b"},
        {"name": ""},
        {"name": "x" * 200},
        {"format": "vmdk"},
        {"state": "gone"},
        {"src": "/i", "url": "http://h/i"},
        {"src": "/i", "state": "extracted", "dest": "/x"},
        {"state": "extracted"},
        {"dest": "/x"},
        {"checksum": "abc"},
        {"checksum": "sha256:abc"},
        {"checksum": f"sha1:{'a' * 40}"},
        {"checksum": f"sha256:{'g' * 64}"},
        {"vm": "web", "checksum": SUM},
        {"vm": "web", "format": "iso"},
        {"volume": "only-a-name"},
        {"volume": "a/b/c"},
        {"boot_type": "efi"},
        {"display_text": "two\nlines"},
    ],
)
def test_options_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(AblestackError) as caught:
        template_spec(options(**values))
    assert caught.value.code is Code.INVALID_INPUT


def test_a_checksum_in_capitals() -> None:
    assert template_spec(options(checksum=f" SHA256:{'A' * 64}")).checksum == SUM


# Descriptors and names

TEXTS = st.text(max_size=40)


@given(
    text=TEXTS,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=4),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    size=st.integers(0, 2**60),
)
def test_a_descriptor_comes_back_as_it_went(
    text: str, labels: dict[str, str], flags: tuple[bool, bool, bool], size: int
) -> None:
    ssh, scaling, featured = flags
    template = replace(
        TEMPLATE,
        display_text=text,
        labels=tuple(sorted(labels.items())),
        ssh_key_enabled=ssh,
        dynamic_scaling=scaling,
        featured=featured,
        size=size,
    )
    content = encode_descriptor(template)
    assert len(content) >= 4096
    assert decode_descriptor(content) == decode_descriptor(content + b"\0" * 512) == template
    assert decode_claim(content) is None


def test_a_claim_is_no_descriptor() -> None:
    mark = Mark(Phase.DEPLOYING, NOW, owner=Owner("here", 1, 2, "token"))
    content = encode_claim(mark)
    assert decode_claim(content) == mark
    with pytest.raises(AblestackError) as caught:
        decode_descriptor(content)
    assert caught.value.code is Code.INVALID_STATE


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"{", b"[]", b"null", b'{"schema": 1}', b'{"schema": "x"}', b"\xff\xfe", b'{"a": 1}']
)
def test_damage_is_told_as_such(content: bytes) -> None:
    with pytest.raises(AblestackError) as caught:
        decode_descriptor(content)
    assert caught.value.code is Code.INVALID_STATE


def test_older_and_newer_descriptors() -> None:
    data = json.loads(encode_descriptor(TEMPLATE))
    later = json.dumps({**data, "schema": 2}).encode()
    for decode in (decode_descriptor, decode_claim):
        with pytest.raises(AblestackError) as caught:
            decode(later)
        assert caught.value.code is Code.UNSUPPORTED
    assert decode_descriptor(json.dumps({**data, "unknown": 1}).encode()) == TEMPLATE
    del data["labels"], data["featured"]
    assert decode_descriptor(json.dumps(data).encode()) == TEMPLATE


@given(name=st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?\Z"))
def test_every_volume_of_a_template_leads_back_to_it(name: str) -> None:
    assert {template_of(template_image(name, kind)) for kind in ("qcow2", "raw", "iso")} == {name}
    assert template_of(template_descriptor(name)) == name


@pytest.mark.parametrize("volume", ["vol-a.qcow2", "tmpl-a.vmdk", "tmpl-a", "tmpl-.json", "xtmpl-a.raw"])
def test_other_volumes_are_no_templates(volume: str) -> None:
    assert template_of(volume) == ""
