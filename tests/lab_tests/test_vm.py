# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real libvirt and a real guest: deploy, reach, power, change, destroy, recover, expunge."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import libvirt
import pytest
from lab_tests.lab import Lab
from lab_tests.runs import Run

UNREACHABLE = {
    "catalog": None,
    "uri": "qemu+unix:///system?socket=/nonexistent",
    "compute_offering": None,
    "ssh_key_pairs": None,
    "cpu": 1,
    "memory": 96,
}
FOREIGN = "<domain type='qemu'><name>foreign</name><memory>1024</memory><os><type>hvm</type></os></domain>"
Vm = Callable[..., dict[str, Any]]
HERE = Path(__file__).resolve().parent
WEB = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "tiny",
    "networks": ["default"],
    "ssh_key_pairs": ["lab"],
    "user_data": "#cloud-config\npassword: not-to-be-seen\n",
    "wait": "ssh",
}


@pytest.fixture(scope="module")
def catalog(clean_lab: Lab) -> dict[str, Any]:
    return clean_lab.catalog(
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}, "free": {"custom": True}},
        ssh_key_pairs={"lab": clean_lab.public_key},
        settings={"cpu_overprovisioning": 20, "stop_timeout": 180},
    )


@pytest.fixture(scope="module")
def vm(clean_lab: Lab, catalog: dict[str, Any], run_module: Callable[..., Any]) -> Vm:
    """Runs ablestack_vm once; the template is registered."""
    run_module(
        "ablestack_template", {"catalog": catalog, "name": "tiny", "format": "qcow2", "src": str(clean_lab.tiny)}
    )

    def run(check: bool = False, ok: bool | None = True, **options: Any) -> dict[str, Any]:
        given = {key: value for key, value in {"catalog": catalog, **options}.items() if value is not None}
        return dict(run_module("ablestack_vm", given, check=check, diff=True, ok=ok))

    return run


def thrice(vm: Vm, **options: Any) -> dict[str, Any]:
    """Check mode predicts the run to the letter, and a second run changes nothing."""
    predicted, done, again = vm(check=True, **options), vm(**options), vm(**options)
    assert predicted["changed"] is done["changed"]
    assert predicted["diff"] == done["diff"]
    assert predicted["changes"] == done["changes"]
    assert again["changed"] is False, again["changes"]
    return done


def boot_id(lab: Lab, address: str) -> str:
    return lab.ssh(address, "cat", "/proc/sys/kernel/random/boot_id").stdout.strip()


def test_a_vm_lives_from_its_template_to_its_expunge(clean_lab: Lab, vm: Vm) -> None:
    done = thrice(vm, **WEB)
    web = done["vm"]
    assert (web["state"], web["host"], web["cpu"], web["memory"]) == ("Running", "h1", 1, 96)
    assert "not-to-be-seen" not in str(done)
    address = web["ip_address"]
    assert clean_lab.ssh(address, "hostname").stdout.strip() == "web1"
    clean_lab.ssh(address, "echo kept > /root/note; sync")

    first = boot_id(clean_lab, address)
    restarted = vm(name="web1", state="restarted", wait="ssh")
    assert restarted["changed"]
    second = boot_id(clean_lab, address)
    assert second != first

    assert thrice(vm, name="web1", state="stopped")["vm"]["state"] == "Stopped"
    assert thrice(vm, name="web1", state="started", wait="ssh")["vm"]["nics"][0]["mac"] == web["nics"][0]["mac"]
    assert boot_id(clean_lab, address) not in (first, second)

    refused = vm(name="web1", compute_offering="free", cpu=1, memory=128, ok=False)
    assert refused["error"]["code"] == "InvalidState"
    assert thrice(vm, name="web1", state="stopped", forced=True)["vm"]["state"] == "Stopped"
    changed = thrice(vm, name="web1", compute_offering="free", cpu=1, memory=128, labels={"tier": "front"})
    assert changed["vm"]["memory"] == 128

    destroyed = thrice(vm, name="web1", state="destroyed")["vm"]
    assert (destroyed["state"], destroyed["id"]) == ("Destroyed", web["id"])
    recovered = thrice(vm, name="web1", state="recovered")["vm"]
    assert (recovered["id"], recovered["nics"][0]["mac"]) == (web["id"], web["nics"][0]["mac"])
    vm(name="web1", state="started", wait="ssh")
    assert clean_lab.ssh(address, "cat /root/note").stdout.strip() == "kept"

    thrice(vm, name="web1", state="expunged", forced=True)
    with closing(clean_lab.connect("h1")) as connection:
        assert connection.listAllDomains() == []
        pool = connection.storagePoolLookupByName("default")
        pool.refresh()
        assert sorted(pool.listVolumes()) == ["tmpl-tiny.json", "tmpl-tiny.qcow2"]


def test_a_seed_is_written_anew_and_brought_back_where_a_killed_task_left_its_spare(clean_lab: Lab, vm: Vm) -> None:
    thrice(vm, **{**WEB, "name": "web2", "wait": "none"}, start=False)
    thrice(vm, name="web2", user_data="#cloud-config\npassword: not-to-be-seen-either\n")
    with closing(clean_lab.connect("h1")) as connection:
        domain = connection.lookupByName("web2")
        pool = connection.storagePoolLookupByName("default")
        pool.refresh()
        (seed,) = (name for name in pool.listVolumes() if "seed.iso" in name)
        clean_lab.host("h1", "mv", f"/srv/default/{seed}", f"/srv/default/{seed}.new")
        pool.refresh()
        with pytest.raises(libvirt.libvirtError):
            domain.create()
        assert thrice(vm, name="web2", state="started")["vm"]["state"] == "Running"
        assert [name for name in pool.listVolumes() if "seed.iso" in name] == [seed]
    thrice(vm, name="web2", state="expunged", forced=True)


def test_a_vm_whose_memory_its_host_has_saved_goes_on_from_it_or_is_destroyed(clean_lab: Lab, vm: Vm) -> None:
    def save() -> None:
        with closing(clean_lab.connect("h1")) as connection:
            connection.lookupByName("asleep").managedSave(0)

    address = vm(**{**WEB, "name": "asleep"})["vm"]["ip_address"]
    first = boot_id(clean_lab, address)
    save()
    assert vm(name="asleep")["vm"]["state"] == "Stopped"
    for refused in ({"state": "reinstalled"}, {"root_disk_size": 2}, {"data_disks": [{"name": "more", "size": 1}]}):
        failed = vm(name="asleep", ok=False, **refused)
        assert failed["error"]["code"] == "InvalidState"
        assert "memory of VM 'asleep' is saved" in failed["msg"]
    vm(name="asleep", labels={"tier": "front"})
    thrice(vm, name="asleep", state="started")
    clean_lab.wait_ssh(address, 180)  # its network needs a moment
    assert boot_id(clean_lab, address) == first
    with closing(clean_lab.connect("h1")) as connection:
        assert "front" in connection.lookupByName("asleep").XMLDesc(0)

    save()
    thrice(vm, name="asleep", state="stopped", forced=True, root_disk_size=2)
    vm(name="asleep", state="started", wait="ssh")
    assert boot_id(clean_lab, address) != first
    save()
    thrice(vm, name="asleep", state="destroyed")
    vm(name="asleep", state="recovered")
    vm(name="asleep", state="started", wait="none")
    save()
    thrice(vm, name="asleep", state="expunged")


def test_a_guest_that_will_not_go_down_is_an_error_and_keeps_running(clean_lab: Lab, vm: Vm) -> None:
    address = vm(**{**WEB, "name": "deaf"})["vm"]["ip_address"]
    clean_lab.ssh(address, "killall -STOP acpid qemu-ga tiny-ga; true")
    for state in ("stopped", "restarted"):
        failed = vm(name="deaf", state=state, timeout=3, ok=False)
        assert failed["error"]["code"] == "Timeout"
        assert vm(name="deaf")["vm"]["state"] == "Running"
    # A hung agent does not hang us: its addresses come from elsewhere, and the power is still ours to cut.
    assert vm(name="deaf", state="stopped", timeout=3, force_after_timeout=True)["vm"]["state"] == "Stopped"
    vm(name="deaf", state="expunged")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "1web"}, "InvalidInput"),
        ({"name": "web_1"}, "InvalidInput"),
        ({"template": "missing"}, "NotFound"),
        ({"root_disk_size": "100MiB"}, "InvalidInput"),
        ({"networks": ["missing"]}, "NotFound"),
        ({"compute_offering": "missing"}, "NotFound"),
        ({"name": "foreign"}, "NotManaged"),
        (UNREACHABLE, "HostUnavailable"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    clean_lab: Lab, vm: Vm, options: dict[str, Any], code: str
) -> None:
    with closing(clean_lab.connect("h1")) as connection:
        foreign = connection.defineXML(
            "<domain type='qemu'><name>foreign</name><memory>1024</memory><os><type>hvm</type></os></domain>"
        )
        try:
            before = everything(connection)
            failed = vm(**{**WEB, "name": "bad1", **options}, ok=False)
            assert failed["error"]["code"] == code
            assert "Traceback" not in str(failed)
            assert "\n" not in failed["msg"]
            assert everything(connection) == before
        finally:
            foreign.undefine()


def everything(connection: Any) -> list[str]:
    """All definitions and volume names of a host."""
    found = [domain.XMLDesc(0) for domain in connection.listAllDomains()]
    found += [network.XMLDesc(0) for network in connection.listAllNetworks()]
    for pool in connection.listAllStoragePools():
        pool.refresh()
        found += sorted(pool.listVolumes())
    return found


def test_killed_at_every_step_the_same_task_deploys_it(
    clean_lab: Lab, vm: Vm, catalog: dict[str, Any], tmp_path: Path
) -> None:
    """Real processes, really killed: before each step of a deploy, and after the last."""
    options = {
        "name": "phoenix",
        "template": "tiny",
        "compute_offering": "tiny",
        "networks": ["default"],
        "wait": "none",
    }
    for step in range(1, 99):
        done = killed_at(step, catalog, options, tmp_path)
        deployed = vm(**options)
        assert deployed["vm"]["state"] == "Running"
        assert vm(**options)["changed"] is False
        with closing(clean_lab.connect("h1")) as connection:
            pool = connection.storagePoolLookupByName("default")
            pool.refresh()
            own = [name for name in pool.listVolumes() if name.startswith("vm-")]
            prefix = f"vm-phoenix-{deployed['vm']['id'][:8]}-"
            assert sorted(own) == [f"{prefix}root.qcow2", f"{prefix}seed.iso"]
            assert [domain.name() for domain in connection.listAllDomains()] == ["phoenix"]
        vm(name="phoenix", state="expunged", forced=True)
        if done:
            break
    assert step > 4


def killed_at(step: int, catalog: dict[str, Any], options: dict[str, Any], folder: Path) -> bool:
    """Deploys in a process that kills itself before that step; True when it had fewer and came to its end."""
    job = folder / "job.json"
    job.write_text(json.dumps({"catalog": catalog, "options": options, "step": step}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(HERE / "killed.py"), str(job)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == 0


def test_modules_run_on_the_kvm_host_itself(clean_lab: Lab, run_playbook: Callable[..., Run]) -> None:
    """`hosts: kvm_hosts` with no connection options at all: the default URI of the host it runs on."""
    tasks = [
        {"name": "look", "ablestack.kvm.ablestack_vm_info": {"include_unmanaged": True}},
        {"name": "template", "ablestack.kvm.ablestack_template_info": {}},
    ]
    run = run_playbook([{"hosts": "h1", "gather_facts": False, "tasks": tasks}])
    assert run["look"]["vms"] == []
    assert [row["name"] for row in run["template"]["templates"]] == ["tiny"]
