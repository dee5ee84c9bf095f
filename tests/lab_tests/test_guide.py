"""
The operator's guide does what it says: its playbooks, in its order, each twice in a row, and what they show.

What is not as it is written: the images, one host instead of two, and that of all its guests only db01 is started.
Plays whose hosts are KVM hosts or VMs, and those that move VMs, have lab tests of their own.
"""

from __future__ import annotations

import copy
import re
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
AGAIN = " (again in "  # and the name of the playbook: "Stop the VM" is in two
Play = dict[str, Any]

# What the guide takes for granted.
BEFORE = [
    {"name": "lan is there", NETWORK: {"name": "lan", "cidr": "10.10.10.0/24"}},
    {"name": "backup is there", NETWORK: {"name": "backup", "cidr": "10.10.11.0/24"}},
    {
        "name": "builder is there",
        VM: {"name": "builder", "template": "debian12", "cpu": 1, "memory": 96, "networks": ["lan"], "start": False},
    },
]

# Playbooks that go through several states: what of them their second run does again.
AGAIN_CHANGED = {
    "Restart a VM": ["Ask its guest to reboot"],
    "Reset a VM": ["Press its reset button"],
    "A data volume": ["Attach it to a VM", "Detach it again"],
    "Reinstall a VM": ["Give web01 a new root disk"],
    "Restore a VM snapshot": ["Stop the VM", "Go back", "Start it"],
}

# Shown at a time when the machines are there that it tells of, which they are not in the order of the guide.
OF_OTHER_MACHINES = {"Show their addresses", "Show which"}


def blocks(language: str) -> list[str]:
    return [block.text for block in Document.at(GUIDE).blocks if block.language == language]


def plays() -> list[Play]:
    found = [play for text in blocks("yaml") if isinstance(data := yaml.safe_load(text), list) for play in data]
    return [
        play for play in found if play["hosts"] == "localhost" and "tasks" in play and "module_defaults" not in play
    ]


def catalog(lab: Lab) -> dict[str, Any]:
    """The guide's own, with a host of the lab for the first of its hosts."""
    found: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    found["hosts"] = [{**found["hosts"][0], "uri": lab.uri("h1"), "virt_type": "qemu"}]
    found["settings"].update(cpu_overprovisioning=20, memory_overprovisioning=20)
    found["ssh_key_pairs"]["ops"] = lab.public_key
    return found


def for_the_lab(play: Play, files: dict[str, str], again: bool) -> Play:
    """The same play with files of ours; the name of a task says whether it is the second time."""
    play = copy.deepcopy(play)
    for task in play["tasks"]:
        if (task.get(TEMPLATE) or {}).keys() & {"url", "src"}:
            task[TEMPLATE].pop("url", None)
            task[TEMPLATE]["src"] = files[task[TEMPLATE].get("format", "qcow2")]
        if FLEET in task:
            task[FLEET]["defaults"]["start"] = False
        if VM in task and task[VM].keys() & {"template", "iso"} and task[VM]["name"] != "db01":
            task[VM]["start"] = False
        task["name"] += f"{AGAIN}{play['name']})" if again else ""
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
    playbook = [for_the_lab(play, files, again) for play in (register, before, *others) for again in (False, True)]
    told = {"ABLESTACK_CATALOG": str(folder / "catalog.yml"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
    return run_playbook(playbook, env=told, timeout=1500)


def test_every_playbook_of_the_guide_runs(run: Run) -> None:
    told = [(task["name"], play["name"]) for play in plays() for task in play["tasks"]]
    ran = {task.task for task in run.tasks}
    assert [name for name, _play in told if name not in ran] == []
    assert [name for name, play in told if f"{name}{AGAIN}{play})" not in ran] == []
    assert len(told) > 40


def test_a_second_run_changes_nothing(run: Run) -> None:
    """But for what the guide says of it: a restart, a reinstall, and playbooks that go through several states."""
    changed: dict[str, list[str]] = {}
    for name in run.changed:
        task, again, play = name.partition(AGAIN)
        if again and play != "Before)":
            changed.setdefault(play.removesuffix(")"), []).append(task)
    assert changed == AGAIN_CHANGED


def test_the_guest_was_reached(run: Run) -> None:
    """As written: by SSH after its deploy, its restart and its restore, and by its agent after its start."""
    waits = {task["name"] for play in plays() for task in play["tasks"] if task.get(VM, {}).get("wait")}
    assert len(waits) >= 5
    assert [name for name in waits if not run[name]["changed"]] == []


def test_what_the_guide_shows_is_shown(run: Run) -> None:
    real = tasks_shown(run.output)
    told = [
        shown for text in blocks("text") for shown in tasks_shown(text) if shown[0] in {task for task, _shown in real}
    ]
    compared = [(task, as_in_the_lab(task, text)) for task, text in told if task not in OF_OTHER_MACHINES]
    assert len(compared) > 18
    wrong = [(task, text) for task, text in compared if (task, text) not in [(t, as_in_the_lab(t, x)) for t, x in real]]
    assert wrong == []


def tasks_shown(text: str) -> list[tuple[str, str]]:
    """The tasks that Ansible's output has, each with what it says of it."""
    parts = re.split(r"^(?:TASK|PLAY) (?:\[(.*?)\]|RECAP) \**\n", text + "\n", flags=re.MULTILINE)
    return [
        (task, re.sub(r" +$", "", body, flags=re.MULTILINE).strip()) for task, body in zip(parts[1::2], parts[2::2])
    ]


def as_in_the_lab(task: str, text: str) -> str:
    """The same text on one host, with words for what differs from run to run, and with the guests that are started."""
    text = re.sub(r", kvm02|\n *- kvm02|\n {8}kvm02:(\n {12}.*)+", "", text).replace("on kvm02", "on kvm01")
    text = re.sub(r"\b10\.10\.10\.(?!21\b)\d+", "ADDRESS", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", text)
    if task == "Show what became of them":
        text = text.replace("Running", "Stopped")
    if task == "Show how much memory is given out":
        text = re.sub(r"[\d.]+", "N", text)
    return text


def test_the_tasks_of_the_guide_do_something(run: Run) -> None:
    """Twice the same VM, in a state it has already, would show nothing."""
    idle = {
        "Stop it the hard way",
        "Stop the VM",
        "Make an isolated network, with NAT, DHCP and DNS",
        "Start it on kvm01",
    }
    doing = ("Deploy", "Make", "Attach", "Detach", "Give", "Keep", "Delete", "Destroy", "Recover", "Remove", "Eject")
    tasks = [task for task in run.tasks if task.task.startswith(doing) and AGAIN not in task.task]
    assert len(tasks) > 12
    assert [task.task for task in tasks if not task.result.get("changed") and task.task not in idle] == []
