"""The operator's guide does what it says: all its playbooks, in its order, in one run on a real host."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Callable

import pycdlib
import pytest
import yaml
from lab_tests.lab import Lab
from lab_tests.runs import Run

from support.documents import Document

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
VM, FLEET, TEMPLATE, NETWORK = (f"ablestack.kvm.ablestack_{kind}" for kind in ("vm", "vm_fleet", "template", "network"))
Play = dict[str, Any]

# What the guide takes for granted.
BEFORE = [
    {"name": "lan is there", NETWORK: {"name": "lan", "cidr": "10.10.10.0/24"}},
    {"name": "backup is there", NETWORK: {"name": "backup", "cidr": "10.10.11.0/24"}},
    {
        "name": "builder is there",
        VM: {"name": "builder", "template": "debian12", "cpu": 1, "memory": 96, "networks": ["lan"]},
    },
]


def plays() -> list[Play]:
    blocks = [yaml.safe_load(block.text) for block in Document.at(GUIDE).blocks if block.language == "yaml"]
    found = [play for block in blocks if isinstance(block, list) for play in block]
    return [play for play in found if "tasks" in play and "module_defaults" not in play]


def catalog(lab: Lab) -> dict[str, Any]:
    """The guide's own, with a host of the lab for the first of its hosts."""
    first = next(block for block in Document.at(GUIDE).blocks if block.language == "yaml")
    found: dict[str, Any] = yaml.safe_load(first.text)
    found["hosts"] = [{**found["hosts"][0], "uri": lab.uri("h1"), "virt_type": "qemu"}]
    found["settings"].update(cpu_overprovisioning=20, memory_overprovisioning=20)
    return found


def for_the_lab(play: Play, files: dict[str, str]) -> Play:
    """The same play with files of ours, and without guests: nothing is started, so nothing has to be waited for."""
    play = copy.deepcopy(play)
    for task in play["tasks"]:
        if (task.get(TEMPLATE) or {}).keys() & {"url", "src"}:
            task[TEMPLATE].pop("url", None)
            task[TEMPLATE]["src"] = files[task[TEMPLATE].get("format", "qcow2")]
        if FLEET in task:
            task[FLEET]["defaults"]["start"] = False
        if VM in task:
            task[VM].pop("wait", None)
            if task[VM].keys() & {"template", "iso"}:
                task[VM]["start"] = False
    play["tasks"] = [task for task in play["tasks"] if task.get(VM, {}).get("state") not in ("started", "restarted")]
    return play


@pytest.fixture(scope="module")
def run(clean_lab: Lab, run_playbook: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("guide")
    image = pycdlib.PyCdlib()
    image.new()
    image.write(str(folder / "installer.iso"))
    image.close()
    (folder / "catalog.yml").write_text(yaml.safe_dump(catalog(clean_lab)), encoding="utf-8")
    files = {"qcow2": str(clean_lab.tiny), "iso": str(folder / "installer.iso")}
    register, *others = plays()
    before = {"name": "Before", "hosts": "localhost", "gather_facts": False, "tasks": BEFORE}
    playbook = [for_the_lab(play, files) for play in (register, before, *others)]
    return run_playbook(playbook, env={"ABLESTACK_CATALOG": str(folder / "catalog.yml")})


def test_every_playbook_of_the_guide_runs(run: Run) -> None:
    ran = {task.task for task in run.tasks}
    told = {task["name"] for play in plays() for task in play["tasks"]}
    left_out = {task["name"] for play in plays() for task in play["tasks"]} - ran
    assert left_out == {
        task["name"]
        for play in plays()
        for task in play["tasks"]
        if task.get(VM, {}).get("state") in ("started", "restarted")
    }
    assert len(told - left_out) > 25


def test_what_the_guide_shows_is_shown(run: Run) -> None:
    shown = {task.task: task.result.get("msg") for task in run.tasks if task.action.endswith("debug")}
    assert shown["Show where it is"] == "db01 is Stopped on kvm01, "  # of several tasks of this name the last counts
    assert shown["Show what uses them"] == {"debian12": ["builder"], "golden": []}
    assert shown["Show who is in them"]["lan"] == ["builder", "db01", "web01"]
    assert shown["Show what it cost"] == {
        "compute_offering": "live",
        "cpu": "restart",
        "max_cpu": "next_boot",
        "max_memory": "next_boot",
        "memory": "restart",
    }
    [fleet] = [task.result["shop.plan"] for task in run.tasks if task.task == "Show what became of them"]
    assert fleet == [
        f"+ {name}: made on kvm01 from debian12, {size} MiB, Stopped"
        for name, size in (("shop01", "1 CPU, 1024"), ("shop02", "1 CPU, 1024"), ("shop-db", "2 CPU, 4096"))
    ]
    assert shown["Show it"] == "Disk, quiesced: False"  # only a running guest can be frozen
    assert [line.split("  ")[0] for line in shown["Show them as a tree"]] == ["db01", "└── before-upgrade *"]
    assert shown["Show until when it can be recovered"].startswith("Destroyed, to be expunged at 2")


def test_the_tasks_of_the_guide_do_something(run: Run) -> None:
    """Twice the same VM, in a state it has already, would show nothing."""
    idle = {"Ask its guest to shut down", "Stop it the hard way", "Stop the VM", "Go back", "Make an isolated network"}
    changing = ("Deploy", "Make", "Attach", "Detach", "Give", "Keep", "Delete", "Destroy", "Recover", "Remove", "Eject")
    tasks = [task for task in run.tasks if task.task.startswith(changing) and task.task not in idle]
    assert len(tasks) > 12
    assert [task.task for task in tasks if not task.result.get("changed")] == []
