"""The lab is what the other tests take it for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import libvirt
import pytest
from lab_tests.lab import SCRIPTS, Lab, command, wait_for
from lab_tests.runs import run_module


def namespaces() -> set[str]:
    """Every network and mount namespace in which a process lives."""
    found = set()
    for kind in ("net", "mnt"):
        for path in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
            try:
                found.add(os.readlink(path))
            except OSError:
                continue
    return found


@contextmanager
def namespaces_of(lab: Lab) -> Iterator[set[str]]:
    """The network and mount namespaces of a lab's controller and hosts. Meanwhile no others get their numbers."""
    pids = [path.read_text().strip() for path in lab.run.glob("*/pid")]
    with ExitStack() as kept:
        files = [kept.enter_context(open(f"/proc/{pid}/ns/{kind}", "rb")) for pid in pids for kind in ("net", "mnt")]
        yield {os.readlink(f"/proc/self/fd/{file.fileno()}") for file in files}


def processes_of(folder: Path) -> list[str]:
    return subprocess.run(
        ["pgrep", "-af", f"{folder}/"], capture_output=True, text=True, check=False
    ).stdout.splitlines()


USER_DATA = """
users:
  - name: ops
    ssh_authorized_keys: [{key}]
write_files:
  - path: /etc/told
    permissions: '0640'
    content: |
      two
        lines
runcmd:
  - [sh, -c, 'echo "$0" > /run/ran', "it's run"]
"""


@pytest.fixture(scope="module")
def guest(clean_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A running guest on h1, made without the product."""
    lab, name = clean_lab, "lab-guest"
    disks = lab.run / "h1" / "default"
    shutil.copy(lab.tiny, disks / f"{name}.qcow2")
    more = tmp_path_factory.mktemp("seed") / "user-data"
    more.write_text(USER_DATA.format(key=lab.public_key))
    command(str(SCRIPTS / "mkseed.sh"), str(disks / f"{name}.iso"), name, f"{lab.key}.pub", str(more))
    words = (name, f"/srv/default/{name}.qcow2", f"seed=/srv/default/{name}.iso")
    document = command(str(SCRIPTS / "tinyvm.sh"), *words).stdout
    with closing(lab.connect()) as connection:
        connection.defineXML(document).create()
    return name


def test_up_again_changes_nothing(lab: Lab) -> None:
    before = lab.script("status").stdout
    lab.up(2)
    assert lab.script("status").stdout == before
    assert before.count(" up") >= 3


def test_hosts_have_their_pools_and_network(lab: Lab) -> None:
    for host in ("h1", "h2"):
        with closing(lab.connect(host)) as connection:
            assert connection.getHostname() == host
            pools = {pool.name(): pool.isActive() for pool in connection.listAllStoragePools()}
            assert pools.items() >= {"default": 1, "local": 1, "shared": 1}.items()
            assert connection.networkLookupByName("default").isActive()


@pytest.mark.parametrize("transport", ["qemu+ssh://root@h1/system", "qemu+tls://h1/system"])
def test_controller_reaches_hosts(lab: Lab, transport: str) -> None:
    assert lab.host("ctl", "virsh", "-c", transport, "hostname").stdout.strip() == "h1"


def test_what_a_host_knows_of_qemu_it_keeps(lab: Lab) -> None:
    """Where its guests cannot open /dev/kvm, it asks QEMU anew at every call: seconds for each VM."""

    def known() -> dict[Path, int]:
        lab.host("h1", "virsh", "domcapabilities", "--virttype", "qemu")
        found = lab.run.glob("h1/cache/qemu/capabilities/*.xml")
        return {path: path.stat().st_mtime_ns for path in found}

    before = known()
    assert before
    assert known() == before


def test_nothing_of_a_host_shows_outside(lab: Lab) -> None:
    lab.host("h1", "touch", "/etc/only-h1", "/root/only-h1", "/srv/only-h1", "/var/only-h1")
    assert not [path for path in ("/etc", "/root", "/srv", "/var") if Path(path, "only-h1").exists()]
    assert "mgmt" not in command("ip", "-brief", "link").stdout


def test_guest_boots_and_answers(clean_lab: Lab, guest: str) -> None:
    clean_lab.wait_agent("h1", guest)
    assert clean_lab.agent("h1", guest, "guest-get-host-name") == {"host-name": guest}


def test_guest_is_reached_with_an_injected_key(clean_lab: Lab, guest: str) -> None:
    address = clean_lab.wait_address("h1", guest)
    clean_lab.wait_ssh(address)
    assert clean_lab.ssh(address, "hostname").stdout.strip() == guest
    by_name = command("ssh", "-F", str(clean_lab.ssh_config), f"{address}.h1.guest", "hostname")
    assert by_name.stdout.strip() == guest


def test_guest_does_what_its_seed_says(clean_lab: Lab, guest: str) -> None:
    address = clean_lab.wait_address("h1", guest)
    clean_lab.wait_ssh(address, user="ops")
    assert clean_lab.ssh(address, "cloud-init", "status", "--wait").stdout == "status: done\n"
    assert clean_lab.ssh(address, "cat", "/etc/told", "/run/ran").stdout == "two\n  lines\nit's run\n"
    assert clean_lab.ssh(address, "stat", "-c", "%a", "/etc/told").stdout == "640\n"
    megabytes = int(clean_lab.ssh(address, "df", "-m", "/").stdout.splitlines()[1].split()[1])
    assert megabytes > 800  # grown from 48 MiB to the disk's end


def test_guest_obeys_the_power_button(clean_lab: Lab, guest: str) -> None:
    clean_lab.wait_agent("h1", guest)
    with closing(clean_lab.connect()) as connection:
        domain = connection.lookupByName(guest)
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        wait_for(lambda: not domain.isActive(), 120, "the guest to stop")


def test_crash_ends_guests_and_start_brings_the_host_back(clean_lab: Lab, guest: str) -> None:
    lab = clean_lab
    with closing(lab.connect()) as connection:
        domain = connection.lookupByName(guest)
        if not domain.isActive():
            domain.create()
    other = lab.script("status").stdout
    lab.script("crash", "h1")
    assert lab.hosts == [host for host in lab.hosts if host != "h1"]
    with pytest.raises(libvirt.libvirtError):
        lab.connect()
    lab.script("start", "h1")
    with closing(lab.connect()) as connection:
        assert not connection.lookupByName(guest).isActive()
        assert connection.storagePoolLookupByName("default").isActive()
    assert lab.host("ctl", "virsh", "-c", "qemu+tls://h1/system", "hostname").stdout.strip() == "h1"
    assert [line for line in other.splitlines() if "h2" in line or "ctl" in line] == [
        line for line in lab.script("status").stdout.splitlines() if "h2" in line or "ctl" in line
    ]


@pytest.fixture
def second_lab() -> Iterator[Lab]:
    lab = Lab(f"/tmp/ablestack-lab-{os.getpid()}")
    yield lab
    lab.script("down", "--purge", check=False)


def test_down_leaves_nothing(second_lab: Lab) -> None:
    lab = second_lab
    mounts = Path("/proc/mounts").read_text()
    lab.up(1)
    with closing(lab.connect()) as connection:
        connection.defineXML(command(str(SCRIPTS / "tinyvm.sh"), "kept", "/srv/default/none.qcow2").stdout)
    with namespaces_of(lab) as own:
        assert len(own) == 4
        assert own <= namespaces()
        lab.script("down")
        assert not lab.hosts
        assert not processes_of(lab.folder)
        # another lab may come and go at the same time
        assert not own & namespaces()
    assert Path("/proc/mounts").read_text() == mounts

    lab.up(1)  # what the host had on disk is still there
    with closing(lab.connect()) as connection:
        assert connection.lookupByName("kept").isPersistent()
    lab.script("down", "--purge")
    assert not processes_of(lab.folder)
    assert not lab.folder.exists()
    lab.script("down", "--purge")  # and once more is no error


@pytest.mark.parametrize("capability", ["sys_admin", "net_admin"])
def test_up_says_what_a_container_lacks(second_lab: Lab, capability: str) -> None:
    words = ("setpriv", "--bounding-set", f"-{capability}", str(SCRIPTS / "lab.sh"), "up", "1")
    refused = command(*words, check=False, ABLESTACK_LAB=str(second_lab.folder))
    assert refused.returncode == 1
    assert "docker run --privileged" in refused.stderr
    assert not second_lab.folder.exists()


def test_up_says_which_debian_it_needs(second_lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "os-release"
    other.write_text("ID=debian\nVERSION_CODENAME=trixie\n", encoding="utf-8")
    elsewhere = f"mount --bind {other} /etc/os-release && exec {SCRIPTS / 'lab.sh'} up 1"
    refused = command("unshare", "-m", "sh", "-c", elsewhere, check=False, ABLESTACK_LAB=str(second_lab.folder))
    assert refused.returncode == 1
    assert "Debian 12 (bookworm)" in refused.stderr
    assert not second_lab.folder.exists()


# What comes in from outside: by ssh, which tidies up after itself, and by a command whose parent is killed.
BELOW_A_FIRST_PROCESS_THAT_REAPS_NOBODY = """
{lab} up 1 || exit
pid=$(cat {run}/h1/pid)
ssh -F {run}/ssh_config h1 true || exit
for try in $(seq 1200); do
  [ -n "$(pgrep --ns $pid --nslist pid -f 'sshd -i')" ] || break
  sleep 0.1
done
echo "zombies: $(pgrep --ns $pid --nslist pid --runstates Z)"
{lab} host h1 sleep 900 &
for try in $(seq 1200); do
  [ -z "$(pgrep --ns $pid --nslist pid -fx 'sleep 900')" ] || break
  sleep 0.1
done
kill -9 $!
{lab} down --purge
echo "down: $?"
"""


def test_down_below_a_first_process_that_reaps_nobody(second_lab: Lab) -> None:
    """As in a container whose first process is a `sleep` or a `tail`."""
    steps = BELOW_A_FIRST_PROCESS_THAT_REAPS_NOBODY.format(lab=SCRIPTS / "lab.sh", run=second_lab.run)
    container = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"]
    said = ""
    with subprocess.Popen(
        [*container, '(eval "$0") & exec sleep 900 >/dev/null 2>&1', steps],
        env={**os.environ, "ABLESTACK_LAB": str(second_lab.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as first:
        assert first.stdout
        for line in first.stdout:
            said += line
            if line.startswith("down: "):
                break
        first.kill()
    assert "zombies: \n" in said, said
    assert said.endswith("down: 0\n"), said
    assert not second_lab.folder.exists()


def test_a_host_can_be_debian_13(second_lab: Lab) -> None:
    second_lab.up(1, debian13=True)
    with closing(second_lab.connect()) as connection:
        assert connection.getLibVersion() >= 11_000_000
        assert connection.networkLookupByName("default").isActive()
    probe = "import libvirt, netaddr, pycdlib; print(libvirt.open('qemu:///system').getHostname())"
    run = run_module(
        "ansible.builtin.command", {"argv": ["python3", "-c", probe]}, hosts="h1", inventory=second_lab.inventory
    )
    assert run["stdout"] == "h1"
    second_lab.script("crash", "h1")
    second_lab.script("start", "h1")
    with closing(second_lab.connect()) as connection:
        assert connection.getLibVersion() >= 11_000_000


def test_playbooks_report_as_data(lab: Lab, run_playbook) -> None:
    plays = """
- hosts: localhost:kvm_hosts[0:1]
  gather_facts: false
  tasks:
    - name: Who
      ansible.builtin.command: hostname
    - name: Not this time
      ansible.builtin.debug:
      when: false
"""
    run = run_playbook(plays)
    assert {
        task.host: task.result["stdout"] for task in run.tasks if task.task == "Who" and task.host != "localhost"
    } == {
        "h1": "h1",
        "h2": "h2",
    }
    assert {task.status for task in run.tasks if task.task == "Not this time"} == {"skipped"}
    assert run.changed == ["Who"] * 3
    assert run_playbook(plays, check=True, extra_vars={"a": 1}).changed == []
    assert run_module("ansible.builtin.ping", {"data": "hi"}, inventory=lab.inventory)["ping"] == "hi"
    assert "msg" in run_module("ansible.builtin.fail", {"msg": "no"}, ok=False, inventory=lab.inventory)


def archive(label: str, before: str = "", **env: str) -> str:
    """What the images are built from, after `before` in the same shell."""
    script = f'. {SCRIPTS}/image/lib.sh\n{before}\narchive "$0"'
    return command("bash", "-euo", "pipefail", "-c", script, label, **env).stdout.strip()


def test_images_come_from_the_archives_of_the_machine_whatever_file_names_them(tmp_path: Path) -> None:
    sources = tmp_path / "sources.list.d"
    shutil.copytree("/etc/apt/sources.list.d", sources)
    for path in sources.iterdir():
        path.rename(sources / f"0000{path.name}")
    if (single := Path("/etc/apt/sources.list")).exists():
        shutil.copy(single, sources / "of-the-machine.list")
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::sourcelist "{tmp_path}/none";\nDir::Etc::sourceparts "{sources}";\n')
    assert archive("Debian") == archive("Debian", APT_CONFIG=str(config)) != ""
    assert archive("Debian-Security") == archive("Debian-Security", APT_CONFIG=str(config))


def test_images_come_from_the_first_mirror_of_a_list(tmp_path: Path) -> None:
    mirrors = tmp_path / "debian.list"
    mirrors.write_text("# the nearest\nhttps://near.example/debian\tpriority:1\nhttps://far.example/debian\n")
    given = f"apt-get() {{ echo mirror+file:{mirrors}/; }}"
    assert archive("Debian", before=given) == "https://near.example/debian"
