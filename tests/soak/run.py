# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random operations on a lab host with faults, from a seed: ./dev soak MINUTES [SEED]. Ends with an audit of the host.

Every task runs in a process of its own, as a module does. Three in five are disturbed: the process is killed, or
libvirtd is, somewhere in its midst. Then the same task runs again, undisturbed, and once more, which must change
nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import conftest
from lab_tests.lab import Lab, wait_for
from soak.host_audit import THEIRS, audit, put_theirs, theirs

from support.tasks import Task, network, snapshot, template, vm, volume
from support.worlds import Controller

HOST = "h1"
COLLECTION = conftest.REPOSITORY  # which the import made known
NAMES = ("one", "two")
OUR_FAULT = ("Internal",)
"""What no task may end with; a host that cannot be reached is no answer either where nothing was disturbed."""
REPEATS = ("restarted", "reinstalled", "reverted")


class Soak:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lab = Lab()
        self.lab.up(1)
        self.lab.wipe(HOST)
        self.catalog = self.lab.catalog(
            compute_offerings={"tiny": {"cpu": 1, "memory": 96}, "free": {"custom": True}},
            settings={"cpu_overprovisioning": 50, "stop_timeout": 20, "max_vm_snapshots": 4},
        )
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def prepare(self) -> None:
        self.settled(network("lan", cidr="10.77.0.0/24"))
        self.settled(template("tiny", src=str(self.lab.tiny), format="qcow2"))
        with closing(self.lab.connect(HOST)) as connection:
            put_theirs(connection)
            self.theirs = theirs(connection)

    def run(self, minutes: float) -> None:
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            self.turn(self.random.choice(self.tasks()))
            if sum(self.counts[kind] for kind in ("calm", "killed", "daemon")) % 20 == 0:
                self.look()
        self.look()

    def turn(self, task: Task) -> None:
        """The task, disturbed or not; again; and once more."""
        fault = self.random.choice(("calm", "calm", "killed", "killed", "daemon"))
        delay = self.random.uniform(0.02, 0.5)
        self.counts[fault] += 1
        self.counts[task.module] += 1
        told = self.child(task, fault, delay)
        say = f"{task.module} {json.dumps(task.options)} {fault} {delay:.2f}: {told}"
        print(say, flush=True)
        if fault == "calm" and not self.is_honest(told):
            self.problems.append(say)
        if fault != "calm":
            told = self.settled(task)
        if told.get("code") or task.options.get("state") in REPEATS:
            return
        again = self.settled(task)
        if again.get("code") or again.get("changed"):
            self.problems.append(f"not at rest: {task.module} {task.options}: {told}, then {again}")

    def settled(self, task: Task) -> dict[str, Any]:
        told = self.child(task, "calm", 0)
        if not self.is_honest(told):
            self.problems.append(f"{task.module} {task.options}: {told}")
        return told

    def is_honest(self, told: dict[str, Any]) -> bool:
        return told.get("code") not in (*OUR_FAULT, "HostUnavailable", "died")

    def child(self, task: Task, fault: str, delay: float) -> dict[str, Any]:
        """What came of the task in a process of its own."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            with os.fdopen(writer, "w") as out:
                json.dump(self.work(task), out)
                out.flush()
            os._exit(0)
        os.close(writer)
        timer = Timer(delay, self.kill_daemon if fault == "daemon" else lambda: os.kill(pid, signal.SIGKILL))
        if fault != "calm":
            timer.start()
        with os.fdopen(reader) as answer:
            text = answer.read()
        timer.cancel()
        os.waitpid(pid, 0)
        if fault == "daemon":
            if timer.is_alive():
                timer.join()
            self.wait_daemon()
        return dict(json.loads(text)) if text else {"code": "killed" if fault == "killed" else "died"}

    def work(self, task: Task) -> dict[str, Any]:
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure

        try:
            outcome = task.run(Controller(Infrastructure(read_catalog(self.catalog), open_host), {}))
        except AblestackError as error:
            return {"code": error.code.value, "msg": error.sentence, "libvirt": str(error.details.get("libvirt", ""))}
        except Exception as error:  # noqa: BLE001 - told as what it is: a traceback
            return {"code": "Internal", "msg": f"{type(error).__name__}: {error}"}
        return {"changed": outcome.changed}

    def kill_daemon(self) -> None:
        self.lab.host(HOST, "sh", "-c", "kill -9 $(cat /run/libvirtd.pid); sleep 0.1; libvirtd -d -l", check=False)

    def wait_daemon(self) -> None:
        def answers() -> bool:
            try:
                with closing(self.lab.connect(HOST)) as connection:
                    return connection.isAlive() == 1
            except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
                return False

        wait_for(answers, 30, "libvirtd")

    def look(self) -> None:
        """Ends what was left open by tasks that nobody runs again, and accounts for everything."""
        for name in NAMES:
            self.settled(vm(name, state="present"))
        with closing(self.lab.connect(HOST)) as connection:
            found = audit(self.lab, HOST, connection)
            self.problems += found
            if theirs(connection) != self.theirs:
                self.problems.append(f"{THEIRS} is not what it was")
        self.counts["audits"] += 1

    def tasks(self) -> list[Task]:
        """Whatever might be asked next; much of it will be refused, which is an answer too."""
        name, rng = self.random.choice(NAMES), self.random
        deploy: dict[str, Any] = {
            "template": "tiny",
            "compute_offering": "tiny",
            "networks": [{"name": "lan", "ip": f"10.77.0.{10 + NAMES.index(name)}"}, "default"],
            "data_disks": [{"name": f"{name}-{n}", "size": "64MiB"} for n in range(rng.randrange(3))],
            "boot_type": "uefi" if rng.random() < 0.3 else "bios",
            "autostart": rng.random() < 0.3,
        }
        label = {"n": str(rng.randrange(100))}
        shot = f"s{rng.randrange(3)}"
        there = [
            vm(name, state="started"),
            vm(name, state="stopped", forced=True),
            vm(name, state="restarted", forced=True),
            vm(name, state="destroyed", forced=True),
            vm(name, state="recovered"),
            vm(name, state="expunged", forced=True, delete_data_disks=rng.choice(["none", "all"])),
            vm(name, state="reinstalled", forced=True),
            vm(name, labels=label, user_data=f"#!/bin/sh\necho {label}\n"),
            vm(name, compute_offering="free", cpu=rng.choice([1, 2]), memory=160, allow_restart=True, forced=True),
            vm(name, state="stopped", forced=True, root_disk_size=rng.choice(["1GiB", "2GiB"])),
            vm(name, tpm=False, networks=["default"], state="stopped", forced=True),
        ]
        shots = [
            Task("snapshot", {**snapshot(shot, state, **more).options, "vm": name})
            for state, more in (
                ("present", {}),
                ("present", {"memory": True, "quiesce": "false"}),
                ("absent", {}),
                ("reverted", {}),
            )
        ]
        disk = f"{name}-{rng.randrange(3)}"
        disks = [
            volume("spare", size=rng.choice(["64MiB", "128MiB"])),
            volume("spare", state="absent"),
            volume(disk, state="absent"),
            vm(name, state="stopped", forced=True, data_disks=[{"name": "spare", "size": "128MiB"}]),
            vm(name, state="stopped", forced=True, data_disks=[{"name": disk, "size": "64MiB"}]),
        ]
        others = [
            template("copy", src=str(self.lab.tiny), format="qcow2"),
            template("copy", state="absent"),
            network("lan", cidr="10.77.0.0/24", labels=label),
            Task("expunge", {}),
        ]
        return [*[vm(name, **deploy)] * 8, *there, *there, *shots, *shots, *disks, *others]


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"soak: {minutes:g} minutes, seed {seed}", flush=True)
    soak = Soak(seed)
    soak.prepare()
    soak.run(minutes)
    print(f"soak: {dict(soak.counts)}")
    for problem in soak.problems:
        print(f"soak: PROBLEM {problem}")
    print(f"soak: {len(soak.problems)} problems (seed {seed})")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
