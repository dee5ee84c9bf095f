# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port over a real libvirtd and QEMU: images, firmware, and a guest that lives, hangs and dies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from lab_tests.lab import Lab, wait_for

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import VolumeSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.seed_content import SeedContent
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    NicConfig,
    NicRecord,
    Power,
    VmConfig,
    VmFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.seed import build_seed
from support.samples import FULL_RECORD, ID, vm_config

POOL = "default"
IMAGE = "tmpl-tiny.qcow2"
MAC = "52:54:00:00:00:01"
MIB = 1 << 20


@pytest.fixture(scope="module")
def host(clean_lab: Lab) -> Iterator[Any]:
    connected = open_host(HostSpec("h1", clean_lab.uri("h1")))
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def template(host: Any, clean_lab: Lab) -> str:
    """The tiny image in the pool, as one uploads it: made as raw bytes, for nobody knows yet what is in it."""
    content = clean_lab.tiny.read_bytes()
    host.create_volume(VolumeSpec(POOL, IMAGE, len(content), "raw"))
    host.upload(POOL, IMAGE, (content[at : at + MIB] for at in range(0, len(content), MIB)))
    facts = host.volume(POOL, IMAGE)
    assert (facts.format, facts.capacity) == ("qcow2", 1 << 30)
    return str(facts.path)


def read(host: Any, vm_id: str = ID) -> VmFacts:
    return next(host.vm(ref) for ref in host.domains() if ref.id == vm_id)


def mode_of(lab: Lab, path: str) -> str:
    return lab.host("h1", "stat", "-c", "%a", path).stdout.strip()


@pytest.fixture
def vm(host: Any, template: str) -> Iterator[VmConfig]:
    """A tiny VM with a linked root disk, defined and off."""
    root = VolumeSpec(POOL, "vm-web1-root.qcow2", 1 << 30, backing=template, backing_format="qcow2")
    host.create_volume(root)
    path = f"{host.pool(POOL).path}/{root.name}"
    config = vm_config(
        memory=96,
        max_memory=96,
        disks=(DiskConfig("vda", path), *vm_config().disks[1:2]),
        nics=(NicConfig(MAC, "default"),),
    )
    host.define(config)
    yield config
    host.power_off(ID)
    host.undefine(ID)
    host.delete_volume(POOL, root.name)


# Images


def test_an_image_comes_back_byte_for_byte(host: Any, template: str, clean_lab: Lab) -> None:
    digest = hashlib.sha256()
    for chunk in host.download(POOL, IMAGE):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(clean_lab.tiny.read_bytes()).digest()
    assert mode_of(clean_lab, template) == "600"


def test_a_download_that_is_given_up_leaves_the_connection_usable(host: Any, template: str) -> None:
    chunks = host.download(POOL, IMAGE)
    assert next(chunks)
    chunks.close()
    assert host.volume(POOL, IMAGE).format == "qcow2"


def test_an_upload_whose_source_fails_leaves_the_connection_usable(host: Any) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * MIB
        raise OSError("the source went away")

    host.create_volume(VolumeSpec(POOL, "broken.raw", 4 * MIB, "raw"))
    with pytest.raises(OSError, match="went away"):
        host.upload(POOL, "broken.raw", broken())
    assert wait_for(lambda: host.delete_volume(POOL, "broken.raw"), 10, "the volume to be free")


def test_a_clone_is_as_large_as_asked_for_and_stands_alone(host: Any, template: str, clean_lab: Lab) -> None:
    for size in (3 << 30, 1 << 30):
        host.clone_volume(VolumeSpec(POOL, "full.qcow2", size), f"{POOL}/{IMAGE}")
        facts = host.volume(POOL, "full.qcow2")
        assert (facts.capacity, facts.format, facts.backing) == (size, "qcow2", "")
        assert mode_of(clean_lab, facts.path) == "600"
        host.resize_volume(POOL, "full.qcow2", 4 << 30)
        assert host.volume(POOL, "full.qcow2").capacity == 4 << 30
        assert host.delete_volume(POOL, "full.qcow2")


@pytest.mark.parametrize("seen", [False, True])
def test_a_seed_is_copied_byte_for_byte(host: Any, clean_lab: Lab, seen: bool) -> None:
    """As it is known when it was just written, and as libvirt knows it once it has looked what is in it."""
    content = build_seed(SeedContent(ID, "web1", user_data="#!/bin/sh\n"))
    host.create_volume(VolumeSpec(POOL, "seed.iso.new", len(content), "raw"))
    host.upload(POOL, "seed.iso.new", [content])
    if seen:
        host.pool(POOL, anew=True)
    host.clone_volume(VolumeSpec(POOL, "seed.iso", len(content), "raw", fat=True), f"{POOL}/seed.iso.new")
    assert b"".join(host.download(POOL, "seed.iso")) == content
    assert mode_of(clean_lab, host.volume(POOL, "seed.iso").path) == "600"
    assert all(host.delete_volume(POOL, name) for name in ("seed.iso", "seed.iso.new"))


def test_a_running_guests_disk_grows_and_never_shrinks(host: Any, vm: VmConfig) -> None:
    def size() -> int:
        return int(host.volume(POOL, "vm-web1-root.qcow2").capacity)

    host.start(ID)
    host.resize_disk(ID, "vda", 3 << 30)
    for _twice in range(2):
        with pytest.raises(AblestackError, match="has 3 GiB and cannot shrink to 2 GiB"):
            host.resize_disk(ID, "vda", 2 << 30)
        assert size() == 3 << 30
        host.resize_disk(ID, "vda", 3 << 30)
    host.power_off(ID)
    with pytest.raises(AblestackError, match="has 3 GiB and cannot shrink to 2 GiB"):
        host.resize_volume(POOL, "vm-web1-root.qcow2", 2 << 30)
    assert size() == 3 << 30


def test_fat_means_allocated(host: Any) -> None:
    for name, fat in (("thin.qcow2", False), ("fat.qcow2", True)):
        host.create_volume(VolumeSpec(POOL, name, 16 * MIB, fat=fat))
        assert (host.volume(POOL, name).allocation >= 16 * MIB) is fat
        host.delete_volume(POOL, name)


def test_a_file_the_pool_had_not_seen_is_seen(host: Any, clean_lab: Lab) -> None:
    clean_lab.host("h1", "touch", "/srv/default/stranger.raw", "/srv/default/other.raw")
    with pytest.raises(AblestackError) as raised:
        host.create_volume(VolumeSpec(POOL, "stranger.raw", MIB, "raw"))
    assert raised.value.code is Code.ALREADY_EXISTS
    assert host.volume(POOL, "other.raw") is not None
    assert [host.delete_volume(POOL, "other.raw") for _twice in range(2)] == [True, False]
    assert host.delete_volume(POOL, "stranger.raw")


def test_a_full_pool(host: Any, clean_lab: Lab) -> None:
    clean_lab.host("h1", "sh", "-c", "mkdir -p /srv/small && mount -t tmpfs -o size=1m none /srv/small")
    pool = host._connection.storagePoolDefineXML(
        "<pool type='dir'><name>small</name><target><path>/srv/small</path></target></pool>"
    )
    try:
        with pytest.raises(AblestackError) as raised:
            host.pool("small")
        assert raised.value.code is Code.INVALID_STATE
        pool.create()
        for volume in (
            VolumeSpec("small", "big.raw", 8 * MIB, "raw"),  # found out now, and not while it is uploaded to
            VolumeSpec("small", "fat.qcow2", 8 * MIB, fat=True),
        ):
            with pytest.raises(AblestackError) as raised:
                host.create_volume(volume)
            assert raised.value.code is Code.INSUFFICIENT_CAPACITY
        assert host.volume_names("small") == ()
    finally:
        pool.destroy()
        pool.undefine()
        clean_lab.host("h1", "umount", "/srv/small")


# Domains


def test_the_host_tells_what_it_can(host: Any) -> None:
    facts = host.details()
    assert set(facts.virt_types) >= {"qemu"}
    assert facts.firmware == ("uefi", "secure")
    assert facts.tpm
    assert {"default", "local", "shared"} <= set(facts.pools)
    assert facts.libvirt_version.count(".") == 2
    assert facts.networks == ("default",)


@pytest.mark.parametrize("mode", ["legacy", "secure"])
def test_firmware_and_tpm_come_and_go_with_the_vm(host: Any, vm: VmConfig, mode: str, clean_lab: Lab) -> None:
    changed = replace(vm, boot_type="uefi", boot_mode=mode, tpm=True, memory=192, max_memory=192)
    host.redefine(vm, changed)
    host.start(ID)
    found = read(host)
    assert found.config == changed
    assert (found.live.boot_type, found.live.boot_mode, found.live.tpm) == ("uefi", mode, True)
    kept = f"find /var/lib/libvirt/qemu/nvram /var/lib/libvirt/swtpm -name '*{ID[:8]}*' | wc -l"
    assert clean_lab.host("h1", "sh", "-c", kept).stdout.strip() == "2"
    host.power_off(ID)
    host.undefine(ID)
    assert clean_lab.host("h1", "sh", "-c", kept).stdout.strip() == "0"
    host.define(vm)


def test_libvirt_keeps_every_field_of_a_definition(host: Any, vm: VmConfig) -> None:
    changed = replace(
        vm,
        record=FULL_RECORD,
        cpu=2,
        max_cpu=4,
        memory=256,
        max_memory=1024,
        cpu_mode="EPYC",
        disks=(*vm.disks, DiskConfig("vdb", "/srv/default/vol-a.qcow2", max_iops=500)),
        nics=(NicConfig("52:54:00:00:00:09", "default", "e1000"), *vm.nics),
    )
    host.redefine(vm, changed)
    found = read(host).config
    assert replace(found, disks=()) == replace(changed, disks=())
    assert set(found.disks) == set(changed.disks)
    host.redefine(changed, vm)
    assert read(host).config == vm


def test_the_life_of_a_guest(host: Any, vm: VmConfig, clean_lab: Lab) -> None:
    host.start(ID)
    console = host.console_tail(ID)
    assert host.console_tail(ID).lines() == ()  # one listener at a time; the second hears nothing
    record = replace(FULL_RECORD, nics=())
    host.set_record(ID, record)
    found = read(host)
    assert (found.power, found.record, found.live.record) == (Power.RUNNING, record, record)

    wait_for(lambda: host.agent_ping(ID, 2), 120, "the agent")
    wait_for(lambda: host.addresses(found, ("lease",)), 60, "the lease")
    (leased,) = host.addresses(found, ("lease",))[MAC]
    wait_for(lambda: host.addresses(found, ("agent",)) == {MAC: (leased,)}, 60, "the agent to tell the address")
    assert [lease.ip for lease in host.leases("default") if lease.mac == MAC] == [leased]
    wanting = replace(record, nics=(NicRecord(MAC, "default", "10.1.2.3"),))
    asked = replace(found, config=replace(found.config, record=wanting))
    assert host.addresses(asked) == {MAC: ("10.1.2.3",)}
    assert host.agent_run(ID, ("/bin/sh", "-c", "printf 'a\\033[1mb\\r\\n'; exit 3"), 20) == (3, "ab\n")
    assert len(host.agent_run(ID, ("/bin/sh", "-c", "yes | head -c 20000"), 20)[1]) == 4096
    with pytest.raises(AblestackError) as raised:
        host.agent_run(ID, ("/nowhere",), 5)
    assert raised.value.code is Code.AGENT_UNAVAILABLE
    assert any("tiny" in line for line in console.lines())
    console.close()

    reader = open_host(HostSpec("h1", clean_lab.uri("h1")), read_only=True)
    assert reader.addresses(read(reader)) == {MAC: (leased,)}
    assert reader.addresses(read(reader), ("agent",)) == {}
    assert reader.console_tail(ID).lines() == ()
    assert reader.abilities().virt_types == host.abilities().virt_types
    assert next(iter(reader.download(POOL, IMAGE)))[:3] == b"QFI"
    with pytest.raises(AblestackError):
        reader.power_off(ID)
    reader.close()

    assert host.reboot(ID, 120)
    assert read(host).power is Power.RUNNING
    wait_for(lambda: host.agent_ping(ID, 2), 120, "the agent")
    an_agent_that_is_slow(host)
    an_agent_that_hangs(host, found, clean_lab)
    assert host.shutdown(ID, 120)
    assert read(host).power is Power.OFF


def stop_agent(host: Any, then: str = ":") -> None:
    """The guest says when it has done so; `then` is what it does afterwards."""
    console = host.console_tail(ID)
    job = f"sleep 1; killall -STOP qemu-ga; echo agent stopped >/dev/console; {then}"
    host.agent_run(ID, ("/bin/sh", "-c", f"({job}) >/dev/null 2>&1 &"), 20)
    wait_for(lambda: any("agent stopped" in line for line in console.lines()), 60, "the agent to be stopped")
    console.close()


def an_agent_that_is_slow(host: Any) -> None:
    """It is stopped for as long as a loaded guest may need: who is about to freeze it waits that long."""
    stop_agent(host, "sleep 6; killall -CONT qemu-ga")
    agent = host.agent(ID, patient=True)
    assert agent is not None
    assert agent.freezes


def an_agent_that_hangs(host: Any, found: VmFacts, lab: Lab) -> None:
    """It is stopped in the middle of its life; without a limit the first caller would wait for ever, and all others."""
    stop_agent(host)
    assert host.agent_ping(ID, 2) is False
    assert host.addresses(found, ("agent",)) == {}
    other = open_host(HostSpec("h1", lab.uri("h1")))
    assert other.agent_ping(ID, 2) is False
    assert other.addresses(found, ("lease", "agent"))[MAC]
    other.close()
