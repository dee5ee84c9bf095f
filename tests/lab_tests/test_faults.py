# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of every kind of fault, and of races, on real libvirt: broken in the midst, the same task again ends it.

Every case there is runs in memory (tests/functional/test_faults.py, test_races.py). A killed process is in test_vm.py.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab, wait_for
from soak.host_audit import audit, clear_state

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import execute
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from support.tasks import Task, snapshot, template, vm, volume
from support.worlds import Controller

WEB: dict[str, Any] = {"name": "web1", "template": "tiny", "compute_offering": "tiny", "networks": ["default"]}
OFF = {**WEB, "start": False}
AT_ONCE = Path(__file__).with_name("at_once.py")


@pytest.fixture(scope="module")
def site(clean_lab: Lab) -> dict[str, Any]:
    """The catalog of h1 alone, whose template is there."""
    clear_state(clean_lab, "h1")
    catalog = clean_lab.catalog(
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}}, settings={"cpu_overprovisioning": 20}
    )
    run(catalog, template("tiny", src=str(clean_lab.tiny), format="qcow2"))
    return catalog


@pytest.fixture(autouse=True)
def accounted(clean_lab: Lab, site: dict[str, Any]) -> Iterator[None]:
    """After every test everything is accounted for, and the next one finds nothing of it."""
    yield
    assert audit(clean_lab, ["h1"]).problems == []
    for name in ("web1", "web2"):
        run(site, vm(name, state="expunged", forced=True, delete_data_disks="all"))


def run(catalog: dict[str, Any], task: Task) -> Any:
    return task.run(Controller(Infrastructure(read_catalog(catalog), open_host), {}))


def state_of(catalog: dict[str, Any], name: str = "web1") -> str:
    return str(run(catalog, vm(name)).result["vm"]["state"])


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Something happens right before the number-th step."""
    begun = 0

    def disturbed(do: Callable[..., Any]) -> Callable[..., Any]:
        def step(host: Any, verb: Any) -> Any:
            nonlocal begun
            begun += 1
            if begun == number:
                action()
            return do(host, verb)

        return step

    for kind, do in list(execute._DO.items()):
        monkeypatch.setitem(execute._DO, kind, disturbed(do))


def restart_daemon(lab: Lab) -> None:
    # The next one refuses to start while this one, which takes its time to die, holds the lock of their file.
    dead = "while kill -0 $pid 2>/dev/null; do sleep 0.05; done"
    lab.host("h1", "sh", "-c", f"pid=$(cat /run/libvirtd.pid); kill -9 $pid; {dead}; libvirtd -d -l")
    wait_for(lambda: lab.host("h1", "virsh", "version", check=False).returncode == 0, 120, "libvirtd")


def drop_connections(_lab: Lab) -> None:
    """Every connection of this process to a libvirt is cut off."""
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as end:
                if end.family == socket.AF_UNIX and "libvirt" in str(end.getpeername()):
                    end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@pytest.mark.parametrize("fault", [restart_daemon, drop_connections])
@pytest.mark.parametrize("step", [2, 4])
def test_a_deploy_that_loses_its_host_is_ended_by_the_same_task(
    clean_lab: Lab, site: dict[str, Any], fault: Callable[[Lab], None], step: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, step, lambda: fault(clean_lab))
        with pytest.raises(AblestackError) as error:
            run(site, vm(**OFF))
        assert error.value.code.value == "HostUnavailable"
    assert run(site, vm(**OFF)).changed
    assert not run(site, vm(**OFF)).changed
    assert state_of(site) == "Stopped"


def test_a_snapshot_that_loses_its_daemon_is_ended_by_the_same_task(clean_lab: Lab, site: dict[str, Any]) -> None:
    run(site, vm(**OFF))
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 3, lambda: restart_daemon(clean_lab))
        with pytest.raises(AblestackError):
            run(site, snapshot("s1"))
    done = run(site, snapshot("s1"))
    assert [row["name"] for row in done.result["snapshots"]] == ["s1"]
    run(site, snapshot("s1", "absent"))


def test_a_pool_that_fills_up_leaves_nothing_behind(clean_lab: Lab, site: dict[str, Any]) -> None:
    clean_lab.host("h1", "sh", "-c", "mkdir -p /srv/small && mount -t tmpfs -o size=4m small /srv/small")
    with closing(clean_lab.connect("h1")) as connection:
        pool = connection.storagePoolDefineXML(
            "<pool type='dir'><name>small</name><target><path>/srv/small</path></target></pool>"
        )
        pool.create()
        pool.refresh()
        host = {**site["hosts"][0], "pool": "small", "template_pool": "default"}
        catalog = {**site, "hosts": [host]}
        full = vm(**OFF, clone="full")
        try:
            with pytest.raises(AblestackError) as error:
                run(catalog, full)
            assert error.value.code.value == "InsufficientCapacity"
            pool.refresh()
            assert pool.listVolumes() == []
            clean_lab.host("h1", "mount", "-o", "remount,size=200m", "/srv/small")
            pool.refresh()
            assert run(catalog, full).changed
            run(catalog, vm("web1", state="expunged"))
        finally:
            pool.destroy()
            pool.undefine()
            clean_lab.host("h1", "umount", "/srv/small")


def race(catalog: dict[str, Any], tasks: list[Task]) -> list[str]:
    """Real processes, one for each task, all at once: changed, unchanged, or the code of its error."""
    jobs = [json.dumps({"catalog": catalog, "module": task.module, "options": task.options}) for task in tasks]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, AT_ONCE, job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for job in jobs
        ]
        try:
            assert [racer.stdout and racer.stdout.readline() for racer in racers] == ["ready\n"] * len(racers)
            for racer in racers:
                assert racer.stdin
                racer.stdin.write("go\n")
                racer.stdin.flush()
            return [racer.communicate(timeout=900)[0].strip() for racer in racers]
        finally:
            for racer in racers:
                racer.kill()  # nothing to one that has ended


def test_eight_that_deploy_one_vm_make_one(site: dict[str, Any]) -> None:
    told = Counter(race(site, [vm(**OFF)] * 8))
    assert told["changed"] == 1, told
    assert set(told) <= {"changed", "unchanged", "Conflict"}


def test_eight_that_take_snapshots_lose_no_image(site: dict[str, Any]) -> None:
    run(site, vm(**OFF))
    told = race(site, [snapshot(f"s{number}") for number in range(8)])
    assert set(told) <= {"changed", "Conflict"}, told
    found = run(site, snapshot("s9")).result["snapshots"]
    assert len(found) == told.count("changed") + 1


def test_one_disk_goes_to_one_of_two_vms(site: dict[str, Any]) -> None:
    for name in ("web1", "web2"):
        run(site, vm(**{**OFF, "name": name}))
    run(site, volume("spare", size="1MiB"))
    told = race(site, [volume("spare", state="attached", vm=name) for name in ("web1", "web2")] * 4)
    assert set(told) <= {"changed", "unchanged", "Conflict", "InUse"}, told
    assert told.count("changed") == 1, told
    holders = [name for name in ("web1", "web2") if len(run(site, vm(name)).result["vm"]["disks"]) == 2]
    assert len(holders) == 1


def test_destroyed_recovered_and_expunged_at_once_it_comes_to_one_end(clean_lab: Lab, site: dict[str, Any]) -> None:
    run(site, vm(**OFF))
    run(site, vm("web1", state="destroyed"))
    told = race(site, [vm("web1", state=state) for state in ("destroyed", "recovered", "expunged", "recovered")] * 2)
    allowed = {"changed", "unchanged", "Conflict", "NotFound", "InvalidState", "AlreadyExists"}
    assert set(told) <= allowed, told
    assert told.count("changed") >= 1, told
    with closing(clean_lab.connect("h1")) as connection:
        left = [domain.name() for domain in connection.listAllDomains()]
        files = connection.storagePoolLookupByName("default").listVolumes()
    own = [name for name in files if name.startswith("vm-web1-")]
    assert len(left) <= 1, left
    assert bool(own) == bool(left), "there is a VM with all that is its own, or nothing"
    # whoever comes next finds it at rest
    assert run(site, vm("web1", state="expunged")).changed == bool(left)
