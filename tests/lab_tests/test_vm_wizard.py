# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wizard offers, changed under real guests: disks, NICs, sizes, CPU, memory, ISO, firmware, TPM, reinstall."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pycdlib
import pytest
from lab_tests.lab import Lab, wait_for

Run = Callable[..., dict[str, Any]]
GUEST = {"template": "tiny", "networks": ["default"], "ssh_key_pairs": ["lab"], "wait": "agent", "wait_timeout": 300}
NO_DHCP = (
    "<network><name>quiet</name><forward mode='nat'/><bridge name='quiet0'/>"
    "<ip address='10.66.0.1' netmask='255.255.255.0'/></network>"
)


@pytest.fixture(scope="module")
def catalog(clean_lab: Lab) -> dict[str, Any]:
    return clean_lab.catalog(
        compute_offerings={"grow": {"custom": True, "max_cpu": 3, "max_memory": 704, "dynamic_scaling": True}},
        ssh_key_pairs={"lab": clean_lab.public_key},
        settings={"cpu_overprovisioning": 20},
    )


@pytest.fixture(scope="module")
def task(catalog: dict[str, Any], run_module: Callable[..., Any]) -> Run:
    """Runs one module of ours."""

    def run(module: str = "ablestack_vm", check: bool = False, ok: bool = True, **options: Any) -> dict[str, Any]:
        return dict(run_module(module, {"catalog": catalog, **options}, check=check, diff=True, ok=ok))

    return run


@pytest.fixture(scope="module")
def thrice(catalog: dict[str, Any], run_playbook: Callable[..., Any]) -> Run:
    """One task in check mode, for real, and again: the run is as predicted to the letter, the next changes nothing."""

    def run(module: str = "ablestack_vm", **options: Any) -> dict[str, Any]:
        task = {f"ablestack.kvm.{module}": {"catalog": catalog, **options}, "diff": True}
        names = ("predicted", "done", "again")
        tasks = [{"name": name, **task, "check_mode": name == "predicted"} for name in names]
        ran = run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
        predicted, done, again = (ran[name] for name in names)
        assert (predicted["changed"], predicted["diff"]) == (True, done["diff"])
        assert predicted["changes"] == done["changes"]
        assert again["changed"] is False, again
        return dict(done)

    return run


@pytest.fixture(scope="module")
def images(clean_lab: Lab, task: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The template and the ISO that these tests use."""
    iso = tmp_path_factory.mktemp("iso") / "rescue.iso"
    image = pycdlib.PyCdlib()
    image.new(vol_ident="RESCUE", rock_ridge="1.09")
    image.add_fp(io.BytesIO(b"to the rescue\n"), 14, "/HELLO.;1", rr_name="hello")
    image.write(str(iso))
    image.close()
    with closing(clean_lab.connect()) as connection:
        connection.networkDefineXML(NO_DHCP).create()
    task("ablestack_template", name="tiny", src=str(clean_lab.tiny))
    task("ablestack_template", name="rescue", src=str(iso), format="iso")


def impacts(result: dict[str, Any]) -> dict[str, str]:
    return {change["path"]: change["impact"] for change in result["changes"]}


def inside(lab: Lab, name: str, script: str) -> str:
    """What a shell script writes in the guest."""
    words = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
    pid = lab.agent("h1", name, "guest-exec", timeout=60, **words)["pid"]
    status: dict[str, Any] = {}

    def exited() -> bool:
        status.update(lab.agent("h1", name, "guest-exec-status", timeout=60, pid=pid))
        return bool(status["exited"])

    wait_for(exited, 180, f"'{script}' in {name}")
    return base64.b64decode(status.get("out-data", "")).decode("utf-8", "replace")


def memory_of(lab: Lab, name: str) -> int:
    """MiB that the guest's kernel sees."""
    return int(inside(lab, name, "grep MemTotal /proc/meminfo").split()[1]) // 1024


def test_a_running_guest_is_changed_in_every_way(clean_lab: Lab, images: None, task: Run, thrice: Run) -> None:
    lab = clean_lab
    task(name="g1", compute_offering="grow", cpu=1, memory=192, **GUEST)
    with closing(lab.connect()) as connection:
        boots = connection.lookupByName("g1").ID()

    # a disk and a NIC come
    disk = {"name": "data", "size": "64MiB"}
    done = thrice(name="g1", data_disks=[disk], networks=["default", "default"])
    assert impacts(done) == {"data_disks.data": "live", "networks.default": "live"}
    mac = done["vm"]["nics"][1]["mac"]
    wait_for(lambda: mac in inside(lab, "g1", "cat /sys/class/net/*/address"), 90, "the NIC in the guest")

    # disks, CPU and memory grow, and the guest sees it
    memory = memory_of(lab, "g1")
    done = thrice(
        name="g1", root_disk_size="2GiB", cpu=2, memory=448,
        data_disks=[{"name": "data", "size": "128MiB", "max_iops": 500}],
    )  # fmt: skip
    assert set(impacts(done).values()) == {"live"}
    assert not done["restart_required"]
    sizes, wanted = "cat /sys/block/vda/size /sys/block/vdb/size", ["4194304", "262144"]
    wait_for(lambda: inside(lab, "g1", sizes).split() == wanted, 60, "the sizes of the disks")
    wait_for(lambda: memory_of(lab, "g1") >= memory + 250, 60, "the memory")
    wait_for(lambda: inside(lab, "g1", "cat /sys/devices/system/cpu/online").strip() == "0-1", 90, "the second CPU")
    # its host counts what it has, and not the room that is left
    (host,) = task("ablestack_host_info")["hosts"]
    assert (host["cpu"]["used"], host["memory"]["used"]) == (2, 448)

    # a limit goes
    done = thrice(name="g1", data_disks=[{"name": "data", "max_iops": 0}])
    assert impacts(done) == {"data_disks.data.max_iops": "live"}
    with closing(lab.connect()) as connection:
        assert connection.lookupByName("g1").blockIoTune("vdb")["total_iops_sec"] == 0

    # an ISO is inserted; while it is mounted it is locked, and then ejected
    thrice(name="g1", attached_iso="rescue")
    mount = "mkdir -p /iso; for d in /dev/sr*; do mount -o ro $d /iso && cat /iso/hello && break; umount /iso; done"
    assert inside(lab, "g1", mount) == "to the rescue\n"
    assert task(name="g1", attached_iso="", ok=False)["error"]["code"] == "InvalidState"
    inside(lab, "g1", "umount /iso")
    thrice(name="g1", attached_iso="")

    # what needs the power off is refused before anything is done
    refused = task(name="g1", memory=1024, boot_type="uefi", compute_offering="grow", ok=False)
    assert refused["error"]["code"] == "InvalidInput"
    refused = task(name="g1", boot_type="uefi", data_disks=[], ok=False)
    assert refused["error"]["code"] == "InvalidState"
    assert [disk["name"] for disk in task(name="g1")["vm"]["disks"]] == ["root", "data"]

    # the NIC goes, and nothing of all that was a boot
    thrice(name="g1", networks=["default"])
    assert mac not in inside(lab, "g1", "cat /sys/class/net/*/address")
    with closing(lab.connect()) as connection:
        assert connection.lookupByName("g1").ID() == boots
    task(name="g1", state="expunged", forced=True, delete_data_disks="all")


def test_a_disk_goes_to_another_vm_that_boots_the_same_template_by_uefi(
    clean_lab: Lab, images: None, task: Run, thrice: Run
) -> None:
    lab = clean_lab
    task(name="d1", cpu=1, memory=96, data_disks=[{"name": "moved", "size": "128MiB"}], **GUEST)
    inside(lab, "d1", "echo precious > /dev/vdb; sync")
    volume = thrice(module="ablestack_volume", name="moved", state="detached")["volume"]
    assert (volume["state"], volume["size_gib"]) == ("Detached", 0.125)
    assert inside(lab, "d1", "cat /proc/partitions; ls -d /sys/firmware/efi").count("vdb") == 0
    task(name="d1", state="expunged", forced=True)
    done = task(
        name="d2", cpu=1, memory=256, boot_type="uefi", tpm=True, data_disks=[{"name": "moved"}], **GUEST
    )["vm"]  # fmt: skip
    assert (done["boot_type"], done["tpm"], done["disks"][1]["size_gib"]) == ("uefi", True, 0.125)
    listed = task("ablestack_volume_info", vm="d2")["volumes"]
    assert [(row["name"], row["vm"], row["target"]) for row in listed] == [("moved", "d2", "vdb")]
    found = inside(lab, "d2", "head -n 1 /dev/vdb; ls -d /sys/firmware/efi; ls /sys/class/tpm")
    assert found.split() == ["precious", "/sys/firmware/efi", "tpm0"]
    # what its firmware and TPM keep outlives a way without them, and not the VM
    task(name="d2", boot_type="bios", tpm=False, allow_restart=True, forced=True)
    assert boot_state(lab, done) == ["nvram", "tpm"]
    task(name="d2", state="expunged", forced=True)
    assert boot_state(lab, done) == []
    assert task("ablestack_volume", name="moved", state="absent")["volume"] == {}


def boot_state(lab: Lab, vm: dict[str, Any]) -> list[str]:
    """What the host keeps of a VM's firmware and TPM."""
    folders = {"nvram": "/var/lib/libvirt/qemu/nvram", "tpm": "/var/lib/libvirt/swtpm"}
    kept = {what: lab.host("h1", "ls", folder, check=False).stdout for what, folder in folders.items()}
    return [what for what, names in kept.items() if vm["id"][:8] in names]


def test_a_reinstalled_vm_begins_anew_and_a_late_guest_says_what_it_said_last(
    clean_lab: Lab, images: None, task: Run
) -> None:
    lab = clean_lab
    # nobody gives it an address there, and it says something all the time
    quiet = {**GUEST, "networks": ["quiet"]}
    made = task(name="r1", cpu=1, memory=96, root_disk_size="2GiB", **quiet)["vm"]
    inside(lab, "r1", "(for n in $(seq 600); do echo last words > /dev/ttyS0; sleep 1; done) > /dev/null 2>&1 &")
    late = task(name="r1", wait="ip", wait_timeout=20, ok=False)
    assert late["error"]["code"] == "Timeout"
    assert "last words" in late["msg"]
    assert late["error"]["details"]["console"][-1] == "last words"
    inside(lab, "r1", "touch /left-over; sync")
    done = task(name="r1", state="reinstalled", forced=True, wait="agent")
    assert done["changed"]
    assert done["vm"]["nics"][0]["mac"] == made["nics"][0]["mac"]
    assert done["vm"]["disks"][0]["size_gib"] == 2
    assert inside(lab, "r1", "cat /sys/block/vda/size") == "4194304\n"
    assert "left-over" not in inside(lab, "r1", "ls /")
    assert inside(lab, "r1", "hostname") == "r1\n"
    task(name="r1", state="expunged", forced=True)


def boot_code(text: str) -> bytes:
    """A boot sector that writes the text to the serial port about once a second, wherever it is loaded."""
    head = bytes.fromhex("0e1ffce800005e")  # push cs; pop ds; cld; call next; next: pop si
    head += bytes.fromhex("83c6") + b"\x00"  # add si, text - next
    head += bytes.fromhex("56ac84c07406baf803eeebf55e")  # push si; put: lodsb; until 0: out 3f8h, al; pop si
    head += bytes.fromhex("56b486b90f00ba4042cd155eebe5")  # push si; wait 1 s (int 15h); pop si; again
    code = bytearray(head)
    code[9] = len(head) - 6
    code += text.encode() + b"\r\n\0"
    return bytes(code) + bytes(510 - len(code)) + b"\x55\xaa"


def hear(lab: Lab, name: str, text: str) -> None:
    """Waits until the VM writes that to its console, which nobody else reads meanwhile."""
    with closing(lab.connect()) as connection:
        console = ElementTree.fromstring(connection.lookupByName(name).XMLDesc()).find("devices/console")
    assert console is not None
    lab.host("h1", "timeout", "180", "grep", "-a", "-m", "1", text, console.attrib["tty"])


def says(late: dict[str, Any], text: str) -> bool:
    """Whether that was on the console of a VM whose agent, of course, never came."""
    assert late["error"]["code"] == "Timeout", late
    return text in late["error"]["details"]["console"]


def test_a_vm_from_an_iso_boots_it_until_its_disk_boots(clean_lab: Lab, task: Run, thrice: Run, tmp_path: Path) -> None:
    lab, iso = clean_lab, tmp_path / "install.iso"
    image = pycdlib.PyCdlib()
    image.new(vol_ident="INSTALL")
    sector = boot_code("booted from the ISO")
    image.add_fp(io.BytesIO(sector), len(sector), "/BOOT.;1")
    image.add_eltorito("/BOOT.;1", "/BOOT.CAT;1")
    image.write(str(iso))
    image.close()
    task("ablestack_template", name="install", src=str(iso), format="iso")
    options = {
        "name": "i1", "iso": "install", "cpu": 1, "memory": 96, "root_disk_size": "1GiB", "networks": ["default"],
    }  # fmt: skip
    assert task(**options, wait="running")["changed"]
    hear(lab, "i1", "booted from the ISO")
    late = task(**options, wait="agent", wait_timeout=15, ok=False)
    assert says(late, "booted from the ISO")
    found = task(**options)
    assert not found["changed"]
    vm = found["vm"]
    assert (vm["state"], vm["iso"], vm["template"]) == ("Running", "install", "")
    (root,) = vm["disks"]
    assert (root["role"], root["size_gib"]) == ("root", 1)

    # the installer has written a disk that boots
    task(name="i1", state="stopped", forced=True)
    path = f"/srv/{root['pool']}/{root['volume']}"
    lab.host(
        "h1",
        "sh",
        "-c",
        f"printf %s {base64.b64encode(boot_code('booted from the disk')).decode()} | base64 -d > /root/mbr",
    )
    lab.host("h1", "qemu-io", "-c", "write -s /root/mbr 0 512", path)
    assert task(name="i1", state="started", wait="running")["changed"]
    hear(lab, "i1", "booted from the disk")
    late = task(name="i1", state="started", wait="agent", wait_timeout=15, ok=False)
    assert says(late, "booted from the disk")
    assert not says(late, "booted from the ISO")
    assert thrice(name="i1", attached_iso="")["vm"]["iso"] == ""
    task(name="i1", state="expunged", forced=True)


def test_a_real_cloud_init_does_what_the_seed_says(clean_lab: Lab, images: None, task: Run) -> None:
    lab = clean_lab
    task("ablestack_template", name="debian", src=str(lab.debian))
    user_data = "#cloud-config\nruncmd:\n  - [sh, -c, 'echo ran > /run/by-user-data']\n"
    done = task(
        name="deb1", template="debian", cpu=2, memory=512, networks=[{"name": "quiet", "ip": "10.66.0.10"}],
        ssh_key_pairs=["lab"], user_data=user_data, wait="cloud_init", wait_timeout=1200,
    )  # fmt: skip
    assert done["vm"]["ip_address"] == "10.66.0.10"
    lab.wait_ssh("10.66.0.10", user="debian")
    told = lab.ssh("10.66.0.10", "hostname; cat /run/by-user-data; ip -4 route show default", user="debian").stdout
    assert told.split()[:5] == ["deb1", "ran", "default", "via", "10.66.0.1"]
    task(name="deb1", state="expunged", forced=True)
