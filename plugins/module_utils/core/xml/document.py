# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML documents: a safe parser, and fields that read and edit an element tree in place, one declarative line each.

A path is relative to the document's element: `os/type@arch` is an attribute, `os/type` a text, and
`firmware/feature[@name='secure-boot']@enabled` the attribute of the element with that name. Whatever no field
names stays in the tree as it was.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Callable, Generic, TypeVar
from xml.etree import ElementTree

Element = ElementTree.Element
T = TypeVar("T")
D = TypeVar("D", bound="Document")

# ElementTree would call them ns0, ns1, …; libvirt goes by the URI, but people read the definition too.
for _prefix, _uri in (
    ("ablestack-seed", "https://ablestack.io/xmlns/kvm/1/seed"),
    ("ablestack", "https://ablestack.io/xmlns/kvm/1"),
    ("qemu", "http://libvirt.org/schemas/domain/qemu/1.0"),
    ("libosinfo", "http://libosinfo.org/xmlns/libvirt/domain/1.0"),
    ("dnsmasq", "http://libvirt.org/schemas/network/dnsmasq/1.0"),
):
    ElementTree.register_namespace(_prefix, _uri)


class DocumentError(ValueError):
    """The text is not XML we take, or a value in a strict document is damaged."""


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DocumentError("the document has a DOCTYPE")


def parse(text: str) -> Element:
    """The element tree of a text; comments survive. DocumentError where it is malformed or has a DOCTYPE."""
    _refuse_doctype(text)
    parser = ElementTree.XMLParser(target=_Builder(insert_comments=True, insert_pis=True))  # noqa: S314  it is made safe here
    try:
        parser.feed(text)
        root: Element = parser.close()
    except (ElementTree.ParseError, UnicodeError) as error:
        raise DocumentError(f"the document is malformed: {error}") from None
    return root


def _refuse_doctype(text: str) -> None:
    """Before the parser sees it: entities are declared in a DOCTYPE, and expat expands them as it goes."""
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        begin = "<!--" if text.startswith("<!--", at) else text[at : at + 2]
        end = {"<!--": "-->", "<?": "?>"}.get(begin)
        if end is None:
            break
        found = text.find(end, at + len(begin))  # in "<!-->" the comment only begins
        at = len(text) if found < 0 else found + len(end)
    if text.startswith("<!DOCTYPE", at):
        raise DocumentError("the document has a DOCTYPE")


def serialize(element: Element) -> str:
    """The tree as text."""
    return ElementTree.tostring(element, encoding="unicode")


# --- paths

_STEP = re.compile(r"([^\[]+)(?:\[@(\w+)='([^']*)'\])?\Z")


def _split(path: str) -> tuple[list[str], str]:
    """The steps to the element, and the attribute (empty for its text)."""
    elements, _at, attribute = path, "", ""
    if re.search(r"@[\w-]+\Z", path):
        elements, _at, attribute = path.rpartition("@")
    return [step for step in elements.split("/") if step], attribute


def _steps(path: str) -> list[str]:
    return path.split("/") if path else []


def _find(element: Element, steps: list[str]) -> Element | None:
    """The element at the end of the steps, by the first of each name: one step at a time costs a third of a path."""
    for step in steps:
        found = element.find(step)
        if found is None:
            return None
        element = found
    return element


def _make(element: Element, steps: list[str]) -> Element:
    """The element at the end of the steps; what is missing on the way is made."""
    for step in steps:
        found = element.find(step)
        if found is None:
            name, attribute, value = _STEP.match(step).groups()  # type: ignore[union-attr]
            found = ElementTree.SubElement(element, name, {attribute: value} if attribute else {})
        element = found
    return element


def _prune(element: Element, steps: list[str]) -> None:
    """Removes the element at the end of the steps where nothing is left in it, and then its parents likewise."""
    for length in range(len(steps), 0, -1):
        found, parent = _find(element, steps[:length]), _find(element, steps[: length - 1])
        if found is None or parent is None or len(found) or (found.text or "").strip():
            return
        matching = _STEP.match(steps[length - 1])
        if set(found.attrib) - {matching.group(2) if matching else None}:
            return
        parent.remove(found)


# --- fields


class Field(Generic[T]):
    """One value of a document, `missing` where it is absent. Setting a false value removes it."""

    def __init__(self, path: str, read: Callable[[str], T], write: Callable[[T], str], missing: T) -> None:
        self.path = path
        self.steps, self.attribute = _split(path)
        self.read, self.write, self.missing = read, write, missing

    def __get__(self, document: Document, kind: type) -> T:
        place = document.element
        for step in self.steps:  # as _find does, without a call: fields are half of what reading costs
            found = place.find(step)
            if found is None:
                return self.missing
            place = found
        text = place.get(self.attribute) if self.attribute else place.text
        if text is None:
            return self.missing
        try:
            return self.value(place, text)
        except (ValueError, OverflowError):
            if document.strict:
                raise DocumentError(f"{self.path} is '{text}'") from None
            return self.missing

    def value(self, place: Element, text: str) -> T:
        return self.read(text)

    def __set__(self, document: Document, value: T) -> None:
        if value:
            self.put(_make(document.element, self.steps), self.write(value))
            return
        place = _find(document.element, self.steps)
        if place is not None:
            self.drop(place)
            _prune(document.element, self.steps)

    def put(self, place: Element, text: str) -> None:
        if self.attribute:
            place.set(self.attribute, text)
        else:
            place.text = text

    def drop(self, place: Element) -> None:
        if self.attribute:
            place.attrib.pop(self.attribute, None)
        else:
            place.text = None


class Text(Field[str]):
    """A text without surrounding white space."""

    def __init__(self, path: str, missing: str = "") -> None:
        super().__init__(path, str.strip, str, missing)


class Number(Field[int]):
    def __init__(self, path: str, missing: int = 0) -> None:
        super().__init__(path, int, str, missing)


class Switch(Field[bool]):
    """A word for true and one for false."""

    def __init__(self, path: str, on: str = "yes", off: str = "no", missing: bool = False) -> None:
        super().__init__(path, {on: True, off: False}.__getitem__, lambda value: on, missing)

    def value(self, place: Element, text: str) -> bool:
        try:
            return self.read(text)
        except KeyError:
            raise ValueError(text) from None


# What XML cannot carry or would normalise, and the escape itself.
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


class AnyText(Field[str]):
    """A text of any characters at all, in an attribute: what XML cannot carry is written as its code."""

    def __init__(self, path: str) -> None:
        super().__init__(path, unescape, escape, "")


def escape(text: str) -> str:
    """As attributes hold any text: see AnyText."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def unescape(text: str) -> str:
    """The text behind `escape`."""
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text)


_DECIMAL = {"kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4, "pb": 1000**5, "eb": 1000**6}
_BINARY = {prefix + suffix: 1024**power for power, prefix in enumerate("kmgtpe", 1) for suffix in ("", "ib")}
_UNITS: dict[str, int] = {"b": 1, "byte": 1, "bytes": 1, **_DECIMAL, **_BINARY}


class Size(Field[int]):
    """A size with libvirt's units in the `unit` attribute; our value counts `unit`s, rounded up."""

    def __init__(self, path: str, unit: str = "MiB", implied: str = "KiB") -> None:
        super().__init__(path, int, str, 0)
        self.unit, self.implied = unit, implied

    def value(self, place: Element, text: str) -> int:
        scale = _UNITS.get(place.get("unit", self.implied).strip().lower())
        if scale is None:
            raise ValueError(text)
        own: int = _UNITS[self.unit.lower()]
        return -(-int(text) * scale // own)

    def put(self, place: Element, text: str) -> None:
        super().put(place, text)
        place.set("unit", self.unit)

    def drop(self, place: Element) -> None:
        super().drop(place)
        place.attrib.pop("unit", None)


class ExactSize(Size):
    """A size that is written where it is zero, too."""

    def __set__(self, document: Document, value: int) -> None:
        self.put(_make(document.element, self.steps), self.write(value))


class Flag(Field[bool]):
    """True where the element is there; it goes with all that is in it."""

    def __init__(self, path: str) -> None:
        super().__init__(path, bool, str, False)

    def __get__(self, document: Document, kind: type) -> bool:
        return _find(document.element, self.steps) is not None

    def put(self, place: Element, text: str) -> None:
        pass

    def drop(self, place: Element) -> None:
        place.clear()


class Values(Generic[T]):
    """A tuple of one attribute of elements that repeat: `group@name`."""

    def __init__(self, path: str, read: Callable[..., T], write: Callable[[T], tuple[str, ...]], *more: str) -> None:
        steps, attribute = _split(path)
        self.parent, self.name = steps[:-1], steps[-1]
        self.attributes = (attribute, *more)
        self.read, self.write = read, write

    def __get__(self, document: Document, kind: type) -> tuple[T, ...]:
        parent = _find(document.element, self.parent)
        return () if parent is None else tuple(self._one(document, found) for found in parent.findall(self.name))

    def _one(self, document: Document, found: Element) -> T:
        texts = [found.get(attribute) for attribute in self.attributes]
        if document.strict and None in texts:
            raise DocumentError(f"{self.name} lacks {self.attributes[texts.index(None)]}")
        return self.read(*(text or "" for text in texts))

    def __set__(self, document: Document, values: tuple[T, ...]) -> None:
        parent = _find(document.element, self.parent)
        for found in [] if parent is None else parent.findall(self.name):
            parent.remove(found)  # type: ignore[union-attr]
        for value in values:
            place = _make(document.element, self.parent)
            ElementTree.SubElement(place, self.name, dict(zip(self.attributes, self.write(value))))


class Names(Values[str]):
    """A tuple of texts: one attribute of elements that repeat."""

    def __init__(self, path: str) -> None:
        super().__init__(path, unescape, lambda text: (escape(text),))


class Pairs(Values["tuple[str, str]"]):
    """A tuple of pairs of texts: two attributes of elements that repeat."""

    def __init__(self, path: str, second: str) -> None:
        super().__init__(
            path, lambda a, b: (unescape(a), unescape(b)), lambda pair: (escape(pair[0]), escape(pair[1])), second
        )


class Document:
    """An element with fields. `strict` ones raise DocumentError on a damaged value, others take it as missing."""

    tag = ""
    strict = False

    def __init__(self, element: Element | None = None, **values: Any) -> None:
        self.element = ElementTree.Element(self.tag) if element is None else element
        for name, value in values.items():
            setattr(self, name, value)

    @classmethod
    def parse(cls: type[D], text: str) -> D:
        return cls(parse(text))

    @property
    def text(self) -> str:
        return serialize(self.element)

    @classmethod
    @cache
    def fields(cls) -> tuple[str, ...]:
        """The names of all fields."""
        kinds = reversed(cls.__mro__)
        return tuple(name for kind in kinds for name, field in vars(kind).items() if isinstance(field, (Field, Values)))

    def values(self) -> dict[str, Any]:
        """All fields by name."""
        return {name: getattr(self, name) for name in self.fields()}

    def children(self, kind: type[D], path: str = "") -> list[D]:
        """The elements of that kind below the path."""
        parent = _find(self.element, _steps(path))
        return [] if parent is None else [kind(found) for found in parent.findall(kind.tag)]

    def add(self, child: Document, path: str = "") -> None:
        """Puts a child behind the others at the path, which is made where it is missing."""
        _make(self.element, _steps(path)).append(child.element)

    def remove(self, child: Document, path: str = "") -> None:
        """Takes a child out from below the path."""
        parent = _find(self.element, _steps(path))
        if parent is not None:
            parent.remove(child.element)
