# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The descriptor of a template: JSON in a volume beside its image, which says that the image is complete.

While somebody writes or deletes the image it holds a claim instead: who does that, and since when.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from .errors import AblestackError, Code
from .resources import Template
from .values import parse_time
from .vm import Mark, Owner, Phase

SCHEMA = 1
MIN_SIZE = 4096
"""Bytes; descriptors are filled up to this, so that one can replace another, or a claim, in a single write."""
MAX_SIZE = 1024 * 1024
"""Bytes; a larger file is none of ours and is not read."""
_UNWRITTEN = Mark(Phase.DEPLOYING)
_KINDS = {"str": str, "int": int, "bool": bool}  # of the fields, as their annotations name them


def encode_descriptor(template: Template) -> bytes:
    """The descriptor of a template that is complete."""
    return _encode({**asdict(template), "labels": dict(template.labels)})


def encode_claim(mark: Mark, beat: int = 0) -> bytes:
    """The descriptor of one that is not; its owner counts `beat` up as long as he lives."""
    owner = asdict(mark.owner) if mark.owner else {}
    return _encode({"claim": {"phase": mark.phase.value, "since": mark.since, "owner": owner, "beat": beat}})


def decode_descriptor(content: bytes) -> Template:
    """The template a descriptor tells of. InvalidState where it is a claim or not readable, Unsupported where newer."""
    data = _decode(content)
    if "claim" in data:
        since = _claim(data).since
        raise AblestackError(Code.INVALID_STATE, f"its image is not complete: somebody began to write it at {since}")
    try:
        labels = tuple(sorted((str(key), str(value)) for key, value in data.pop("labels", {}).items()))
        kinds = {entry.name: _KINDS[str(entry.type)] for entry in fields(Template) if str(entry.type) in _KINDS}
        values = {key: value for key, value in data.items() if key in kinds}
        if not all(_is(kinds[key], value) for key, value in values.items()):
            raise TypeError
        return Template(**values, labels=labels)
    except (TypeError, AttributeError, RecursionError) as error:
        raise AblestackError(Code.INVALID_STATE, "its descriptor is damaged") from error


def _is(kind: type, value: object) -> bool:
    """Truth values are numbers to Python, and not to us."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def decode_claim(content: bytes) -> Mark | None:
    """Who writes: None where the template is complete, a mark without owner where the content is not readable (yet)."""
    try:
        data = _decode(content)
    except AblestackError as error:
        if error.code is Code.UNSUPPORTED:
            raise
        return _UNWRITTEN
    return _claim(data) if "claim" in data else None


def _claim(data: dict[str, Any]) -> Mark:
    try:
        claim = data["claim"]
        owner = Owner(**claim["owner"])
        kinds = {entry.name: _KINDS[str(entry.type)] for entry in fields(Owner)}
        if not all(_is(kind, getattr(owner, name)) for name, kind in kinds.items()):
            raise TypeError
        parse_time(claim["since"])
        return Mark(Phase(claim["phase"]), claim["since"], owner=owner)
    except (ValueError, KeyError, TypeError, RecursionError):
        return _UNWRITTEN


def _encode(data: dict[str, Any]) -> bytes:
    # Spaces after a JSON document mean nothing.
    text = json.dumps({"schema": SCHEMA, **data}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode().ljust(MIN_SIZE)


def _decode(content: bytes) -> dict[str, Any]:
    try:
        data = dict(json.loads(content.rstrip(b"\0").decode()))
        schema = int(data.pop("schema"))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise AblestackError(Code.INVALID_STATE, "its descriptor is damaged") from error
    if schema > SCHEMA:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"its descriptor was written by a newer version of this collection (schema {schema})",
            "update the collection",
        )
    return data
