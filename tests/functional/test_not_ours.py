# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of our tasks beside what is not ours: that stays byte for byte, and each task is as predicted."""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import STATES
from support.module_tasks import all_modules
from support.sites import foreign_of, print_of, site_in_use
from support.worlds import World

MODULES = all_modules()
SEQUENCES = int(os.environ.get("ABLESTACK_FUZZ", "40"))
pytestmark = pytest.mark.usefixtures("waiting_takes_no_time")

ANEW = ("restarted", "reinstalled")  # what these ask for is done each time

pick = st.sampled_from
VM_NAMES = pick(("web1", "web2", "gone", "new1", "foreign"))
HOSTS = pick(("kvm01", "kvm02"))
OFTEN = pick((True, True, False))


def task(module: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    values = {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in required.items()}
    return st.tuples(st.just(f"ablestack_{module}"), st.fixed_dictionaries(values, optional=optional))


DISK = st.fixed_dictionaries(
    {"name": pick(("mine", "spare", "more", "lent"))},
    optional={"size": pick(("1", "2", "3")), "device": pick((1, 2))},
)
DISKS = st.lists(DISK, max_size=2, unique_by=lambda disk: disk["name"])
FIXED = {"name": "lan", "ip": "10.10.10.77"}
NETWORKS = pick(
    (["default"], ["lan"], ["lan", "default"], ["lan", "lan"], [FIXED], [FIXED, "lan"], ["lan", FIXED], ["blue"], [])
)
VM = task(
    "vm",
    {
        "name": VM_NAMES,
        "state": pick(STATES),
        "template": "tiny",
        "compute_offering": pick(("small", "medium")),
        "wait": "none",
        "forced": OFTEN,
        "allow_restart": OFTEN,
    },
    networks=NETWORKS,
    data_disks=DISKS,
    host=HOSTS,
    delete_data_disks=pick(("all", "none", ["mine"])),
    start=st.booleans(),
    group=pick(("blue", "")),
    root_disk_size=pick(("1", "3")),
    user_data=pick(("#cloud-config\n{}\n", "")),
    affinity_groups=pick((["apart"], [])),
    attached_iso=pick(("disc", "")),
    protected=pick((False, False, True)),
)
SNAPSHOT = task(
    "vm_snapshot",
    {"vm": pick(("web1", "web2", "new1", "foreign")), "name": pick(("s1", "s2"))},
    state=pick(("present", "absent", "reverted")),
    memory=st.booleans(),
    quiesce=pick(("false", "auto")),
)
VOLUME = task(
    "volume",
    {"name": pick(("spare", "mine", "lent", "loose", "foreign", "extra")), "host": HOSTS},
    state=pick(("present", "absent", "detached")),
    size=pick(("1", "2", "3", "4")),
    pool=pick(("default", "others")),
)
PLUGGED = task(
    "volume",
    {"name": pick(("spare", "mine", "lent", "loose", "foreign", "extra")), "state": pick(("attached", "detached"))},
    vm=VM_NAMES,
)
NETWORK = task(
    "network",
    {"name": pick(("lan", "default", "blue")), "state": pick(("present", "present", "absent", "restarted"))},
    cidr=pick(("10.10.10.0/24", "10.20.0.0/24")),
    gateway=pick(("10.20.0.1", "10.20.0.100")),
    dhcp_start=pick(("10.20.0.50", "10.20.0.150")),
    dhcp_end=st.just("10.20.0.199"),
    labels=pick(({"tier": "db"}, {})),
    hosts=pick((["kvm01"], ["kvm01", "kvm02"])),
)
TEMPLATE = pick(
    (
        {"name": "copy", "vm": "web2"},
        {"name": "copy", "volume": "default/vol-spare.qcow2"},
        {"name": "copy", "volume": "default/loose"},
        {"name": "copy", "vm": "foreign"},
        {"name": "copy", "state": "absent"},
        {"name": "tiny", "state": "absent"},
        {"name": "disc", "state": "absent", "forced": True},
        {"name": "tiny", "display_text": "words"},
        {"name": "loose", "state": "absent"},
    )
).map(lambda params: ("ablestack_template", params))
FLEET = task(
    "vm_fleet",
    {
        "vms": st.lists(VM_NAMES, max_size=3, unique=True).map(lambda names: [{"name": name} for name in names]),
        "defaults": {"template": "tiny", "compute_offering": "small", "networks": ["lan"], "wait": "none"},
    },
    group=st.just("blue"),
    prune=st.booleans(),
    state=pick(("present", "stopped", "destroyed")),
)
EXPUNGE = task("expunge", {})
POOL = st.builds(
    lambda name, more, hosts: ("ablestack_pool", {**name, **more, "hosts": hosts}),
    pick(({"name": "others"}, {"name": "default"}, {"name": "vms", "path": "/srv/vms"}, {"name": "x", "path": "/srv"})),
    pick(({}, {"autostart": True}, {"autostart": False}, {"path": "/pools/others"})),
    pick((["kvm01"], ["kvm02"], ["kvm01", "kvm02"])),
)
ANY = st.one_of(VM, VM, VM, SNAPSHOT, VOLUME, PLUGGED, NETWORK, TEMPLATE, FLEET, EXPUNGE, POOL, POOL)


@settings(max_examples=SEQUENCES, suppress_health_check=list(HealthCheck))
@given(tasks=st.lists(ANY, min_size=1, max_size=8))
def test_what_is_not_ours_stays_as_it_is(
    tasks: list[tuple[str, dict[str, Any]]], fuzz_case: Callable[[], None]
) -> None:
    world = site_in_use()
    for module, params in tasks:
        fuzz_case()
        named = params["name"] if module == "ablestack_pool" else ""
        theirs = foreign_of(world, named)
        as_predicted(world, module, params)
        assert foreign_of(world, named) == theirs, (module, params)


def as_predicted(world: World, name: str, params: dict[str, Any]) -> None:
    """Check, run, run again: refused alike with nothing changed, or done as foretold and then done with."""
    module = MODULES[name]
    before = print_of(world)
    predicted = module.run(world, params, check=True)
    assert print_of(world) == before
    done = module.run(world, params)
    codes = [task.error.code if task.error else None for task in (predicted, done)]
    assert codes[0] == codes[1], (name, params, [task.error and task.error.sentence for task in (predicted, done)])
    assert codes[0] is not Code.INTERNAL
    if done.error and not isinstance(done.error, Incomplete):
        assert print_of(world) == before, (name, params, done.error.sentence)
    else:
        assert predicted.outcome.changed == done.outcome.changed, (name, params)
    if not done.error and params.get("state") not in ANEW:
        again = module.run(world, params)
        assert again.error is None, (name, params, again.error.sentence)
        assert (again.outcome.changed, again.writes) == (False, []), (name, params, again.outcome.result)
