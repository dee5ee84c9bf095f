# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many domains read together: in their order, each once, and what is wrong with one is said of that one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DomainRef, Power, VmRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.query import read_each, read_vms
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.remembered import Remembered
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import NAMESPACE
from support.memory_host import MemoryHost
from support.samples import vm_config
from support.test_driver import driver_host
from support.worlds import make_world

GONE = DomainRef("00000000-0000-0000-0000-000000000000", "gone", Power.OFF)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Any]:
    with driver_host(tmp_path) as host:
        yield host


def site(count: int) -> tuple[MemoryHost, tuple[DomainRef, ...]]:
    host = make_world().controller().hosts["kvm01"]
    for number in range(count):
        vm_id, name = f"5e1f0e2c-7a4b-4c1d-9a86-{number:012x}", f"web{number}"
        host.define(vm_config(id=vm_id, domain_name=name, record=VmRecord(name)))
    host.calls.clear()
    return host, host.domains()


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 99, 100, 101, 260])
def test_all_are_read_once_and_in_their_order(count: int) -> None:
    host, refs = site(count)
    for read, call in ((None, "vm"), (host.glances, "glance")):
        found = read_each(host, refs, read)
        assert [vm.id for vm in found if not isinstance(vm, AblestackError)] == [ref.id for ref in refs]
        asked = Counter(args[0] for name, args in host.calls if name == call)
        assert asked == Counter(refs)


def test_what_is_wrong_with_one_stands_in_its_place() -> None:
    host, refs = site(30)
    host.fail_at("vm", AblestackError(Code.INVALID_STATE, "its metadata is damaged"))
    rows = read_each(host, (*refs[:5], GONE, *refs[5:]))
    errors = [row.code for row in rows if isinstance(row, AblestackError)]
    assert (len(rows), sorted(errors)) == (31, [Code.INVALID_STATE, Code.NOT_FOUND])
    assert isinstance(rows[5], AblestackError)
    host.fail_at("vm", AblestackError(Code.INVALID_STATE, "its metadata is damaged"))
    vms, warnings = read_vms(host, (*refs, GONE))
    assert len(vms) == 29
    assert [text.partition("was left out: ")[2] for text in warnings] == ["its metadata is damaged."]


def test_a_host_that_no_longer_answers_is_an_error_for_all() -> None:
    host, refs = site(30)
    host.fail_at("vm", AblestackError(Code.HOST_UNAVAILABLE, "the connection is lost"))
    with pytest.raises(AblestackError, match="the connection is lost"):
        read_each(host, refs)


def test_with_a_memory_each_is_asked_for_once_whoever_is_left_out() -> None:
    host, refs = site(20)
    memory = Remembered(host)
    for without in refs:
        others = [ref for ref in refs if ref != without]
        assert [vm.id for vm in memory.glances(others) if not isinstance(vm, AblestackError)] == [
            ref.id for ref in others
        ]
    assert memory.vms(refs) == [memory.vm(ref) for ref in refs]
    asked = Counter(name for name, _args in host.calls if name in ("vm", "glance"))
    assert asked == {"glance": 20, "vm": 20}


def test_a_host_that_no_longer_answers_is_not_asked_for_each(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def lose(_domain: libvirt.virDomain, _flags: int) -> str:
        asked.append(1)
        raise libvirt.libvirtError("lost")

    (ref,) = driver.domains()
    monkeypatch.setattr(libvirt.virDomain, "XMLDesc", lose)
    monkeypatch.setattr(libvirt.libvirtError, "get_error_code", lambda _error: libvirt.VIR_ERR_RPC)
    for read in (driver.vms, driver.glances):
        asked.clear()
        with pytest.raises(AblestackError) as caught:
            read_each(driver, (ref,) * 1000, read)
        assert caught.value.code is Code.HOST_UNAVAILABLE
        assert len(asked) <= 1000 / 25  # one of each part; where it takes its time to fail, of those under way


def test_of_a_real_host_a_damaged_record_is_an_error_in_its_place(driver: Any) -> None:
    (other,) = driver.domains()
    damaged = f"<metadata><a:vm xmlns:a='{NAMESPACE}' version='1'/></metadata>"
    text = f"<name>bad</name>{damaged}<memory>1</memory><os><type>hvm</type></os>"
    driver._connection.defineXML(f"<domain type='test'>{text}</domain>")  # as others would
    rows = driver.domains()
    for read in (driver.vms, driver.glances):
        found = dict(zip((ref.domain_name for ref in rows), read_each(driver, rows, read)))
        assert isinstance(found.pop("bad"), AblestackError)
        assert [vm.id for vm in found.values() if not isinstance(vm, AblestackError)] == [other.id]


def test_of_a_real_host_one_that_is_gone_does_not_take_the_others_with_it(driver: Any) -> None:
    (ref,) = driver.domains()
    for read, alone in ((driver.vms, driver.vm), (driver.glances, driver.glance)):
        first, gone, last = read((ref, GONE, ref))
        assert first == last == alone(ref)
        assert isinstance(gone, AblestackError)
        assert gone.code is Code.NOT_FOUND
        with pytest.raises(AblestackError):
            alone(GONE)
