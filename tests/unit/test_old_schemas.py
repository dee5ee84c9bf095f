# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every released schema wrote on hosts is read for ever: one sample of each, never changed once released."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.template_descriptor import (
    SCHEMA,
    decode_descriptor,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import read_domain
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import VERSION
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.network_mapping import read_network

SAMPLES = Path(__file__).parent / "golden"
READERS = {
    "domain.xml": lambda text: asdict(read_domain(text)),
    "network.xml": lambda text: asdict(read_network(text, False)),
    "template.json": lambda text: asdict(decode_descriptor(text.encode())),
}
FOLDERS = sorted(SAMPLES.glob("schema-*"))


def test_every_schema_has_its_samples() -> None:
    assert [folder.name for folder in FOLDERS] == [f"schema-{number}" for number in range(1, max(VERSION, SCHEMA) + 1)]


@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_was_written_is_read_as_it_was_meant(folder: Path, kind: str) -> None:
    read = json.loads(json.dumps(READERS[kind]((folder / kind).read_text(encoding="utf-8"))))
    meant = folder / f"{kind}.meant.json"
    if os.environ.get("ABLESTACK_NEW_SCHEMA") == folder.name:  # once, when the schema is new
        meant.write_text(json.dumps(read, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert part_of(json.loads(meant.read_text(encoding="utf-8")), read)


def part_of(old: Any, new: Any) -> bool:
    """All that was read then is read now; what is known since may be there, too."""
    if isinstance(old, Mapping):
        return isinstance(new, Mapping) and all(key in new and part_of(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(part_of, old, new))
    return bool(old == new)


def test_a_lost_value_is_noticed() -> None:
    assert part_of({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}], "d": 3})
    assert not part_of({"a": [{"b": 1}]}, {"a": [{"b": 2}]})
    assert not part_of({"a": 1}, {})
