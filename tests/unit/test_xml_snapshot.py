# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot documents: one of libvirt's read and edited, those we make valid by its schemas, chains of running disks."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.snapshot import DISK, MEMORY
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Hold, Owner
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.document import Document, serialize
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import (
    hold_element,
    hold_namespace,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.snapshot_mapping import (
    chain_of,
    continued,
    described,
    disowned,
    is_ready,
    new_checkpoint,
    new_helper,
    new_snapshot,
    read_snapshot,
    recorded,
    relocated,
)
from support.samples import golden

TEXT = golden("libvirt-snapshot.xml")
FOUND = read_snapshot(TEXT, "s1")
OTHERS = Document.parse(TEXT).element


def overlays(text: str) -> list[str]:
    """The files that a document names as overlays."""
    return [source.get("file", "") for source in Document.parse(text).element.findall("disks/disk/source")]


def test_a_snapshot_of_libvirts_is_read_with_the_vm_of_that_time() -> None:
    assert (FOUND.name, FOUND.kind, FOUND.description) == ("s1", DISK, "first")
    assert FOUND.current
    assert not read_snapshot(TEXT, "another").current
    assert FOUND.created > 1_600_000_000
    assert [target for target, _path in FOUND.images] == ["vda", "vdb", "vdc"]
    assert set(FOUND.images) < {(disk.target, disk.path) for disk in FOUND.config.disks}
    assert not {path for _target, path in FOUND.images} & set(overlays(TEXT))
    record = FOUND.config.record
    assert record is not None
    assert record.compute_offering == "tiny"
    assert "s1" in record.snapshots


def test_edits_change_what_they_say_and_nothing_else() -> None:
    assert read_snapshot(described(TEXT, "second"), "").description == "second"
    assert described(described(TEXT, "second"), "first") == described(TEXT, "first")
    assert overlays(continued(TEXT, {"vdb": "/x.qcow2"})) == [overlays(TEXT)[0], "/x.qcow2", overlays(TEXT)[2]]
    assert read_snapshot(continued(TEXT, {"vdb": "/x.qcow2"}), "s1") == FOUND
    assert not set(overlays(disowned(TEXT))) & set(overlays(TEXT))
    assert read_snapshot(disowned(TEXT), "s1") == FOUND


def test_the_vm_of_then_is_given_another_record_and_nobody_works_on_it() -> None:
    note = serialize(hold_element(Hold(Owner("there", 1, 2, "aa"), "2026-01-01T00:00:00Z")))
    named = note.replace("<hold", f'<hold xmlns="{hold_namespace("aa")}"')
    noted = TEXT.replace("</metadata>", f"{named}</metadata>")
    assert "/hold/aa" in noted
    record = FOUND.config.record
    assert record is not None
    other = replace(record, compute_offering="another")
    again = recorded(noted, other)
    assert "/hold/aa" not in again
    assert read_snapshot(again, "s1") == replace(FOUND, config=replace(FOUND.config, record=other))


def test_images_that_moved_are_named_anew_wherever_they_were() -> None:
    assert relocated(TEXT, {"/nowhere": "/x"}) is None
    target, path = FOUND.images[1]
    moved = relocated(TEXT, {path: "/x.qcow2", overlays(TEXT)[0]: "/y.qcow2"})
    assert moved is not None
    assert dict(read_snapshot(moved, "").images)[target] == "/x.qcow2"
    assert overlays(moved)[0] == "/y.qcow2"
    assert path not in moved


def test_those_with_memory_and_those_without_a_definition_are_read() -> None:
    memory = TEXT.replace("<memory snapshot='no'/>", "<memory snapshot='internal'/>")
    assert read_snapshot(memory.replace("snapshot='external'", "snapshot='internal'"), "").kind == MEMORY
    document = Document.parse(TEXT)
    document.element.remove(document.element.find("domain"))  # type: ignore[arg-type]
    bare = read_snapshot(document.text, "")
    assert (bare.name, bare.images, bare.config.record) == ("s1", (), None)


def test_what_we_make_is_valid(tmp_path: Path) -> None:
    snapshots = {
        "disks": new_snapshot("s1", "a <b> & 'c'", {"vda": "/x & y.qcow2"}, ("sda", "sdb")),
        "checkpoint": new_checkpoint("m1", ""),
        "described": described(TEXT, "<&>"),
        "disowned": disowned(TEXT),
    }
    helper = new_helper("ablestack-merge-5e1f0e2c", "qemu", {"vda": ("/x.qcow2", "qcow2"), "vdb": ("/y", "raw")})
    for name, text in {**snapshots, "helper": helper}.items():
        file = tmp_path / f"{name}.xml"
        file.write_text(text, encoding="utf-8")
        schema = "domain" if name == "helper" else "domainsnapshot"
        run = subprocess.run(["virt-xml-validate", str(file), schema], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


def test_the_chain_of_a_running_disk_and_whether_a_copy_of_it_is_ready() -> None:
    running = golden("libvirt-running-chain.xml")
    assert chain_of(running, "vda") == (
        "/srv/default/top.qcow2",
        "/srv/default/middle.qcow2",
        "/srv/default/base.qcow2",
    )
    assert chain_of(running, "vdb") == ("/srv/default/alone.qcow2",)
    assert chain_of(running, "vdz") == ()
    assert is_ready(running, "vda")
    assert not is_ready(running, "vdb")
