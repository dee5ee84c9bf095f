# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the soak does next: the same from the same seed, whatever came of what was done before."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.tasks import Task, network, snapshot, template, vm, volume

HOSTS = ("h1", "h2")
NAMES = ("one", "two")
FAULTS = ("calm", "calm", "killed", "killed", "daemon")


@dataclass(frozen=True)
class Turn:
    """A task, what disturbs it, after how many seconds and on which host, and the word to write afterwards, if any."""

    task: Task
    fault: str
    delay: float
    host: str
    word: str


def next_turn(rng: random.Random, image: Path) -> Turn:
    """Whatever might be asked next; much of it will be refused, which is an answer too."""
    task = rng.choice(_tasks(rng, image))
    fault, delay, host = rng.choice(FAULTS), rng.uniform(0.02, 0.5), rng.choice(HOSTS)
    word, writes = f"{rng.randrange(1, 2**16):04x}", rng.random() < 0.5
    return Turn(task, fault, delay, host, word if writes else "")


def _tasks(rng: random.Random, image: Path) -> list[Task]:
    name, host, shot = rng.choice(NAMES), rng.choice(HOSTS), f"s{rng.randrange(3)}"
    label = {"n": str(rng.randrange(100))}
    uefi, tpm = rng.random() < 0.3, rng.random() < 0.2
    deploy: dict[str, Any] = {
        "template": "tiny",
        "compute_offering": "tiny",
        "networks": [{"name": "lan", "ip": f"10.77.0.{10 + NAMES.index(name)}"}, "default"],
        "data_disks": [{"name": f"{name}-{n}", "size": "64MiB"} for n in range(rng.randrange(3))],
        "boot_type": "uefi" if uefi else "bios",
        "tpm": tpm,
        "autostart": rng.random() < 0.3,
        **({"host": host} if rng.random() < 0.3 else {}),
    }
    there = [
        vm(name, state="started"),
        vm(name, state="started", host=host),
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
    moves = [Task("migrate", {"name": name, "host": host, "live": live, "forced": True}) for live in (True, False)]
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
        volume("spare", host=host, size=rng.choice(["64MiB", "128MiB"])),
        volume("spare", host=host, state="absent"),
        volume(disk, host=host, state="absent"),
        vm(name, state="stopped", forced=True, data_disks=[{"name": "spare", "size": "128MiB"}]),
        vm(name, state="stopped", forced=True, data_disks=[{"name": disk, "size": "64MiB"}]),
    ]
    others = [
        template("copy", src=str(image), format="qcow2"),
        template("copy", state="absent"),
        network("lan", cidr="10.77.0.0/24", labels=label),
        network("extra", cidr="10.79.0.0/24"),
        network("extra", state="absent"),
        Task("expunge", {}),
    ]
    back = [vm(name, **deploy)] * 12 + [vm(name, state="recovered")] * 2
    return [*back, *there, *there, *moves, *moves, *moves, *shots, *shots, *disks, *others]
