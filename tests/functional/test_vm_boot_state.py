# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVRAM and TPM state of a VM whose firmware changes: kept for a way back, and gone when it is expunged."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from functional.test_vm_change import VM, apply, domain, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import VmRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.memory_calls import Killed
from support.samples import ID, vm_config
from support.test_driver import driver_host
from support.worlds import World, put_template

SECURE_TPM: dict[str, Any] = {"boot_type": "uefi", "boot_mode": "secure", "tpm": True}
LEGACY: dict[str, Any] = {"boot_type": "uefi", "boot_mode": "legacy"}
BIOS: dict[str, Any] = {"boot_type": "bios", "tpm": False}


def kept(world: World) -> list[str]:
    return sorted(kind for _id, kind in world.state.boot_state)


def boots_by(world: World, **options: Any) -> None:
    assert apply(world, name="web1", state="restarted", allow_restart=True, **options).changed


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("ways", [(BIOS,), (LEGACY,), (LEGACY, BIOS), (BIOS, SECURE_TPM), ()])
def test_an_expunged_vm_leaves_nothing_of_any_firmware_it_had(ways: tuple[dict[str, Any], ...], killed: bool) -> None:
    world = site()
    apply(world, **VM, **SECURE_TPM)
    for way in ways:
        boots_by(world, **way)
    assert {"secure", "tpm"} <= {*kept(world)}
    if killed:
        controller = world.controller()
        controller.hosts["kvm01"].fail_at("undefine", Killed())
        with pytest.raises(Killed), controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(name="web1", state="expunged", wait="none"))
    apply(world, name="web1", state="expunged")
    assert kept(world) == []


def test_what_is_used_again_is_not_left_over_any_more() -> None:
    world = site()
    apply(world, **VM, **SECURE_TPM)
    boots_by(world, **BIOS)
    assert record(world).boot_left == ("secure", "tpm")
    boots_by(world, boot_type="uefi", boot_mode="secure")
    assert record(world).boot_left == ("tpm",)
    boots_by(world, tpm=True)
    assert record(world).boot_left == ()
    assert kept(world) == ["secure", "tpm"]


def test_a_reinstall_from_a_template_of_another_boot_type_counts_too() -> None:
    world = site()
    put_template(world.pool, "old", boot_type="bios")
    apply(world, **VM, **LEGACY)
    apply(world, name="web1", state="reinstalled", template="old")
    assert record(world).boot_left == ("legacy",)
    apply(world, name="web1", state="expunged")
    assert kept(world) == []


def record(world: World) -> VmRecord:
    found = domain(world).config.record
    assert found is not None
    return found


def test_what_is_left_goes_with_definitions_that_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with driver_host(tmp_path) as host:
        host.define(vm_config(virt_type="test"))
        defined: list[str] = []
        original = host._connection.defineXML

        def define(text: str) -> Any:
            defined.append(text)
            return original(text)

        monkeypatch.setattr(host._connection, "defineXML", define)
        host.undefine(ID, ("legacy", "secure", "tpm"))
        assert [ref.domain_name for ref in host.domains()] == ["others"]
    legacy, secure, tpm = defined
    assert f"web1-{ID[:8]}_VARS.fd</nvram>" in legacy
    assert f"web1-{ID[:8]}_SECURE_VARS.fd</nvram>" in secure
    # a run that was killed after the first of them finds it by its id
    assert f"<uuid>{uuid.uuid5(uuid.UUID(ID), 'legacy')}</uuid>" in legacy
    assert f"<uuid>{ID}</uuid>" in tpm
    assert "<tpm " in tpm
