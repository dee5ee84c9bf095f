# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random operations on two lab hosts with faults, from a seed: ./dev soak MINUTES [SEED]. Ends with an audit of both.

Every task runs in a process of its own, as a module does. Three in five are disturbed: the process is killed, or the
libvirtd of one host is, somewhere in its midst. Then the same task runs again, undisturbed, and once more, which must
change nothing. After each turn all disks are read. The exit code is 1 where anything was found.
"""

from __future__ import annotations

import json
import os
import random
import select
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
from soak.choices import HOSTS, NAMES, Turn, next_turn
from soak.host_audit import Audit, audit, clear_state
from soak.theirs import THEIRS, put_theirs, theirs
from soak.words import Ledger

from support.tasks import Task, network, template, vm
from support.worlds import Controller

COLLECTION = conftest.REPOSITORY  # which the import made known
PATIENCE = 300
"""Seconds after which a task counts for hung."""
TRACEBACK = "Traceback"
NEVER = (TRACEBACK, "died", "hung")
"""What no task may end with; nor with these where nothing was disturbed:"""
NOT_CALM = ("Internal", "HostUnavailable")
REPEATS = ("restarted", "reinstalled", "reverted")


class Soak:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lab = Lab()
        self.lab.up(len(HOSTS))
        self.lab.wipe(*HOSTS)
        for host in HOSTS:
            clear_state(self.lab, host)  # undefining leaves some of it behind
        self.catalog = self.lab.catalog(
            len(HOSTS),
            compute_offerings={"tiny": {"cpu": 1, "memory": 96}, "free": {"custom": True}},
            settings={"cpu_overprovisioning": 50, "stop_timeout": 20, "max_vm_snapshots": 4},
        )
        for host, uri in zip(self.catalog["hosts"], ("qemu+tls://h1/system", "qemu+ssh://root@h2/system")):
            host.update(pool="shared", shared_pools=["shared"], migration_uri=uri)
        self.ledger = Ledger(self.lab, HOSTS)
        self.turns = 0
        self.operations: Counter[str] = Counter()
        self.disturbed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.other: Counter[str] = Counter()
        self.last = Audit()
        self.problems: list[str] = []

    def prepare(self) -> None:
        self.settled(network("lan", cidr="10.77.0.0/24"))
        self.settled(template("tiny", src=str(self.lab.tiny), format="qcow2"))
        self.theirs = {}
        for host in HOSTS:
            with closing(self.lab.connect(host)) as connection:
                put_theirs(self.lab, host, connection)
                self.theirs[host] = theirs(self.lab, host, connection)

    def run(self, minutes: float) -> None:
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            self.turn(next_turn(self.random, self.lab.tiny))
            if self.turns % 20 == 0:
                self.look()
        self.look()

    def turn(self, turn: Turn) -> None:
        """The task, disturbed or not; again; and once more."""
        self.turns += 1
        task = turn.task
        self.operations[task.module] += 1
        self.disturbed[turn.fault] += 1
        told = self.child(task, turn)
        where = f" on {turn.host}" if turn.fault == "daemon" else ""
        say = f"{self.turns}: {task.module} {json.dumps(task.options)} {turn.fault}{where} {turn.delay:.2f}: {told}"
        print(say, flush=True)
        if told.get("code") in (NEVER if turn.fault != "calm" else (*NEVER, *NOT_CALM)):
            self.problem(say)
        if turn.fault != "calm":
            told = self.settled(task)
        if not told.get("code") and task.options.get("state") not in REPEATS:
            again = self.settled(task)
            if again.get("code") or again.get("changed"):
                self.problem(f"not at rest: {task.module} {task.options}: {told}, then {again}")
        for found in self.ledger.check(task, told):
            self.problem(f"{found} after {say}, then {told}")
        if turn.word:
            self.other["words written"] += self.ledger.write(turn.word)

    def problem(self, text: str) -> None:
        if text in self.problems:
            return  # one that stays is found by every audit
        self.problems.append(text)
        print(f"soak: PROBLEM {text}", flush=True)

    def settled(self, task: Task) -> dict[str, Any]:
        told = self.child(task, None)
        if told.get("code") in (*NEVER, *NOT_CALM):
            self.problem(f"{task.module} {task.options}: {told}")
        return told

    def child(self, task: Task, turn: Turn | None) -> dict[str, Any]:
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
        fault, killed = (turn.fault if turn else "calm"), "died"
        if turn and fault == "killed":
            timer, killed = Timer(turn.delay, os.kill, (pid, signal.SIGKILL)), "killed"
        else:
            timer = Timer(turn.delay if turn else 0, self.kill_daemon, (turn.host if turn else HOSTS[0],))
        if fault != "calm":
            timer.start()
        with os.fdopen(reader) as answer:
            if not select.select([answer], [], [], PATIENCE)[0]:
                os.kill(pid, signal.SIGKILL)
                killed = "hung"
            text = answer.read()
        timer.cancel()
        self.other["kills"] += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        if turn and fault == "daemon":
            if timer.is_alive():
                timer.join()
            self.wait_daemon(turn.host)
        told = dict(json.loads(text)) if text else {"code": killed}
        self.outcomes[told.get("code") or ("changed" if told["changed"] else "unchanged")] += 1
        return told

    def work(self, task: Task) -> dict[str, Any]:
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
        from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure

        try:
            outcome = task.run(Controller(Infrastructure(read_catalog(self.catalog), open_host), {}))
        except AblestackError as error:
            return {"code": error.code.value, "msg": error.sentence, "libvirt": str(error.details.get("libvirt", ""))}
        except Exception as error:  # noqa: BLE001 - told as what it is
            return {"code": TRACEBACK, "msg": f"{type(error).__name__}: {error}"}
        return {"changed": outcome.changed}

    def kill_daemon(self, host: str) -> None:
        self.other["daemon restarts"] += 1
        self.lab.host(host, "sh", "-c", "kill -9 $(cat /run/libvirtd.pid); sleep 0.1; libvirtd -d -l", check=False)

    def wait_daemon(self, host: str) -> None:
        def answers() -> bool:
            try:
                with closing(self.lab.connect(host)) as connection:
                    return bool(connection.isAlive())
            except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
                return False

        wait_for(answers, 60, f"libvirtd of {host}")

    def look(self) -> None:
        """Ends what was left open by tasks that nobody runs again, and accounts for everything."""
        for name in NAMES:
            self.settled(vm(name, labels={"audit": str(self.turns)}))
        self.last = audit(self.lab, HOSTS)
        for problem in self.last.problems:
            self.problem(problem)
        for host in HOSTS:
            with closing(self.lab.connect(host)) as connection:
                now = theirs(self.lab, host, connection)
            for what, before in self.theirs[host].items():
                if now[what] != before:
                    self.problem(f"{host}: the {what} of {THEIRS} was {before!r}, and is {now[what]!r}")
        self.other["audits"] += 1

    def summary(self) -> list[str]:
        parts = {
            "operations": self.operations,
            "meant to be": self.disturbed,
            "outcomes by task run": self.outcomes,
            "done": self.other + Counter({"disks compared": self.ledger.compared}),
            "accounted for at the end": self.last.counts,
        }
        return [
            f"{what}: " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()) for what, counts in parts.items()
        ]


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"soak: {minutes:g} minutes, seed {seed}", flush=True)
    soak = Soak(seed)
    soak.prepare()
    soak.run(minutes)
    print(f"soak: {minutes:g} minutes, seed {seed}, {soak.turns} turns on {len(HOSTS)} hosts")
    for line in soak.summary():
        print(f"soak: {line}")
    for problem in soak.problems:
        print(f"soak: PROBLEM {problem}")
    print(f"soak: {len(soak.problems)} problems (seed {seed})")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
