# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The descriptor of a template: JSON in a volume beside its image, whose presence says that the image is complete."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from .errors import AblestackError, Code
from .resources import Template

SCHEMA = 1
MAX_DESCRIPTOR = 1024 * 1024
"""Bytes; a larger file is none of ours and is not read."""


def encode_descriptor(template: Template) -> bytes:
    """The descriptor's content."""
    data: dict[str, Any] = {"schema": SCHEMA, **asdict(template), "labels": dict(template.labels)}
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_descriptor(content: bytes) -> Template:
    """The template a descriptor tells of; InvalidState where it is cut off, not ours, or of a newer version than ours.

    Zero bytes at its end are the volume's padding.
    """
    try:
        data = json.loads(content.rstrip(b"\0").decode())
        schema = int(data.pop("schema"))
        if schema > SCHEMA:
            raise AblestackError(
                Code.INVALID_STATE,
                f"the descriptor was written by a newer version of this collection (schema {schema})",
                "update the collection",
            )
        known = {entry.name for entry in fields(Template)}
        labels = tuple(sorted((str(key), str(value)) for key, value in data.pop("labels", {}).items()))
        return Template(**{key: value for key, value in data.items() if key in known}, labels=labels)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AblestackError(Code.INVALID_STATE, f"the descriptor is not readable ({error})") from error
