# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every document we emit is valid by libvirt's own schemas."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.naming import disk_target
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, NicConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.boot_mapping import nvram_holder
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import (
    apply,
    domain_of,
    new_domain,
    read_domain,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.host_mapping import new_volume
from support.samples import EDITS, KINDS, VOLUMES, golden, vm_config


def validate(folder: Path, texts: dict[str, str], schema: str) -> None:
    """One document after the other; virt-xml-validate names the file and the line of what is wrong."""
    wrong = []
    for name, text in texts.items():
        file = folder / f"{name.replace(' ', '-')}.xml"
        file.write_text(text, encoding="utf-8")
        run = subprocess.run(["virt-xml-validate", str(file), schema], capture_output=True, text=True, check=False)
        if run.returncode:
            wrong.append(run.stderr)
    assert wrong == []


def test_new_domains(tmp_path: Path) -> None:
    validate(tmp_path, {kind: new_domain(config).text for kind, config in KINDS.items()}, "domain")


def test_definitions_that_are_there_to_be_removed(tmp_path: Path) -> None:
    validate(tmp_path, {mode: nvram_holder(vm_config(), mode).text for mode in ("legacy", "secure")}, "domain")


def test_edited_domains(tmp_path: Path) -> None:
    texts = {}
    for name, (before, values) in EDITS.items():
        document = new_domain(before)
        apply(document, before, replace(before, **values))
        texts[name] = document.text
    validate(tmp_path, texts, "domain")


def test_every_combination_of_what_the_wizard_offers(tmp_path: Path) -> None:
    boots = (("bios", "legacy"), ("uefi", "legacy"), ("uefi", "secure"))
    root, drive, seed = vm_config().disks
    data = (DiskConfig("vdb", "/srv/vol-a.qcow2", max_iops=500), DiskConfig("vdx", "/srv/vol-b.qcow2"))
    second = NicConfig("52:54:00:00:00:02", "lan", "e1000e")
    hosts = cycle((("qemu", ""), ("kvm", "host-model"), ("kvm", "EPYC")))
    yes_or_no = (True, False)
    texts = {}
    for (boot_type, boot_mode), tpm, grows, more_disks, iso, more_nics in product(boots, *[yes_or_no] * 5):
        virt_type, cpu_mode = next(hosts)
        config = vm_config(
            boot_type=boot_type,
            boot_mode=boot_mode,
            tpm=tpm,
            max_cpu=4 if grows else 1,
            max_memory=1024 if grows else 256,
            disks=(root, *(data if more_disks else ()), replace(drive, path="/srv/tmpl-r.iso" if iso else ""), seed),
            nics=(*vm_config().nics, *((second,) if more_nics else ())),
            virt_type=virt_type,
            cpu_mode=cpu_mode,
        )
        document = new_domain(config)
        assert read_domain(document.text) == config
        texts[f"{boot_type}-{boot_mode}-{tpm}-{grows}-{more_disks}-{iso}-{more_nics}"] = document.text
    assert len(texts) == 3 * 2**5
    validate(tmp_path, texts, "domain")


def test_disks_beyond_the_letters(tmp_path: Path) -> None:
    targets = [disk_target(device) for device in (*range(4, 30), 701, 702)]
    assert (targets[21:24], targets[-2:]) == (["vdz", "vdaa", "vdab"], ["vdzz", "vdaaa"])
    config = vm_config()
    disks = tuple(DiskConfig(target, f"/srv/vol-{target}.qcow2") for target in targets)
    document = new_domain(replace(config, disks=(*config.disks, *disks)))
    assert [disk.target for disk in read_domain(document.text).disks[-len(targets) :]] == targets
    validate(tmp_path, {"many disks": document.text}, "domain")


def test_an_edited_definition_of_libvirts(tmp_path: Path) -> None:
    document = domain_of(golden("libvirt-stored.xml"))
    before = read_domain(golden("libvirt-stored.xml"))
    after = replace(
        before,
        memory=512,
        cpu=2,
        tpm=True,
        boot_type="bios",
        cpu_mode="",
        disks=(*before.disks, DiskConfig("vdb", "/x")),
    )
    apply(document, before, after)
    validate(tmp_path, {"stored": document.text}, "domain")


def test_volumes(tmp_path: Path) -> None:
    validate(tmp_path, {kind: new_volume(spec) for kind, spec in VOLUMES.items()}, "storagevol")


def test_what_is_not_valid_is_found(tmp_path: Path) -> None:
    document = new_domain(vm_config())
    document.machine = ""
    document.memory_slots = 3
    with pytest.raises(AssertionError):
        validate(tmp_path, {"bad": document.text}, "domain")
