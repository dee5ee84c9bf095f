# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool whose disk is full, on real libvirt: nothing is lost nor left behind, and with room the same task goes on.

Others fill the disk behind libvirt's back, so that what it says of the room there is no help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from lab_tests.lab import Lab
from soak.host_audit import audit, clear_state

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_storage import LibvirtStorage
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import VolumeSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from support.tasks import Task, snapshot, template, vm
from support.worlds import Controller

DISK = "/srv/crowded"
FOLDER = f"{DISK}/pool"
FILLER = f"{DISK}/of-somebody-else"
WEB: dict[str, Any] = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "tiny",
    "networks": ["default"],
    "start": False,
    "data_disks": [{"name": "logs", "size": "8MiB"}],
}


@dataclass(frozen=True)
class Crowded:
    """The pool `crowded` of h1, on a disk of 256 MiB, and a catalog that has everything there."""

    lab: Lab
    catalog: dict[str, Any]

    def run(self, task: Task) -> Any:
        return task.run(Controller(Infrastructure(read_catalog(self.catalog), open_host), {}))

    def leave(self, kib: int) -> None:
        """Somebody else writes, until there is no more room than that."""
        free = int(self.lab.host("h1", "df", "--output=avail", "-k", DISK).stdout.split()[-1])
        if free > kib:
            self.lab.host("h1", "fallocate", "-l", f"{free - kib}KiB", FILLER)

    def make_room(self) -> None:
        self.lab.host("h1", "rm", "-f", FILLER)

    def kept(self) -> dict[str, str]:
        """All that is there, byte by byte: what the pool's folder holds, and the definitions."""
        files = self.lab.host("h1", "find", FOLDER, "-type", "f", "-exec", "sha256sum", "{}", "+").stdout
        with closing(self.lab.connect("h1")) as connection:
            domains = {one.name(): one.XMLDesc(2) for one in connection.listAllDomains()}
            networks = {one.name(): one.XMLDesc(0) for one in connection.listAllNetworks()}
        return {**domains, **networks, "files": "\n".join(sorted(files.splitlines()))}

    def refuses(self, task: Task) -> AblestackError:
        """For want of room, in a sentence, and all is as before."""
        before = self.kept()
        with pytest.raises(AblestackError) as error:
            self.run(task)
        assert error.value.code.value == "InsufficientCapacity", error.value.details
        assert self.kept() == before
        assert audit(self.lab, ["h1"]).problems == []
        return error.value


@pytest.fixture(scope="module")
def crowded(clean_lab: Lab) -> Iterator[Crowded]:
    clear_state(clean_lab, "h1")
    clean_lab.host("h1", "sh", "-c", f"mkdir -p {DISK} && mount -t tmpfs -o size=256m none {DISK} && mkdir {FOLDER}")
    with closing(clean_lab.connect("h1")) as connection:
        pool = connection.storagePoolDefineXML(
            f"<pool type='dir'><name>crowded</name><target><path>{FOLDER}</path></target></pool>"
        )
        pool.create()
        catalog = clean_lab.catalog(
            compute_offerings={"tiny": {"cpu": 1, "memory": 96}}, settings={"cpu_overprovisioning": 20}
        )
        catalog["hosts"][0]["pool"] = "crowded"
        yield Crowded(clean_lab, catalog)
        pool.destroy()
        pool.undefine()
    clean_lab.host("h1", "umount", DISK)


@pytest.fixture
def web1(crowded: Crowded) -> Iterator[dict[str, Any]]:
    """The options of a VM. It is removed while the disk is full, for that is how room is made."""
    crowded.run(tiny(crowded))
    yield WEB
    crowded.leave(0)
    crowded.run(vm("web1", state="expunged", forced=True, delete_data_disks="all"))
    crowded.make_room()


def tiny(crowded: Crowded) -> Task:
    return template("tiny", src=str(crowded.lab.tiny), format="qcow2")


def fails_then_converges(crowded: Crowded, task: Task, volume: str, kib: int) -> None:
    """The disk fills up to so many KiB right before that volume is made, when every check has been passed."""
    create = LibvirtStorage.create_volume

    def crowded_out(host: LibvirtStorage, made: VolumeSpec) -> None:
        if made.name.endswith(volume):
            crowded.leave(kib)
        create(host, made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LibvirtStorage, "create_volume", crowded_out)
        error = crowded.refuses(task)
    assert "No space left on device" in error.details["libvirt"]
    assert volume in error.message
    crowded.make_room()  # of which libvirt knows nothing
    assert crowded.run(task).changed
    assert not crowded.run(task).changed


def test_an_image_that_does_not_fit_is_refused_before_it_is_made(crowded: Crowded) -> None:
    crowded.leave(1024)
    assert "needs" in crowded.refuses(tiny(crowded)).message
    crowded.make_room()
    assert crowded.run(tiny(crowded)).changed
    crowded.run(template("tiny", state="absent"))


@pytest.mark.parametrize(("volume", "kib"), [("tiny.json", 0), ("tiny.qcow2", 1024)])
def test_a_template_for_which_there_is_no_room_any_more(crowded: Crowded, volume: str, kib: int) -> None:
    fails_then_converges(crowded, tiny(crowded), volume, kib)
    crowded.run(template("tiny", state="absent"))


@pytest.mark.parametrize(("volume", "kib"), [("root.qcow2", 64), ("logs.qcow2", 0), ("seed.iso", 64)])
def test_a_deploy_for_which_there_is_no_room(crowded: Crowded, web1: dict[str, Any], volume: str, kib: int) -> None:
    fails_then_converges(crowded, vm(**web1), volume, kib)


@pytest.mark.parametrize(("volume", "kib"), [("root.s1.qcow2", 0), ("data1.s1.qcow2", 64)])
def test_a_snapshot_for_which_there_is_no_room(crowded: Crowded, web1: dict[str, Any], volume: str, kib: int) -> None:
    crowded.run(vm(**web1))
    crowded.run(snapshot("s0"))
    fails_then_converges(crowded, snapshot("s1"), volume, kib)


def test_a_snapshot_with_memory_for_which_there_is_no_room(crowded: Crowded, web1: dict[str, Any]) -> None:
    crowded.run(vm(**{**web1, "start": True, "wait": "agent", "wait_timeout": 300}))
    # A guest that has still something to write is paused where there is no room for it.
    assert crowded.lab.guest_run("h1", "web1", "sync")[0] == 0
    crowded.leave(64)
    with pytest.raises(AblestackError) as error:
        crowded.run(snapshot("m1", memory=True))
    assert error.value.code.value == "InsufficientCapacity", error.value.details
    assert audit(crowded.lab, ["h1"]).problems == []
    now = crowded.run(vm("web1")).result["vm"]
    assert (now["state"], now["snapshots"]) == ("Running", [])
    crowded.make_room()
    assert crowded.run(snapshot("m1", memory=True)).changed
    assert not crowded.run(snapshot("m1", memory=True)).changed
