# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that somebody might run next on a site of two hosts, most of them sound: the same ones from the same seed."""

from __future__ import annotations

from random import Random
from typing import Any, Callable

from .tasks import Options, Task, migrate, snapshot, vm, volume

NAMES = ("web1", "web2", "web3")
HOSTS = ("kvm01", "kvm02")
DISKS = ("a", "b", "c")
SIZES: tuple[Options, ...] = (
    *[{}] * 6,
    {"compute_offering": "small"},
    {"compute_offering": "medium"},
    {"compute_offering": "custom", "cpu": 1, "memory": 512},
    {"compute_offering": "custom", "cpu": 2, "memory": 1024},
    {"cpu": 2, "memory": 768},
    {"memory": 2048},
)
NEW: Options = {"template": "tiny", "compute_offering": "small", "networks": ["default"]}
STATES = ("present", "present", "present", "started", "stopped", "restarted")


def any_task(rng: Random) -> Task:
    name = rng.choice(NAMES)
    kinds: list[tuple[int, Callable[[], Task]]] = [
        (50, lambda: _vm(rng, name)),
        (8, lambda: vm(name, state="destroyed", **_some(rng, 0.4, delete_data_disks=("all", "none")))),
        (8, lambda: vm(name, state="recovered")),
        (2, lambda: vm(name, state="expunged", **_some(rng, 0.3, delete_data_disks=("all", "none")))),
        (6, lambda: vm(name, state="reinstalled", **_options(rng))),
        (12, lambda: _volume(rng, name)),
        (4, lambda: _migrate(rng, name)),
        (8, lambda: _snapshot(rng, name)),
        (2, lambda: Task("expunge", {})),
    ]
    (make,) = rng.choices([make for _weight, make in kinds], [weight for weight, _make in kinds])
    return make()


def _vm(rng: Random, name: str) -> Task:
    return vm(name, **{**(NEW if rng.random() < 0.5 else {}), **_options(rng), "state": rng.choice(STATES)})


def _options(rng: Random) -> Options:
    return {
        **({"data_disks": _disks(rng)} if rng.random() < 0.4 else {}),
        **({"networks": _networks(rng)} if rng.random() < 0.3 else {}),
        **rng.choice(SIZES),
        **_some(rng, 0.6, allow_restart=(True,)),
        **_some(rng, 0.1, host=HOSTS),
        **_some(rng, 0.1, root_disk_size=("1GiB", "2GiB", "3GiB"), root_disk_offering=("data1", "data2", "custom")),
        **_some(rng, 0.1, dynamic_scaling=(True, False), tpm=(True, False), boot_type=("bios", "uefi")),
        **_some(rng, 0.1, user_data=("x", "y"), ssh_key_pairs=([], ["ops"]), labels=({"a": "1"}, {"a": "2"})),
        **_some(rng, 0.1, affinity_groups=([], ["apart"], ["together"]), attached_iso=("", "disc")),
        **_some(rng, 0.05, autostart=(True, False), protected=(True, False, False)),
    }


def _some(rng: Random, chance: float, **values: Any) -> Options:
    """Each of the options with that chance."""
    return {name: rng.choice(choices) for name, choices in values.items() if rng.random() < chance}


def _disks(rng: Random) -> list[Options]:
    return [
        {
            "name": name,
            **_some(rng, 0.7, size=("1GiB", "2GiB", "3GiB")),
            **_some(rng, 0.1, disk_offering=("data1", "data2", "custom"), device=(1, 2, 4), max_iops=(0, 100)),
        }
        for name in rng.sample(DISKS, rng.randint(0, 2))
    ]


def _networks(rng: Random) -> list[Options]:
    return [
        {
            "name": network,
            **(_some(rng, 0.4, ip=("auto", "10.10.10.50", "10.10.10.51")) if network == "lan" else {}),
            **_some(rng, 0.1, model=("e1000", "virtio")),
        }
        for network in rng.choices(("default", "lan", "lan"), k=rng.randint(1, 3))
    ]


def _volume(rng: Random, name: str) -> Task:
    state = rng.choice(("present", "attached", "detached", "absent"))
    owner = {"vm": name} if state == "attached" or rng.random() < 0.2 else {}
    return volume(rng.choice(DISKS), state=state, **owner, **_some(rng, 0.7, size=("1GiB", "2GiB", "3GiB"), host=HOSTS))


def _migrate(rng: Random, name: str) -> Task:
    return migrate(rng.choice((*HOSTS, "")), name=name, **_some(rng, 0.5, copy_storage=(True,), live=(False,)))


def _snapshot(rng: Random, name: str) -> Task:
    state = rng.choice(("present", "present", "absent", "reverted"))
    return snapshot(rng.choice(("s1", "s2", "s3")), state, vm=name, **_some(rng, 0.2, memory=(True,)))
