"""The host in memory keeps the promises of the port, so that tests over it mean something."""

from __future__ import annotations

import inspect
import uuid
from dataclasses import replace

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import port
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    NetworkRecord,
    Reservation,
    VolumeSpec,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    NicConfig,
    Power,
    VmConfig,
    VmRecord,
)
from support.memory_calls import Killed
from support.memory_host import MemoryHost
from support.memory_state import qcow2_bytes
from support.worlds import make_world

MAC = "52:54:00:00:00:01"


@pytest.fixture
def host() -> MemoryHost:
    return make_world().controller().hosts["kvm01"]


def config(name: str, **values: object) -> VmConfig:
    vm_id = str(uuid.uuid4())
    return VmConfig(vm_id, name, VmRecord(name), cpu=1, memory=512, max_cpu=1, max_memory=512, **values)  # type: ignore


def code_of(call: object, *args: object) -> Code:
    with pytest.raises(AblestackError) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value.code


def test_it_has_every_method_of_the_port_with_its_parameters() -> None:
    for name, method in inspect.getmembers(port.Host, inspect.isfunction):
        if not name.startswith("_"):
            fake = getattr(MemoryHost, name)
            assert list(inspect.signature(fake).parameters) == list(inspect.signature(method).parameters), name


def test_names_of_domains_are_unique_and_a_rename_frees_them(host: MemoryHost) -> None:
    first, second = config("web"), config("web")
    host.define(first)
    assert code_of(host.define, second) is Code.ALREADY_EXISTS
    host.rename(first.id, "web.destroyed-1")
    host.define(second)
    assert code_of(host.rename, first.id, "web") is Code.ALREADY_EXISTS
    assert code_of(host.rename, str(uuid.uuid4()), "other") is Code.NOT_FOUND
    host.start(second.id)
    assert code_of(host.rename, second.id, "other") is Code.INVALID_STATE


def test_power_and_leases(host: MemoryHost) -> None:
    vm = config("web", nics=(NicConfig(MAC, "default"),))
    host.define(vm)
    host.state.networks["default"].edit(record=NetworkRecord())
    host.reserve("default", Reservation(MAC, "192.168.122.50", "web"))
    host.start(vm.id)
    (ref,) = host.domains()
    facts = host.vm(ref)
    assert (facts.power, facts.live) == (Power.RUNNING, vm)
    assert host.addresses(facts) == {MAC: ("192.168.122.50",)}
    host.state.domains[vm.id].guest.shuts_down = False
    assert not host.shutdown(vm.id, 1)
    host.state.domains[vm.id].guest.shuts_down = True
    assert host.shutdown(vm.id, 1)
    assert host.vm(host.domains()[0]).live is None


def test_a_stored_change_is_not_live(host: MemoryHost) -> None:
    vm = config("web")
    host.define(vm)
    host.start(vm.id)
    host.redefine(vm, replace(vm, memory=1024))
    facts = host.vm(host.domains()[0])
    assert (facts.config.memory, facts.live.memory if facts.live else 0) == (1024, 512)


def test_one_disk_has_one_writer(host: MemoryHost) -> None:
    host.create_volume(VolumeSpec("default", "root.qcow2", GIB))
    disks = (DiskConfig("vda", "/pools/default/root.qcow2"),)
    one, two = config("one", disks=disks), config("two", disks=disks)
    for vm in (one, two):
        host.define(vm)
    host.start(one.id)
    assert code_of(host.start, two.id) is Code.IN_USE


def test_volumes(host: MemoryHost) -> None:
    spec = VolumeSpec("default", "disk.qcow2", GIB, backing="/pools/default/tmpl-tiny.qcow2")
    host.create_volume(spec)
    assert code_of(host.create_volume, spec) is Code.ALREADY_EXISTS
    found = host.volume("default", "disk.qcow2")
    assert found is not None
    assert (found.capacity, found.backing) == (GIB, "/pools/default/tmpl-tiny.qcow2")
    host.clone_volume(VolumeSpec("default", "copy.qcow2", 2 * GIB), "default/tmpl-tiny.qcow2")
    assert b"".join(host.download("default", "copy.qcow2")) == qcow2_bytes(2 * GIB, b"the tiny system")
    host.resize_volume("default", "disk.qcow2", 2 * GIB)
    assert code_of(host.resize_volume, "default", "disk.qcow2", GIB) is Code.INVALID_INPUT
    assert host.delete_volume("default", "disk.qcow2")
    assert not host.delete_volume("default", "disk.qcow2")
    assert code_of(host.pool, "nowhere") is Code.NOT_FOUND


def test_a_raw_volume_becomes_what_is_uploaded_into_it(host: MemoryHost) -> None:
    content = qcow2_bytes(3 * GIB, b"x")
    host.create_volume(VolumeSpec("default", "image", len(content), format="raw"))
    host.upload("default", "image", [content[:100], content[100:]])
    found = host.volume("default", "image")
    assert found is not None
    assert (found.format, found.capacity) == ("qcow2", 3 * GIB)


def test_a_full_pool(host: MemoryHost) -> None:
    host.state.pools["default"].capacity = 1024 * 1024
    assert code_of(host.create_volume, VolumeSpec("default", "fat", GIB, fat=True)) is Code.INSUFFICIENT_CAPACITY
    host.create_volume(VolumeSpec("default", "thin", GIB, format="raw"))
    assert code_of(host.upload, "default", "thin", [bytes(GIB // 512)]) is Code.INSUFFICIENT_CAPACITY


def test_check_mode_refuses_writes() -> None:
    controller = make_world().controller(check=True)
    assert code_of(controller.hosts["kvm01"].define, config("web")) is Code.INTERNAL
    assert controller.writes == []


def test_a_killed_process_answers_nothing_more_and_others_do() -> None:
    world = make_world(hosts=2)
    controller = world.controller()
    first, second = controller.hosts["kvm01"], controller.hosts["kvm02"]
    first.fail_at(2, Killed(), when="after")
    one, two = config("one"), config("two")
    first.define(one)
    with pytest.raises(Killed):
        first.define(two)
    with pytest.raises(Killed):
        second.domains()
    assert {ref.domain_name for ref in world.controller().hosts["kvm01"].domains()} == {"one", "two"}


def test_an_upload_stops_half_way(host: MemoryHost) -> None:
    host.create_volume(VolumeSpec("default", "image", 8, format="raw"))
    host.fail_at("upload", AblestackError(Code.INTERNAL, "line cut"), when="during")
    assert code_of(host.upload, "default", "image", [b"12345678"]) is Code.INTERNAL
    assert host.state.pools["default"].volumes["image"].content == b"1234"
