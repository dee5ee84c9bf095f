# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: each tool's way to deploy, look again, stop and remove the same VMs on one host of the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree as ET

import libvirt
import peers
from delay import far_away
from lab_tests import runs
from lab_tests.lab import Lab, command

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "tests" / "lab"
BOOT_SECTOR = bytes([0xFA, 0xF4, 0xEB, 0xFC]).ljust(510, b"\0") + b"\x55\xaa"  # cli; hlt; and again: it costs no CPU
KEPT = ("tmpl-", "halt.")
ROUND_TRIP = 0.02  # seconds to the host that is far away
DEPLOY = {
    "template": "halt",
    "compute_offering": "tiny",
    "networks": ["default"],
    "user_data": "#cloud-config\n",
    "wait": "running",
}
Deed = Callable[[], None]
DEEDS = ("deploy", "again", "stop", "remove")
"""`again` is the same deployment once more, with nothing left to do."""


@dataclass(frozen=True)
class Tool:
    """How one tool does each of DEEDS for so many VMs; a deed it has none for is left out.

    A slow one is measured once, whatever the number of rounds.
    """

    name: str
    deeds: Callable[[int], dict[str, Deed]]
    slow: bool = False


class Bench:
    """The lab's first host, with a guest that halts at once: what is measured is the tools."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.uri = lab, lab.uri("h1")
        self.work = lab.folder / "benchmark"
        self.work.mkdir(exist_ok=True)

    # the site

    def prepare(self) -> None:
        """An empty host with the template, once as a plain volume and once as ours."""
        self.lab.wipe("h1")
        raw, image = self.work / "halt.raw", self.lab.run / "h1" / "default" / "halt.qcow2"
        raw.write_bytes(BOOT_SECTOR.ljust(1 << 20, b"\0"))
        command("qemu-img", "convert", "-O", "qcow2", str(raw), str(image))
        self.ours("ablestack_template", name="halt", format="qcow2", src=str(image))
        self._write_definition()
        self.clean()

    @property
    def definition(self) -> Path:
        """What we define for a VM, for the floor to fill in: @NAME@ is the VM's name and that of its volumes."""
        return self.work / "ours.xml"

    def _write_definition(self) -> None:
        self.fleet(1, start=False, **{**DEPLOY, "wait": "none"})()
        with closing(libvirt.open(self.lab.uri("h1"))) as connection:
            root = ET.fromstring(connection.lookupByName("ours1").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        own = root.findtext("uuid", "")
        for parent, tag in ((root, "uuid"), (root, "metadata"), (root.find("devices/interface"), "mac")):
            parent.remove(parent.find(tag))
        text = ET.tostring(root, encoding="unicode")
        for kind in ("root.qcow2", "seed.iso"):
            text = text.replace(f"vm-ours1-{own[:8]}-{kind}", f"@NAME@.{kind.partition('.')[2]}")
        self.definition.write_text(text.replace("<name>ours1</name>", "<name>@NAME@</name>"), encoding="utf-8")

    def clean(self) -> None:
        """No VMs and none of their volumes."""
        with closing(libvirt.open(self.lab.uri("h1"))) as connection:
            for domain in connection.listAllDomains():
                if domain.isActive():
                    domain.destroy()
                domain.undefine()
            pool = connection.storagePoolLookupByName("default")
            pool.refresh()
            for volume in pool.listAllVolumes():
                if not volume.name().startswith(KEPT):
                    volume.delete()

    def there(self) -> tuple[int, int]:
        """How many VMs are defined, and how many of them run."""
        with closing(libvirt.open(self.lab.uri("h1"))) as connection:
            domains = connection.listAllDomains()
            return len(domains), sum(domain.isActive() for domain in domains)

    @contextmanager
    def far_away(self) -> Iterator[None]:
        """Ours reaches the host through a proxy that takes ROUND_TRIP for a call and its answer."""
        near = self.uri
        with far_away(near, self.work / "far.sock", ROUND_TRIP) as far:
            self.uri = far
            try:
                yield
            finally:
                self.uri = near

    # playbooks

    def play(self, tasks: list[dict[str, Any]]) -> None:
        """With our own tools, as a user would start it."""
        interpreter = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        plays = [{"hosts": "localhost", "gather_facts": False, "vars": interpreter, "tasks": tasks}]
        book = self.work / "ours.json"
        book.write_text(json.dumps(plays), encoding="utf-8")
        env = runs.environment(self.work / "no-records", {"ANSIBLE_LIBRARY": str(HERE / "library")})
        del env["ANSIBLE_CALLBACKS_ENABLED"], env["ANSIBLE_CALLBACK_PLUGINS"]
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # users keep their compiled files
        program = str(Path(sys.executable).parent / "ansible-playbook")
        finish(subprocess.run([program, "-i", "localhost,", str(book)], env=env, check=False, **QUIET))

    @property
    def catalog(self) -> dict[str, Any]:
        row = {"name": "h1", "uri": self.uri, "virt_type": "qemu"}
        settings = {"cpu_overprovisioning": 100, "memory_overprovisioning": 100}
        return {"hosts": [row], "compute_offerings": {"tiny": {"cpu": 1, "memory": 96}}, "settings": settings}

    def ours(self, module: str, **options: Any) -> None:
        self.play([{f"ablestack.kvm.{module}": {"catalog": self.catalog, **options}}])

    def fleet_options(self, count: int, state: str = "present", **defaults: Any) -> dict[str, Any]:
        vms = [{"name": f"ours{number}"} for number in range(1, count + 1)]
        return {"vms": vms, "state": state, "defaults": {**defaults, "forced": True}}

    def fleet(self, count: int, state: str = "present", **defaults: Any) -> Deed:
        return lambda: self.ours("ablestack_vm_fleet", **self.fleet_options(count, state, **defaults))

    def far_fleet(self, count: int, state: str = "present", **defaults: Any) -> Deed:
        def run() -> None:
            with self.far_away():
                self.fleet(count, state, **defaults)()

        return run

    def loop(self, count: int, **options: Any) -> Deed:
        def run() -> None:
            vm = {"catalog": self.catalog, "name": "ours{{ item }}", "forced": True, **options}
            self.play([{"ablestack.kvm.ablestack_vm": vm, "loop": list(range(1, count + 1))}])

        return run

    def theirs(self, *tasks: dict[str, Any]) -> Deed:
        """With community.libvirt, by ssh to the host, as its users do."""

        def run() -> None:
            book, inventory = self.work / "theirs.json", self.work / "theirs.ini"
            programs = peers.programs()
            inventory.write_text(
                f"h1 ansible_ssh_common_args='-F {self.lab.ssh_config}' ansible_python_interpreter={programs}/python\n",
                encoding="utf-8",
            )
            env = {
                "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": os.environ["HOME"],
                "ANSIBLE_PIPELINING": "true",
                "ANSIBLE_HOST_KEY_CHECKING": "false",
                "ANSIBLE_COLLECTIONS_PATH": "/nowhere",  # theirs comes with their ansible
            }
            plays = [{"hosts": "h1", "gather_facts": False, "tasks": list(tasks)}]
            book.write_text(json.dumps(plays), encoding="utf-8")
            words = [str(programs / "ansible-playbook"), "-i", str(inventory), str(book)]
            finish(subprocess.run(words, env=env, check=False, **QUIET))

        return run

    # the floor

    def shell(self, verb: str, count: int, at_once: int) -> Deed:
        words = [str(HERE / "floor.sh"), str(SCRIPTS), verb, str(count), str(at_once), str(self.definition)]
        return lambda: finish(self.lab.host("h1", *words, check=False, timeout=900))

    def api(self, verb: str, count: int, threads: int) -> Deed:
        words = [sys.executable, str(HERE / "floor.py"), self.uri, str(SCRIPTS), verb, str(count), str(threads)]
        return lambda: finish(subprocess.run(words, check=False, **QUIET))


QUIET: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}


def finish(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise SystemExit(f"{done.args} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def tools(bench: Bench) -> tuple[Tool, ...]:
    """All that are compared, the floor first."""

    def ours(kind: Callable[..., Deed]) -> Callable[[int], dict[str, Deed]]:
        return lambda count: {
            "deploy": kind(count, **DEPLOY),
            "again": kind(count, **DEPLOY),
            "stop": kind(count, state="stopped"),
            "remove": kind(count, state="expunged"),
        }

    def floor(run: Callable[[str, int, int], Deed], at_once: int) -> Callable[[int], dict[str, Deed]]:
        return lambda count: {verb: run(verb, count, at_once) for verb in ("deploy", "stop", "remove")}

    def virt_install(at_once: int) -> Callable[[int], dict[str, Deed]]:
        return lambda count: {"deploy": bench.shell("virt-install", count, at_once)}

    return (
        Tool(SHELL_FOUR, floor(bench.shell, 4)),
        Tool(SHELL_OURS, lambda count: {"deploy": bench.shell("deploy-ours", count, 4)}),
        Tool("shell, one at a time", floor(bench.shell, 1)),
        Tool("API, four threads", floor(bench.api, 4)),
        Tool("API, one thread", floor(bench.api, 1)),
        Tool("virt-install, four at a time", virt_install(4)),
        Tool("virt-install, one at a time", virt_install(1), slow=True),
        Tool(FLEET, ours(bench.fleet)),
        Tool(FAR_FLEET, ours(bench.far_fleet)),
        Tool("ablestack_vm in a loop", ours(bench.loop), slow=True),
        Tool(THEIRS, lambda count: _theirs(bench, count), slow=True),
    )


SHELL_FOUR = "shell, four at a time"
SHELL_OURS = "shell, four at a time, our definitions"
"""The floor with the devices that our VMs have: what is over SHELL_FOUR is QEMU's and the firmware's."""
FLEET = "ablestack_vm_fleet"
FAR_FLEET = "ablestack_vm_fleet, 20 ms away"
THEIRS = "community.libvirt in a loop"


def _theirs(bench: Bench, count: int) -> dict[str, Deed]:
    """A linked clone each, defined and started; no seed, which spares them work."""
    names = {"loop": [f"c{number}" for number in range(1, count + 1)]}
    volume = (
        "<volume><name>{{ item }}.qcow2</name><capacity unit='bytes'>1048576</capacity>"
        "<target><format type='qcow2'/></target><backingStore><path>/srv/default/halt.qcow2</path>"
        "<format type='qcow2'/></backingStore></volume>"
    )
    domain = f"{{{{ lookup('pipe', '{SCRIPTS}/tinyvm.sh ' ~ item ~ ' /srv/default/' ~ item ~ '.qcow2') }}}}"

    def virt(**options: Any) -> dict[str, Any]:
        return {"community.libvirt.virt": options, **names}

    def virt_volume(**options: Any) -> dict[str, Any]:
        return {"community.libvirt.virt_volume": {"pool": "default", **options}, **names}

    deploy = bench.theirs(
        virt_volume(state="present", xml=volume),
        virt(command="define", xml=domain),
        virt(name="{{ item }}", state="running"),
    )
    return {
        "deploy": deploy,
        "again": deploy,
        "stop": bench.theirs(virt(name="{{ item }}", state="destroyed")),
        "remove": bench.theirs(
            virt(name="{{ item }}", command="undefine"), virt_volume(name="{{ item }}.qcow2", state="absent")
        ),
    }
