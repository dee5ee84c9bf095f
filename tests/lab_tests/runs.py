"""Runs playbooks and single modules as a user does, and hands their results to a test as data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Task:
    """One task on one host. `status` is ok, failed, ignored, unreachable or skipped."""

    status: str
    host: str
    task: str
    action: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run of ansible-playbook. `run["task name"]` is that task's result on the first host that ran it."""

    rc: int
    output: str
    tasks: list[Task]

    def __getitem__(self, name: str) -> dict[str, Any]:
        found = [task for task in self.tasks if task.task == name]
        if not found:
            raise KeyError(f"no task {name!r}; there are {[task.task for task in self.tasks]}")
        return found[0].result

    @property
    def changed(self) -> list[str]:
        """The names of the tasks that changed something."""
        return [task.task for task in self.tasks if task.result.get("changed")]

    @property
    def failed(self) -> list[Task]:
        return [task for task in self.tasks if task.status in ("failed", "unreachable")]


def environment(records: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    tools = str(Path(sys.executable).parent)
    # A version manager's shims choose an interpreter by the current folder: never let one be found.
    path = [tools] + [p for p in env.get("PATH", "").split(":") if p != tools and not p.endswith("/shims")]
    env.update(
        PATH=":".join(path),
        ANSIBLE_CALLBACK_PLUGINS=str(HERE / "plugins" / "callback"),
        ANSIBLE_CALLBACKS_ENABLED="records",
        LAB_RECORDS=str(records),
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_HOST_KEY_CHECKING="false",
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_RETRY_FILES_ENABLED="false",
        ANSIBLE_PIPELINING="true",
        # To connect includes the exchange of keys, which takes a guest in software emulation seconds.
        ANSIBLE_TIMEOUT="60",
        # The machine's own settings stay out; the collection comes from ANSIBLE_COLLECTIONS_PATH (tests/conftest.py).
        ANSIBLE_CONFIG=str(HERE / "plugins" / "ansible.cfg"),
    )
    env.update(more or {})
    return env


def run_playbook(
    playbook: str | Path | list[dict[str, Any]],
    *,
    inventory: str | Path,
    check: bool = False,
    diff: bool = False,
    extra_vars: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    within: tuple[str, ...] = (),
    timeout: float = 1500,
    ok: bool | None = True,
) -> Run:
    """
    `playbook` is a path, YAML text, or plays as Python data. `ok=True` insists that the run succeeds, `False` that it
    fails; `None` leaves that to the caller. `within` is a command that runs another one elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="ablestack-run-") as folder:
        records = Path(folder, "records")
        if not isinstance(playbook, Path):
            text = playbook if isinstance(playbook, str) else yaml.safe_dump(playbook, sort_keys=False)
            playbook = Path(folder, "playbook.yml")
            playbook.write_text(text, encoding="utf-8")
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(playbook)]
        command += ["--check"] if check else []
        command += ["--diff"] if diff else []
        command += ["-e", json.dumps(extra_vars)] if extra_vars else []
        done = subprocess.run(
            [*within, *command, *arguments],
            env=environment(records, env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
    run = Run(done.returncode, done.stdout, [Task(**json.loads(line)) for line in lines])
    if ok is not None:
        assert (run.rc == 0) is ok, f"ansible-playbook ended with {run.rc}:\n{run.output}"
    return run


def run_module(
    module: str,
    arguments: dict[str, Any] | None = None,
    *,
    hosts: str = "localhost",
    ok: bool | None = True,
    **options: Any,
) -> dict[str, Any]:
    """One task's result, from the first host. A short name is one of this collection's; `options` as run_playbook's."""
    name = module if "." in module else f"ablestack.kvm.{module}"
    task = {"name": "it", name: arguments or {}}
    run = run_playbook([{"hosts": hosts, "gather_facts": False, "tasks": [task]}], ok=ok, **options)
    if not run.tasks:
        raise AssertionError(f"the task did not run:\n{run.output}")
    return run["it"]
