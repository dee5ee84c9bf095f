"""The lab of private KVM hosts as an object: connections, commands, guests."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Callable

import libvirt
import libvirt_qemu
import yaml

SCRIPTS = Path(__file__).resolve().parent.parent / "lab"
POOLS = ("default", "local", "shared")
# An agent that does not answer the handshake, or is not there, and one that another call has not let go of.
NO_ANSWER = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_OPERATION_TIMEOUT)


def default_folder() -> str:
    """What ABLESTACK_LAB names; each further worker of a parallel run (pytest -n) has a lab of its own beside it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return (os.environ.get("ABLESTACK_LAB") or "/tmp/ablestack-lab") + ("" if worker == "gw0" else f"-{worker}")


class Lab:
    """`folder` is where it writes; another folder is another lab."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder or default_folder())
        self.run = self.folder / "run"
        self.ssh_config = self.run / "ssh_config"
        self.key = self.run / "keys" / "id_ed25519"

    # ---- the lab itself

    def script(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return command(
            str(SCRIPTS / "lab.sh"), *arguments, check=check, timeout=timeout, ABLESTACK_LAB=str(self.folder)
        )

    def up(self, hosts: int, *, debian13: bool = False) -> None:
        """Brings up h1..hN where they are not; the last one with Debian 13's libvirt if `debian13`."""
        self.script("up", str(hosts), *(["--debian13"] if debian13 else []), timeout=1800)  # it may build an image
        self.write_inventory()

    @property
    def hosts(self) -> list[str]:
        """The hosts that are up now."""
        lines = self.script("status", check=False).stdout.splitlines()
        return [line.split()[0] for line in lines if line.startswith("h") and " up" in line]

    def uri(self, host: str = "h1") -> str:
        """For a process outside the namespaces."""
        return f"qemu+unix:///system?socket={self.run}/{host}/run/libvirt/libvirt-sock"

    def connect(self, host: str = "h1") -> libvirt.virConnect:
        return libvirt.open(self.uri(host))

    def host(
        self, host: str, *words: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host, or on the controller (`ctl`)."""
        return self.script(*(("ctl",) if host == "ctl" else ("host", host)), *words, check=check, timeout=timeout)

    def started_on(self, host: str, *words: str) -> subprocess.Popen[str]:
        """A command that goes on, on a host; its output can be read as it comes."""
        environment = {**os.environ, "ABLESTACK_LAB": str(self.folder)}
        words = (str(SCRIPTS / "lab.sh"), "host", host, *words)
        return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)

    def wipe(self, *hosts: str) -> None:
        """Removes every VM, volume and network (but `default`) from these hosts, or from all."""
        for host in hosts or self.hosts:
            with closing(self.connect(host)) as connection:
                wipe(connection)

    # ---- what users would write

    def catalog(self, hosts: int = 1, **more: Any) -> dict[str, Any]:
        """h1..hN in one zone and cluster; `more` is merged over it (compute_offerings, settings, ...)."""
        rows = [{"name": f"h{n}", "uri": self.uri(f"h{n}"), "virt_type": "qemu"} for n in range(1, hosts + 1)]
        return {"hosts": rows, **more}

    @property
    def inventory(self) -> Path:
        """localhost, and the hosts that are up as group kvm_hosts: by ssh, with the interpreter that runs the tests."""
        return self.run / "inventory.yml"

    def write_inventory(self) -> None:
        interpreter = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        ssh = {"ansible_ssh_common_args": f"-F {self.ssh_config}", **interpreter}
        groups = {
            "ungrouped": {"hosts": {"localhost": {"ansible_connection": "local", **interpreter}}},
            "kvm_hosts": {"hosts": {host: self.own_variables(host) for host in self.hosts}, "vars": ssh},
        }
        self.inventory.write_text(yaml.safe_dump({"all": {"children": groups}}), encoding="utf-8")

    def own_variables(self, host: str) -> dict[str, str]:
        # The Debian 13 host has its own file system, and what modules need installed in it.
        own_root = (self.run / host / "root-from").exists()
        return {"ansible_python_interpreter": "/usr/bin/python3"} if own_root else {}

    # ---- guests

    @cached_property
    def tiny(self) -> Path:
        """A guest that boots in seconds: guest agent, sshd, a reader of NoCloud seeds. Needs 96 MiB, 160 with UEFI."""
        return Path(self.script("image", "tiny", timeout=900).stdout.strip())

    @cached_property
    def debian(self) -> Path:
        """Debian with the real cloud-init: 512 MiB, half a minute to boot."""
        return Path(self.script("image", "debian", timeout=900).stdout.strip())

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text(encoding="utf-8").strip()

    def ssh(
        self,
        address: str,
        *words: str,
        via: str = "h1",
        user: str = "root",
        key: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a guest that `via` reaches: its host, or `ctl` for the segment that all hosts bridge."""
        identity = ["-i", str(key)] if key else []
        options = ["-F", str(self.ssh_config), "-o", "BatchMode=yes", "-J", via, *identity]
        return command("ssh", *options, f"{user}@{address}", *words, check=check, timeout=60)

    def guest_run(self, host: str, guest: str, command: str) -> tuple[int, str, str]:
        """Runs a shell command in a guest through its agent: exit code, output, errors."""
        arguments = {"path": "/bin/sh", "arg": ["-c", command], "capture-output": True}
        pid = self.agent(host, guest, "guest-exec", **arguments)["pid"]
        while not (status := self.agent(host, guest, "guest-exec-status", pid=pid))["exited"]:
            time.sleep(0.1)
        out, err = (base64.b64decode(status.get(key, "")).decode() for key in ("out-data", "err-data"))
        return status["exitcode"], out, err

    def agent(self, host: str, guest: str, verb: str = "guest-ping", timeout: int = 60, **arguments: Any) -> Any:
        """Asks the guest agent; libvirt.libvirtError when it does not answer within `timeout` seconds."""
        request = json.dumps({"execute": verb, **({"arguments": arguments} if arguments else {})})
        end = time.monotonic() + timeout
        with closing(self.connect(host)) as connection:
            domain = connection.lookupByName(guest)
            domain.agentSetResponseTimeout(timeout, 0)  # the product leaves it at two seconds
            while True:
                try:
                    return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, timeout, 0))["return"]
                except libvirt.libvirtError as error:
                    # libvirt's own handshake, before anything is sent, gives up after five seconds whatever is set.
                    # What was sent and not answered looks the same, but has taken all the time: it is not sent again.
                    if error.get_error_code() not in NO_ANSWER or time.monotonic() > end:
                        raise
                time.sleep(0.2)

    def wait_agent(self, host: str, guest: str, seconds: float = 180) -> None:
        def answers() -> bool:
            try:
                self.agent(host, guest, timeout=5)
            except libvirt.libvirtError:
                return False
            return True

        wait_for(answers, seconds, f"the agent of {guest} on {host}")

    def wait_address(self, host: str, guest: str, seconds: float = 180) -> str:
        """The guest's first IPv4 address, from the leases of its host's networks."""

        def addresses() -> list[str]:
            with closing(self.connect(host)) as connection:
                source = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
                found = connection.lookupByName(guest).interfaceAddresses(source)
            return [row["addr"] for nic in found.values() for row in nic["addrs"] or ()]

        return wait_for(addresses, seconds, f"an address of {guest} on {host}")[0]

    def wait_ssh(self, address: str, seconds: float = 180, **options: Any) -> None:
        def answers() -> bool:
            try:
                return self.ssh(address, "true", check=False, **options).returncode == 0
            except subprocess.TimeoutExpired:
                return False

        wait_for(answers, seconds, f"ssh on {address}")


def command(*words: str, check: bool = True, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
    # No pipe for the errors of a process that leaves daemons behind: reading it would wait for them.
    done = subprocess.run(
        words,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not check or done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def wait_for(probe: Callable[[], Any], seconds: float, what: str) -> Any:
    """The probe's first true answer; AssertionError when none came in time."""
    end = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return answer


def wipe(connection: libvirt.virConnect) -> None:
    undefine = (
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    )
    for domain in connection.listAllDomains():
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefineFlags(undefine)
    for pool in connection.listAllStoragePools():
        if pool.name() not in POOLS:
            pool.destroy()
            pool.undefine()
            continue
        pool.refresh()
        for volume in pool.listAllVolumes():
            volume.delete()
    for network in connection.listAllNetworks():
        if network.name() != "default":
            if network.isActive():
                network.destroy()
            if network.isPersistent():
                network.undefine()
