# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots on real libvirt, of Debian 12 and of Debian 13: every content comes back, and every image stays sound."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab, wait_for
from lab_tests.snapshot_site import NAME, Site, look, snap, vm, write

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError

HERE = Path(__file__).resolve().parent
PIPES: dict[str, Any] = {**dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), "text": True}


@pytest.fixture(scope="module")
def debian12(clean_lab: Lab) -> Site:
    """A host with the template: libvirt 9.0."""
    site = Site(clean_lab)
    site.prepare()
    return site


@pytest.fixture(scope="module")
def debian13(clean_lab: Lab) -> Iterator[Site]:
    """The same with libvirt 11.3, in a lab of its own."""
    lab = Lab(f"{clean_lab.folder}-13")
    lab.up(1, debian13=True)
    try:
        site = Site(lab)
        site.prepare()
        yield site
    finally:
        lab.script("down", "--purge")


@pytest.fixture(params=["debian12", "debian13"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A host of either release; whatever a test leaves of the VM is removed."""
    found: Site = request.getfixturevalue(request.param)
    yield found
    found.remove()


@pytest.fixture
def older(debian12: Site) -> Iterator[Site]:
    """The older release, where one will do."""
    yield debian12
    debian12.remove()


def thrice(name: str, state: str = "present", **options: Any) -> tuple[dict[str, Any], ...]:
    """Check mode, a run, and a second one; their results are for `as_predicted`."""
    return snap(name, state, check=True, **options), snap(name, state, **options), snap(name, state, **options)


def as_predicted(predicted: dict[str, Any], done: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Check mode predicted the run, and the second run changed nothing."""
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"] == done["diff"]
    assert predicted["changes"] == done["changes"]
    assert again["changed"] is False, again["changes"]
    return done


def test_every_snapshot_of_a_tree_is_restored_whatever_is_deleted(site: Site) -> None:
    results = site.play(
        site.deployed(start=False),
        write("A"),
        *thrice("s1", description="first"),
        write("B"),
        snap("s2"),
        write("C"),
        *thrice("s1", "reverted"),
        snap("s2", "reverted"),
        snap("s1", "reverted"),
        write("D"),
        snap("s3"),
        write("E"),
        *thrice("s1", "absent"),  # two branches stand on it
        snap("s2", "reverted"),
        snap("s3", "reverted"),
        snap("s2", "absent"),
        write("F"),
        snap("s4"),
        {"ablestack.kvm.ablestack_vm_snapshot_info": {"vm": NAME}},
        write("G"),
        snap("s3", "absent"),  # between what is below it and a snapshot above
        *thrice("s4", "absent"),
        vm(),
    )
    as_predicted(*results[2:5])
    as_predicted(*results[8:11])
    as_predicted(*results[16:19])
    as_predicted(*results[27:30])
    assert [result["letters"] for result in results if "letters" in result] == [
        *2 * [{"": "AAA", "s1": "AAA"}],
        {"": "BBB", "s1": "AAA", "s2": "BBB"},
        *2 * [{"": "AAA", "s1": "AAA", "s2": "BBB"}],
        {"": "BBB", "s1": "AAA", "s2": "BBB"},
        {"": "AAA", "s1": "AAA", "s2": "BBB"},
        {"": "DDD", "s1": "AAA", "s2": "BBB", "s3": "DDD"},
        *2 * [{"": "EEE", "s2": "BBB", "s3": "DDD"}],
        {"": "BBB", "s2": "BBB", "s3": "DDD"},
        {"": "DDD", "s2": "BBB", "s3": "DDD"},
        {"": "DDD", "s3": "DDD"},
        {"": "FFF", "s3": "DDD", "s4": "FFF"},
        {"": "GGG", "s4": "FFF"},
        *2 * [{"": "GGG"}],
    ]
    text = results[24]["trees"][0]["text"].splitlines()
    assert [line.split("──")[-1].split()[0] for line in text] == [NAME, "s3", "s4"]
    volumes = [disk["volume"] for disk in results[-1]["vm"]["disks"]]
    assert volumes[1:] == ["vol-keep.qcow2", "vol-drop.qcow2"]
    assert results[-1]["vm"]["snapshots"] == []


def test_a_kept_data_disk_is_whole_after_an_expunge(older: Site) -> None:
    other = {"name": "other", "template": "tiny", "compute_offering": "tiny", "networks": ["default"], "start": False}
    older.play(
        older.deployed(start=False, boot_type="uefi"),
        write("A"),
        snap("s1"),
        write("B"),
        snap("s2"),
        snap("s1", "reverted"),
        write("D"),
        vm(state="destroyed", delete_data_disks=["drop"]),
    )
    taking = {"ablestack.kvm.ablestack_vm": {**other, "data_disks": [{"name": "keep", "size": "64MiB"}]}}
    assert "snapshot" in older.refused(taking)["msg"]
    older.play(vm(state="expunged"))
    left = older.on_host("find", "/srv/default", "-name", "*.qcow2", "-not", "-name", "tmpl-*").split()
    assert left == ["/srv/default/vol-keep.qcow2"]
    assert "backing-filename" not in json.loads(older.on_host("qemu-img", "info", "--output=json", left[0]))
    older.on_host("qemu-img", "check", "-q", left[0])
    assert "failed" not in older.on_host("qemu-io", "-r", "-c", f"read -P {ord('D')} {63 * 1024**2} 64k", left[0])
    older.on_host("rm", left[0])


def restored(name: str) -> tuple[dict[str, Any], ...]:
    """The VM stopped, the snapshot restored, the guest booted, and what it reads then."""
    return (
        vm(state="stopped", forced=True),
        snap(name, "reverted"),
        vm(state="started", wait="agent"),
        look(),
    )


def read_by_guest(results: list[Any]) -> list[str]:
    """What the guest has read in each look; of a VM that is off, nobody has."""
    return [result["letters"][""] for result in results if set(result) == {"letters"}]


def root_images(site: Site) -> int:
    """How many images the root disk is made of."""
    return len(site.on_host("find", "/srv/default", "-name", "vm-*-root.*").split())


def test_the_guest_itself_reads_what_each_snapshot_has(site: Site) -> None:
    results = site.play(
        site.deployed(wait="agent"),
        write("A"),
        snap("s1"),
        write("B"),
        snap("s2"),
        write("C"),
        *restored("s1"),
        *restored("s2"),
    )
    results += site.play(  # a playbook of its own: no run of one lasts ten minutes, however busy the machine
        *restored("s1"),
        write("D"),
        snap("s3"),
        write("E"),
        snap("s1", "absent"),  # two branches stand on it, and the guest on one of them
        look(),
        *restored("s2"),
        write("F"),
        snap("s4"),
        *restored("s3"),
    )
    assert read_by_guest(results) == ["AAA", "BBB", "AAA", "EEE", "BBB", "DDD"]
    assert results[-1]["letters"] == {"": "DDD", "s2": "BBB", "s3": "DDD", "s4": "FFF"}

    # the images of s2 and s4 become one, beside the guest, which reads what is below both
    assert root_images(site) == 5
    results = site.play(*thrice("s2", "absent"), look())
    as_predicted(*results[:3])
    assert results[-1]["letters"] == {"": "DDD", "s3": "DDD", "s4": "FFF"}
    assert root_images(site) == 4
    with closing(site.lab.connect(site.host)) as connection:
        assert [domain.name() for domain in connection.listAllDomains()] == [NAME]
    assert read_by_guest(site.play(*restored("s4"), *restored("s3"))) == ["FFF", "DDD"]


def test_a_running_guest_is_frozen_for_a_moment_and_keeps_its_content(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    site.play(site.deployed(wait="agent", boot_type="uefi", compute_offering="uefi"), write("A"))
    site.guest(
        "(while :; do dd if=/dev/zero of=/root/load bs=64k count=32 conv=fsync; done) >/dev/null 2>&1 & "
        "echo $! >/run/load"
    )
    bare = site.bare_freeze()
    taken = site.play(*thrice("s1", quiesce=True))
    assert taken[1]["snapshot"]["quiesced"] is True
    assert taken[1]["changed"]
    assert not taken[2]["changed"]
    record_property("frozen for seconds", site.freezes())
    assert len(site.freezes()) == 2
    assert 0 < site.freezes()[-1] < bare + 2, site.freezes()
    site.guest("kill $(cat /run/load); sync")
    results = site.play(
        write("B"),
        snap("s2"),
        write("C"),
        snap("s1", "absent"),  # merged under the guest, below another snapshot
        snap("s3"),
        write("D"),
        snap("s3", "absent"),  # merged with what the guest writes to
    )
    assert [result["letters"] for result in results if "letters" in result] == [
        {"": "BBB", "s1": "AAA", "s2": "BBB"},
        {"": "CCC", "s2": "BBB"},
        {"": "CCC", "s2": "BBB", "s3": "CCC"},
        {"": "DDD", "s2": "BBB"},
    ]
    assert len(site.freezes()) == 4
    assert max(site.freezes()[2:]) < max(bare, site.bare_freeze()) + 2, site.freezes()
    assert site.refused(snap("s2", "reverted"))["error"]["code"] == "InvalidState"

    # a snapshot that fails while the guest is frozen: only then QEMU sees that this is no image
    overlays, others = {"vda": "/srv/default/bad.qcow2"}, ("vdb", "vdc", "sdd", "sde")
    site.on_host("sh", "-c", f"head -c 1M /dev/zero > {overlays['vda']}")
    with closing(open_host(HostSpec(name=site.host, uri=site.lab.uri(site.host)))) as host:
        vm_id = next(ref.id for ref in host.domains() if ref.domain_name == NAME)
        with pytest.raises(AblestackError):
            host.take_snapshot(vm_id, "bad", "", overlays, others, True)
    site.on_host("rm", overlays["vda"])
    assert not site.frozen()
    assert len(site.freezes()) == 6

    # whoever freezes and dies: the next run thaws
    site.freeze()
    assert site.frozen()
    assert site.play(snap("s2"))[0]["changed"]
    assert not site.frozen()

    # a process that dies in the middle of it: libvirt's daemon ends what it began
    job = {"catalog": site.catalog, "vm": NAME, "name": "s4"}
    with (
        subprocess.Popen(_command(job), **PIPES) as process,
        site.standing_still_with_an_overlay(lambda: begin(process)),
    ):
        time.sleep(3)  # more than the guest's clock can be told apart by, before and after
        process.kill()
        assert process.wait() == -signal.SIGKILL
        died = time.monotonic()
        time.sleep(3)
    wait_for(lambda: not site.frozen(), 120, "a thawed guest")
    earliest, latest = site.clock(died)
    frozen, thawed = site.frozen_times()[-1]
    assert frozen < earliest <= latest < thawed, "it did not die between freeze and thaw"
    ended = site.play(
        snap("s4"),
        snap("s4"),
        vm(state="stopped", forced=True),
        snap("s2", "reverted"),
        vm(state="started", wait="agent"),
        snap("s2"),
    )
    assert not ended[1]["changed"]
    assert ended[3]["letters"] == {"": "BBB", "s2": "BBB", "s4": "DDD"}
    assert ended[5]["letters"] == {"": "BBB", "s2": "BBB", "s4": "DDD"}


def memory(site: Site) -> int:
    """What the guest has of it, in KiB."""
    return int(site.guest("grep MemTotal /proc/meminfo").split()[1])


def test_memory_comes_back_as_it_was(site: Site) -> None:
    """Of a VM that has grown while it ran, too: with the memory of then."""
    site.play(site.deployed(compute_offering="grows", wait="agent"), write("A"))
    small = memory(site)
    site.play(vm(compute_offering="grown"))
    wait_for(lambda: memory(site) > small, 120, "the guest to use its new memory")
    total = memory(site)
    site.guest("echo remembered > /run/note")
    taken = site.play(*thrice("m1", memory=True))[1]
    assert taken["snapshot"]["type"] == "DiskAndMemory"
    assert site.refused(snap("s1"))["error"]["code"] == "InvalidState"
    site.guest("rm /run/note")
    back = site.play(
        write("B"), vm(compute_offering="grows", state="stopped", forced=True), snap("m1", "reverted"), vm()
    )
    assert back[2]["changed"]
    found = back[3]["vm"]
    assert (found["state"], found["snapshots"]) == ("Running", ["m1"])
    assert (found["memory"], found["compute_offering"]) == (320, "grown")
    assert memory(site) == total
    assert site.guest("cat /run/note") == "remembered\n"
    assert site.guest_read() == "AAA"
    gone = site.play(snap("m1", "absent"), vm())
    assert gone[1]["vm"]["snapshots"] == []


def test_killed_in_a_merge_the_same_task_again_ends_it(older: Site) -> None:
    tree = (write("A"), snap("s1"), write("B"), snap("s2"), write("C"))
    older.play(older.deployed(start=False))
    for call in ("merge_layers", "relocate_snapshots"):
        older.play(*tree)
        run_and_die({"catalog": older.catalog, "vm": NAME, "name": "s1", "state": "absent", "kill": call, "delay": 0.1})
        ended = older.play(snap("s1", "absent"), snap("s1", "absent"), snap("s2", "absent"))
        assert [result["letters"] for result in ended] == [*2 * [{"": "CCC", "s2": "BBB"}], {"": "CCC"}]
        assert not ended[1]["changed"]


def test_controllers_that_begin_at_one_moment_come_one_after_another(older: Site) -> None:
    older.play(older.deployed(start=False), write("A"), snap("s0"), write("B"))
    tasks = [{"name": "s1"}, {"name": "s2"}, {"name": "s3"}, {"name": "s0", "state": "absent"}]
    jobs = [{"catalog": older.catalog, "vm": NAME, **task} for task in tasks]
    processes = [subprocess.Popen(_command(job), **PIPES) for job in jobs]
    begin(*processes)
    for process in processes:
        _out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    ended = older.play(snap("s1"), write("C"), snap("s2", "absent"), snap("s3", "absent"))
    assert [result["letters"] for result in ended if "letters" in result] == [
        {"": "BBB", "s1": "BBB", "s2": "BBB", "s3": "BBB"},
        {"": "CCC", "s1": "BBB", "s3": "BBB"},
        {"": "CCC", "s1": "BBB"},
    ]
    assert not ended[0]["changed"]
    with closing(open_host(HostSpec(name=older.host, uri=older.lab.uri(older.host)))) as host:
        assert [host.vm(ref).holds for ref in host.domains() if ref.domain_name == NAME] == [()]


def begin(*processes: subprocess.Popen[str]) -> None:
    """Lets them all begin once all are ready."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def _command(job: dict[str, Any]) -> list[str]:
    return [sys.executable, str(HERE / "killed_snapshot.py"), json.dumps(job)]


def run_and_die(job: dict[str, Any]) -> int:
    """A task in a process that kills itself `delay` seconds after it has begun that call of the port."""
    return subprocess.run(_command(job), capture_output=True, text=True, check=False).returncode
