# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port through libvirt's test driver: domains, volumes and networks, their errors, and the calls they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import Reservation, VolumeSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    DiskConfig,
    DomainRef,
    Hold,
    NicConfig,
    Owner,
    Power,
    VmFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_view import restart_required
from support.round_trips import counted_round_trips
from support.samples import FULL_RECORD, ID, vm_config
from support.test_driver import driver_host

OTHERS = "aaaaaaaa-0000-4000-8000-000000000001"
WEB = vm_config(virt_type="test")
TWIN = replace(WEB, id="b" + ID[1:])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    with driver_host(tmp_path) as connected:
        yield connected


def read(host: Any, vm_id: str = ID) -> VmFacts:
    return next(host.vm(ref) for ref in host.domains() if ref.id == vm_id)


def refusal(call: Callable[..., Any], *arguments: Any) -> AblestackError:
    """The error of a call that has to fail; its sentence says which host, and libvirt's own words are apart."""
    with pytest.raises(AblestackError) as raised:
        call(*arguments)
    assert "kvm01" in raised.value.sentence or ID in raised.value.sentence or "'web1'" in raised.value.sentence
    return raised.value


# Domains


def test_what_is_defined_is_read_back(host: Any) -> None:
    host.define(WEB)
    assert set(host.domains()) == {DomainRef(OTHERS, "others", Power.RUNNING), DomainRef(ID, "web1", Power.OFF)}
    found = read(host)
    assert (found.config, found.live, found.power, found.host.name) == (WEB, None, Power.OFF, "kvm01")
    assert read(host, OTHERS).record is None


def test_processes_note_beside_each_other_who_works_on_a_vm(host: Any) -> None:
    ours = Hold(Owner("here", 1, 2, "aa"), "2026-01-01T00:00:00Z", ("default/vol-a.qcow2", "nvme/vol-b.qcow2"))
    theirs = Hold(Owner("there", 3, 4, "bb"), "2026-01-01T00:00:01Z")
    host.define(replace(WEB, record=FULL_RECORD))
    assert host.hold(ID, ours) == ()
    assert host.hold(ID, theirs) == (ours,)
    assert host.hold(ID, ours) == (theirs,)
    found = read(host)
    assert (set(found.holds), found.config.record) == ({ours, theirs}, FULL_RECORD)
    host.redefine(found.config, replace(found.config, cpu=2, max_cpu=2, record=WEB.record))
    host.set_record(ID, FULL_RECORD)
    assert set(read(host).holds) == {ours, theirs}
    host.let_go(ID, "aa")
    assert read(host).holds == (theirs,)
    host.let_go(ID, "bb")
    assert (read(host).holds, read(host).config.record) == ((), FULL_RECORD)
    with pytest.raises(AblestackError):
        host.hold("b" + ID[1:], ours)


def test_one_row_of_the_listing(host: Any) -> None:
    assert (host.domain(ID), host.domain_named("web1")) == (None, None)
    host.define(WEB)
    host.start(ID)
    row = DomainRef(ID, "web1", Power.RUNNING)
    with counted_round_trips() as trips:
        assert host.domain(ID) == row
        assert trips.take() == ["virDomainGetState"]
        assert host.domain_named("web1") == row
        assert trips.take() == ["virDomainLookupByName", "virDomainGetState"]
    host.power_off(ID)
    host.rename(ID, "web2")
    assert host.domain(ID) == DomainRef(ID, "web2", Power.OFF)
    assert host.domain_named("web1") is None
    host._domain(ID).undefine()  # somebody else
    assert host.domain(ID) is None


def test_a_name_is_taken_once(host: Any) -> None:
    host.define(WEB)
    error = refusal(host.define, TWIN)
    assert (error.code, error.details["id"]) == (Code.ALREADY_EXISTS, ID)
    assert read(host).config == WEB


def test_of_two_that_claim_by_one_name_the_second_loses(host: Any) -> None:
    host.define(WEB)
    host.rename(ID, "web1.claim1-5e1f0e2c")
    assert refusal(host.rename, ID, "web1.claim1-5e1f0e2c").code is Code.ALREADY_EXISTS
    assert read(host).config.domain_name == "web1.claim1-5e1f0e2c"
    host.define(TWIN)
    assert refusal(host.rename, ID, "web1").code is Code.ALREADY_EXISTS


def test_renaming_what_runs_or_is_gone(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    assert refusal(host.rename, ID, "web2").code is Code.INVALID_STATE
    host.power_off(ID)
    host.undefine(ID)
    assert refusal(host.rename, ID, "web2").code is Code.NOT_FOUND


@pytest.mark.parametrize("running", [False, True])
def test_the_record_is_replaced(host: Any, running: bool) -> None:
    host.define(WEB)
    if running:
        host.start(ID)
    host.set_record(ID, FULL_RECORD)
    found = read(host)
    assert found.record == FULL_RECORD
    assert (found.live.record if found.live else None) == (FULL_RECORD if running else None)


def test_the_record_is_replaced_also_when_its_power_is_not_what_we_think(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    host._domain(ID).destroy()  # somebody else
    host.set_record(ID, FULL_RECORD)
    assert read(host).record == FULL_RECORD


def test_a_definition_is_edited(host: Any) -> None:
    host.define(WEB)
    after = replace(
        WEB,
        record=FULL_RECORD,
        cpu=2,
        max_cpu=2,
        disks=(*WEB.disks, DiskConfig("vdb", "/srv/default/vol-a.qcow2")),
        nics=(NicConfig("52:54:00:00:00:09", "default", "e1000"),),
    )
    host.redefine(WEB, after)
    found = read(host).config
    assert replace(found, disks=()) == replace(after, disks=())
    assert set(found.disks) == set(after.disks)


def test_a_definition_is_removed_but_not_from_under_a_guest(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    assert refusal(host.undefine, ID).code is Code.INVALID_STATE
    host.power_off(ID)
    host.undefine(ID)
    host.undefine(ID)
    assert [ref.id for ref in host.domains()] == [OTHERS]


def test_a_seed_written_while_it_runs_is_in_the_stored_definition_alone_until_it_starts(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    before = read(host)
    host.redefine(before.config, replace(before.config, seeds=1))
    host.set_record(ID, FULL_RECORD)
    found = read(host)
    assert found.live
    assert (found.config.seeds, found.live.seeds, restart_required(found)) == (1, 0, True)
    assert found.config.record == FULL_RECORD
    host.power_off(ID)
    host.start(ID)
    found = read(host)
    assert found.live
    assert (found.config.seeds, found.live.seeds, restart_required(found)) == (1, 1, False)


def test_power(host: Any) -> None:
    host.define(WEB)
    for _twice in range(2):
        host.start(ID)
        assert read(host).power is Power.RUNNING
    host._domain(ID).suspend()
    assert read(host).power is Power.PAUSED
    host.start(ID)  # it is on
    assert read(host).power is Power.PAUSED
    for _twice in range(2):
        host.resume(ID)
        assert read(host).power is Power.RUNNING
    host.reset(ID)
    for _twice in range(2):
        assert host.shutdown(ID, 5)
        assert read(host).power is Power.OFF
    host.start(ID)
    for _twice in range(2):
        host.power_off(ID)
        assert read(host).power is Power.OFF
    refusal(host.resume, ID)
    assert read(host).power is Power.OFF


def test_a_vm_that_stopped_after_it_was_listed_is_off(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    ref = next(ref for ref in host.domains() if ref.id == ID)
    host._domain(ID).destroy()
    assert (host.vm(ref).power, host.vm(ref).live) == (Power.OFF, None)


def test_autostart_and_snapshots(host: Any) -> None:
    host.define(WEB)
    for on in (True, False):
        host.set_autostart(ID, on)
        assert host._domain(ID).autostart() == on
    for name in ("b", "a", "c"):
        host._domain(ID).snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>", 0)
    assert host.snapshots(ID) == ("b", "a", "c")


def test_a_domain_that_is_not_there(host: Any) -> None:
    for call in (host.start, host.power_off, host.reset, host.snapshots):
        assert refusal(call, ID).code is Code.NOT_FOUND
    assert refusal(host.set_record, ID, FULL_RECORD).code is Code.NOT_FOUND


def test_damaged_metadata_fails_its_own_vm_and_not_the_list(host: Any) -> None:
    host.define(WEB)
    uri = "https://ablestack.io/xmlns/kvm/1"
    host._domain(ID).setMetadata(2, "<vm version='1' protected='perhaps'/>", "ablestack", uri, 2)
    assert len(host.domains()) == 2
    with pytest.raises(AblestackError, match="domain 'web1' is damaged"):
        read(host)
    assert read(host, OTHERS).config.domain_name == "others"


# Storage


def test_pools(host: Any) -> None:
    pool = host.pool("default")
    assert (pool.name, pool.type, pool.path) == ("default", "dir", "/srv/default")
    missing = refusal(host.pool, "nvme")
    assert missing.code is Code.NOT_FOUND
    assert "default, lvm" in missing.hint
    assert refusal(host.pool, "lvm").code is Code.UNSUPPORTED
    host._pools["default"].destroy()
    host._pools.clear()
    assert refusal(host.pool, "default").code is Code.INVALID_STATE


def test_volumes(host: Any) -> None:
    root = VolumeSpec("default", "root.qcow2", 1 << 30, backing="/srv/default/tmpl.qcow2")
    assert host.volume("default", "root.qcow2") is None
    host.create_volume(root)
    made = host.volume("default", "root.qcow2")
    assert (made.path, made.capacity, made.format, made.backing) == (
        "/srv/default/root.qcow2",
        1 << 30,
        "qcow2",
        "/srv/default/tmpl.qcow2",
    )
    assert refusal(host.create_volume, root).code is Code.ALREADY_EXISTS
    host.clone_volume(VolumeSpec("default", "copy.qcow2", 1 << 30), "default/root.qcow2")
    assert refusal(host.clone_volume, VolumeSpec("default", "c", 1), "default/gone").code is Code.NOT_FOUND
    assert host.volume_names("default") == ("copy.qcow2", "root.qcow2")
    assert [host.delete_volume("default", "root.qcow2") for _twice in range(2)] == [True, False]
    assert refusal(host.resize_volume, "default", "root.qcow2", 2 << 30).code is Code.NOT_FOUND
    assert refusal(host.upload, "default", "root.qcow2", [b"x"]).code is Code.NOT_FOUND
    assert refusal(lambda: list(host.download("default", "root.qcow2"))).code is Code.NOT_FOUND


# Networks


def test_networks(host: Any) -> None:
    """Reservations are tried in the lab: this driver keeps no stored definition beside the running one."""
    assert host.networks() == ("default",)
    assert host.network("lan") is None
    facts = host.network("default")
    assert (facts.active, facts.cidr, facts.gateway) == (True, "192.168.122.0/24", "192.168.122.1")
    assert refusal(host.reserve, "lan", Reservation("52:54:00:00:00:01", "10.0.0.5")).code is Code.NOT_FOUND
    host.release("lan", "52:54:00:00:00:01")
    host._connection.networkLookupByName("default").destroy()
    assert not host.network("default").active
    assert host.leases("default") == ()


# The host


def test_what_the_host_is(host: Any) -> None:
    facts = host.details()
    assert (facts.cpus, facts.memory, facts.running, facts.networks) == (4, 3072, 1, ("default",))
    assert set(facts.pools) == {"default", "lvm"}
    assert facts.libvirt_version.count(".") == 2
    assert host.abilities().virt_types == ()  # the test driver cannot tell


def test_a_read_only_host_refuses_writes_by_itself(tmp_path: Path) -> None:
    with driver_host(tmp_path, read_only=True) as host:
        ref = next(iter(host.domains()))
        assert host.vm(ref).config.domain_name == "others"
        assert host.volume("default", "gone") is None
        for call, *arguments in (
            (host.define, WEB),
            (host.power_off, OTHERS),
            (host.create_volume, VolumeSpec("default", "x", 1)),
        ):
            with pytest.raises(AblestackError, match="kvm01"):
                call(*arguments)
        assert [ref.power for ref in host.domains()] == [Power.RUNNING]


# What it costs


def test_round_trips_of_looking(host: Any) -> None:
    host.define(WEB)
    host.start(ID)
    with counted_round_trips() as trips:
        refs = host.domains()
        assert trips.take() == ["virConnectGetAllDomainStats"]
        running = next(ref for ref in refs if ref.id == ID)
        found = host.vm(running)
        assert trips.take() == ["virDomainGetXMLDesc"] * 2
        host.vm(replace(running, power=Power.OFF))
        assert trips.take() == ["virDomainGetXMLDesc", "virConnectListAllDomains"]  # whose memory is saved, of all
        host.vm(replace(running, power=Power.OFF))
        assert trips.take() == ["virDomainGetXMLDesc"]
        assert host.addresses(found)
        assert trips.take() == ["virDomainInterfaceAddresses"]
        asked = replace(FULL_RECORD, nics=(replace(FULL_RECORD.nics[0], mac=WEB.nics[0].mac),))
        fixed = replace(found, config=replace(found.config, record=asked))
        assert host.addresses(fixed) == {WEB.nics[0].mac: ("192.168.122.50",)}
        assert host.addresses(replace(found, live=None)) == {}
        assert trips.take() == []
        host.network("default")
        # stored and running; this driver has but one, and is asked once more
        assert trips.take() == ["virConnectListAllNetworks", *["virNetworkGetXMLDesc"] * 3]
        host.pool("default")
        assert trips.take() == ["virConnectListAllStoragePools", "virStoragePoolGetXMLDesc"]
        host.pool("default")
        assert trips.take() == ["virStoragePoolGetXMLDesc"]
        host.volume_names("default")
        assert trips.take() == ["virStoragePoolListAllVolumes"]
        host.facts()
        host.facts()
        assert trips.take() == ["virNodeGetInfo", "virConnectGetAllDomainStats"]
        host.facts(fresh=True)
        assert trips.take() == ["virNodeGetInfo", "virConnectGetAllDomainStats"]


def test_round_trips_of_writing(host: Any) -> None:
    host.pool("default")
    with counted_round_trips() as trips:
        host.define(WEB)
        assert trips.take() == ["virDomainDefineXMLFlags"]
        host.create_volume(VolumeSpec("default", "root.qcow2", 1))
        assert trips.take() == ["virStorageVolCreateXML"]
        host.set_record(ID, FULL_RECORD)
        assert trips.take() == ["virDomainSetMetadata"]
        host.start(ID)
        assert trips.take() == ["virDomainCreate"]
        host.set_record(ID, FULL_RECORD)
        assert trips.take() == ["virDomainSetMetadata"]
        host.redefine(WEB, replace(WEB, record=FULL_RECORD))
        assert trips.take() == ["virDomainGetXMLDesc", "virDomainDefineXMLFlags"]
        host.delete_volume("default", "root.qcow2")
        assert trips.take() == ["virStorageVolDelete"]
