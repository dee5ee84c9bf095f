# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM with two data disks in the lab, and the letter that is written on each; run as a program, a look at them.

Starting a playbook costs more than a task in it, so `play` runs many tasks in one, and looks after each of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import libvirt
from lab_tests import runs
from lab_tests.lab import Lab

MIB = 1024**2
DATA_SIZE = 64 * MIB
NAME = "snap1"
VM = {
    "name": NAME,
    "template": "tiny",
    "compute_offering": "tiny",
    "data_disks": [{"name": "keep", "size": "64MiB"}, {"name": "drop", "size": "64MiB"}],
    "networks": ["default"],
}
Task = dict[str, Any]


def vm(**options: Any) -> Task:
    """A task of ablestack_vm."""
    return {"ablestack.kvm.ablestack_vm": {"name": NAME, **options}}


def snap(name: str, state: str = "present", **options: Any) -> Task:
    """A task of ablestack_vm_snapshot; with `check` in check mode."""
    check = options.pop("check", False)
    task: Task = {"ablestack.kvm.ablestack_vm_snapshot": {"vm": NAME, "name": name, "state": state, **options}}
    return {**task, "check_mode": True, "diff": True} if check else {**task, "diff": True}


def write(letter: str) -> Task:
    """Writes the letter on all disks: the guest does where it runs."""
    return {"write": letter}


def look() -> Task:
    """Looks at all disks and snapshots: the guest does at its own where it runs."""
    return {"look": ""}


# Stops QEMU, and the guest with it, once it has an image open that it had not. There is a tenth of a second for it: so
# nothing is started for a look, and nobody comes first.
_STOP = """\
import os, signal, subprocess, time

pid = int(subprocess.check_output(["pidof", "qemu-system-x86_64"]))

def images():
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            continue
    return {path for path in found if path.startswith("/srv/default/")}

before = images()
print("ready", flush=True)
while not images() - before:
    time.sleep(0.001)
os.kill(pid, signal.SIGSTOP)
print("stopped", flush=True)
"""


@dataclass
class Site:
    """One host of a lab."""

    lab: Lab
    host: str = "h1"
    root_size: int = 0
    template_sum: str = ""

    @property
    def catalog(self) -> dict[str, Any]:
        row = {"name": self.host, "uri": self.lab.uri(self.host), "virt_type": "qemu"}
        room = {"cpu": 1, "max_cpu": 1, "max_memory": 448, "dynamic_scaling": True}
        offerings = {
            "tiny": {"cpu": 1, "memory": 96},
            "uefi": {"cpu": 1, "memory": 192},
            "grows": {**room, "memory": 192},
            "grown": {**room, "memory": 320},
        }
        return {"hosts": [row], "compute_offerings": offerings, "settings": {"cpu_overprovisioning": 20}}

    def prepare(self) -> None:
        """The template, and how large a root disk has to be to have room behind the root file system."""
        template = {"name": "tiny", "format": "qcow2", "src": str(self.lab.tiny)}
        self._run([{"name": "0", "ablestack.kvm.ablestack_template": template}])
        info = json.loads(self.on_host("qemu-img", "info", "--output=json", "/srv/default/tmpl-tiny.qcow2"))
        self.root_size = info["virtual-size"] + 64 * MIB
        self.template_sum = self.template_digest()

    def template_digest(self) -> str:
        return hashlib.sha256((self.lab.run / self.host / "default" / "tmpl-tiny.qcow2").read_bytes()).hexdigest()

    def deployed(self, **options: Any) -> Task:
        """The task that deploys the VM."""
        return vm(**{**VM, "root_disk_size": f"{self.root_size // MIB}MiB", **options})

    def _run(self, tasks: list[Task], ok: bool | None = True) -> runs.Run:
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"group/ablestack.kvm.ablestack": {"catalog": self.catalog}},
            "tasks": tasks,
        }
        return runs.run_playbook([play], inventory=self.lab.inventory, ok=ok)

    def play(self, *tasks: Task, ok: bool | None = True) -> list[Any]:
        """Results in the order of the tasks. Of a look, and of one on snapshots, `letters` are what was read."""
        entries: list[Task] = []
        for number, task in enumerate(tasks):
            if "write" in task:
                entries.append({"name": str(number), **self._program("write", task["write"])})
                continue
            if "look" in task:
                entries.append({"name": f"{number} look", **self._program("look")})
                continue
            entries.append({"name": str(number), **task})
            if "ablestack.kvm.ablestack_vm_snapshot" in task and ok and "check_mode" not in task:
                entries.append({"name": f"{number} look", **self._program("look")})
        run = self._run(entries, ok)
        results = []
        for number in range(len(tasks)):
            result = {} if "look" in tasks[number] else run[str(number)]
            look = [task.result for task in run.tasks if task.task == f"{number} look"]
            results.append({**result, "letters": json.loads(look[0]["stdout"])} if look else result)
        return results

    def remove(self) -> None:
        """Whatever there is of the VM and its disks."""
        self.play(vm(state="expunged", forced=True, delete_data_disks="all"), ok=None)

    def refused(self, task: Task) -> dict[str, Any]:
        """The result of a task that fails."""
        return dict(self.play(task, ok=False)[0])

    def _program(self, *words: str) -> Task:
        values = [str(self.lab.folder), self.host, str(self.root_size), self.template_sum, *words]
        return {"ansible.builtin.command": {"argv": [sys.executable, str(Path(__file__).resolve()), *values]}}

    # ---- images

    def on_host(self, *words: str) -> str:
        return str(self.lab.host(self.host, *words).stdout)

    def look(self) -> dict[str, str]:
        """The letters on the VM's disks ("") and in each snapshot, such as AAA.

        Fails unless every image is sound, every chain complete, no image left over, and the template what it was.
        """
        with closing(self.lab.connect(self.host)) as connection:
            domain = connection.lookupByName(NAME)
            active = bool(domain.isActive())
            images = {"": _images(ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))}
            for snapshot in domain.listAllSnapshots():
                then = ElementTree.fromstring(snapshot.getXMLDesc(0)).find("domain")
                assert then is not None
                images[snapshot.getName()] = _images(then)
        tops = {path for paths in images.values() for path in paths.values()}
        script = ["set -e", *(f"qemu-img info -U --backing-chain {path}" for path in sorted(tops))]
        # what QEMU has open for writing cannot be checked from outside
        script += [
            f"qemu-img check -q -U {path}" for path in sorted(tops - ({*images[""].values()} if active else set()))
        ]
        script.append("find /srv/default -name 'vm-*.qcow2' -printf 'listed: %p\\n'")
        for name, paths in sorted(images.items()):
            if not (active and not name):
                script.append(f"echo letters:{name}")
                script += [
                    f"qemu-io -r -U -c 'read -v {self._offset(target)} 16' {path}"
                    for target, path in sorted(paths.items())
                ]
        text = self.on_host("sh", "-c", "\n".join(script))
        chains = set(re.findall(r"^image: (.*)$", text, re.MULTILINE))
        assert set(re.findall(r"^listed: (.*)$", text, re.MULTILINE)) <= chains, "an image is left over"
        assert self.template_digest() == self.template_sum
        letters = {"": self.guest_read()} if active else {}
        for part in text.split("letters:")[1:]:
            codes = re.findall(r"^[0-9a-f]+:\s+([0-9a-f]{2})", part, re.MULTILINE)
            letters[part.partition("\n")[0].strip()] = "".join(chr(int(code, 16)) for code in codes)
        return letters

    def write(self, letter: str) -> None:
        with closing(self.lab.connect(self.host)) as connection:
            domain = connection.lookupByName(NAME)
            if domain.isActive():
                self.guest_write(letter)
                return
            images = _images(ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
        pattern = f"write -P {ord(letter)}"
        words = [f"qemu-io -c '{pattern} {self._offset(target)} 64k' {path}" for target, path in images.items()]
        self.on_host("sh", "-ec", "; ".join(words))

    def _offset(self, target: str) -> int:
        return (self.root_size if target == "vda" else DATA_SIZE) - MIB

    # ---- the guest

    def guest(self, command: str) -> str:
        """Runs a command in the guest."""
        code, output, errors = self.lab.guest_run(self.host, NAME, command)
        assert code == 0, errors
        return output

    def guest_write(self, letter: str) -> None:
        self.guest(
            "; ".join(
                f"printf %512s | tr ' ' {letter} | dd of=/dev/{target} bs=512 seek={self._offset(target) // 512} "
                "conv=notrunc,fsync 2>/dev/null"
                for target in ("vda", "vdb", "vdc")
            )
        )

    def guest_read(self) -> str:
        return self.guest(
            "; ".join(
                f"dd if=/dev/{target} bs=512 skip={self._offset(target) // 512} count=1 2>/dev/null | head -c1"
                for target in ("vda", "vdb", "vdc")
            )
        )

    def frozen(self) -> bool:
        return bool(self.lab.agent(self.host, NAME, "guest-fsfreeze-status") == "frozen")

    def freezes(self) -> list[float]:
        """How long the guest was frozen each time, in seconds by its own clock."""
        return [thawed - frozen for frozen, thawed in self.frozen_times()]

    def bare_freeze(self) -> float:
        """Freezes and thaws with nothing in between: how long the guest was frozen."""
        self.freeze()
        self.lab.agent(self.host, NAME, "guest-fsfreeze-thaw")
        return self.freezes()[-1]

    def freeze(self) -> None:
        assert self.lab.agent(self.host, NAME, "guest-fsfreeze-freeze") > 0

    @contextmanager
    def standing_still_with_an_overlay(self, begin: Callable[[], None]) -> Iterator[None]:
        """Begins that; QEMU stands still from when it opens an overlay, which comes after the freeze, to the end."""
        python = self.lab.own_variables(self.host).get("ansible_python_interpreter", sys.executable)
        words = ("timeout", "300", "nice", "-n", "-20", python, "-c", _STOP)
        with self.lab.started_on(self.host, *words) as stopper:
            assert stopper.stdout
            assert stopper.stdout.readline() == "ready\n"
            begin()
            try:
                assert stopper.stdout.readline() == "stopped\n"
                yield
            finally:
                self.on_host("sh", "-c", "kill -CONT $(pidof qemu-system-x86_64)")

    def clock(self, moment: float) -> tuple[float, float]:
        """Between which times of the guest's clock a moment of time.monotonic() was.

        Each look is off by what it took, to either side; none of them is off by more than the best one was.
        """
        bounds = []
        for _look in range(10):
            before = time.monotonic()
            up = float(self.guest("cat /proc/uptime").split()[0])  # whole hundredths
            bounds.append((up - (time.monotonic() - moment), up + 0.01 - (before - moment)))
        return max(earliest for earliest, _latest in bounds), min(latest for _earliest, latest in bounds)

    def frozen_times(self) -> list[tuple[float, float]]:
        """When it froze and thawed, by the guest's clock; whoever froze it thawed it."""
        rows = [line.split() for line in self.guest("cat /run/fsfreeze.log 2>/dev/null || true").splitlines()]
        times = [(float(row[0]), row[-1]) for row in rows]
        assert [what for _time, what in times] == ["freeze", "thaw"] * (len(times) // 2)
        return [(before[0], after[0]) for before, after in zip(times[::2], times[1::2])]


def _images(domain: ElementTree.Element) -> dict[str, str]:
    """Paths by target."""
    found = {}
    for disk in domain.findall("devices/disk[@device='disk']"):
        target, source = disk.find("target"), disk.find("source")
        assert target is not None
        assert source is not None
        found[target.get("dev", "")] = source.get("file", "")
    return found


def main(folder: str, host: str, root_size: str, template_sum: str, verb: str, *words: str) -> None:
    site = Site(Lab(folder), host, int(root_size), template_sum)
    if verb == "write":
        site.write(*words)
    else:
        print(json.dumps(site.look()))


if __name__ == "__main__":
    main(*sys.argv[1:])
