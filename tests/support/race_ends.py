# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How races may end: each judges the site and what the controllers were told."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Phase

from .memory_snapshots import content_at
from .operations import IMAGE, OTHER
from .turns import Result
from .worlds import World


def no_end(_world: World, _results: list[Result]) -> None:
    """Stands for an end that the table forgot to say."""
    raise AssertionError("the race says nothing of how it is to end")


def states(world: World) -> Counter[str]:
    """How many VMs of ours there are, by phase and power."""
    domains = [domain for state in world.states.values() for domain in state.domains.values()]
    return Counter(
        f"{domain.config.record.mark.phase.value or domain.power.value}" for domain in domains if domain.config.record
    )


def changed(results: list[Result]) -> int:
    return sum(not isinstance(result, AblestackError) and result.changed for result in results)


def one_vm(world: World, results: list[Result]) -> None:
    assert states(world) == {"running": 1}
    assert changed(results) == 1, "one made it, and one alone may say so"


def at_most_one(world: World, results: list[Result]) -> None:
    assert sum(states(world).values()) <= 1


def one_holder(world: World, results: list[Result]) -> None:
    """A disk that is there belongs to one VM at the most: the audit has seen to that. Somebody got it."""
    holders = [
        domain.config.record.name
        for domain in world.state.domains.values()
        if domain.config.record and any(disk.name == "spare" for disk in domain.config.record.disks)
    ]
    assert len(holders) == 1
    won = {
        result.result["volume"]["vm"] for result in results if not isinstance(result, AblestackError) and result.changed
    }
    assert won == set(holders), "who says that he attached it did, and nobody else"


def either(*allowed: str) -> Callable[[World, list[Result]], None]:
    def judge(world: World, results: list[Result]) -> None:
        found = states(world)
        assert list(found.elements()) in [[one] if one else [] for one in allowed], found

    return judge


def text_is(*texts: str) -> Callable[[World, list[Result]], None]:
    def judge(world: World, results: list[Result]) -> None:
        for domain in world.state.domains.values():
            if domain.config.record:
                read = {content_at(world.state, disk.path) for disk in domain.config.disks if disk.kind == "disk"}
                assert read in [{text.encode()} for text in texts], read

    return judge


def expunged_or_recovered(world: World, results: list[Result]) -> None:
    """What is due is expunged once at the most, and never what somebody has recovered, be it running or not."""
    done = [result for result in results if not isinstance(result, AblestackError) and result.changed]
    expunged = [result for result in done if "expunged" in result.result]
    assert len(expunged) <= 1
    assert not (expunged and len(done) > 1), "it was recovered, and then expunged"
    either("" if expunged else "running" if len(done) > 1 else "off")(world, results)


def taken(new: int, before: int = 0) -> Callable[[World, list[Result]], None]:
    """So many snapshots were taken, beside those of before; whoever says that he took one did."""

    def judge(world: World, results: list[Result]) -> None:
        text_is("A")(world, results)
        (domain,) = (domain for domain in world.state.domains.values() if domain.config.record)
        assert len({kept.facts.name for kept in domain.kept}) == new + before
        assert changed(results) == new

    return judge


def where_it_says(world: World, results: list[Result]) -> None:
    """The disk is where one who succeeded has put it: in a VM, free, or gone."""
    told = [result.result["volume"] for result in results if not isinstance(result, AblestackError) and result.changed]
    assert told, "somebody can always do something"
    there = world.pool.volumes.get("vol-spare.qcow2")
    assert (there is None) <= ({} in told), "it is gone, and nobody says that he deleted it"
    assert there is None or there.capacity in (GIB, 2 * GIB)
    having = holders(world, "spare")
    assert not having or there
    assert set(having) <= {volume.get("vm") for volume in told}


def holders(world: World, disk: str) -> list[str]:
    """The VMs that have the disk, and are not destroyed."""
    records = [domain.config.record for state in world.states.values() for domain in state.domains.values()]
    mine = [record for record in records if record and record.mark.phase is Phase.SETTLED]
    return [record.name for record in mine if any(one.name == disk for one in record.disks)]


def recovered_or_new(world: World, results: list[Result]) -> None:
    """There is one VM of that name: the old one, or a new one beside it."""
    found = states(world)
    assert found in (Counter(off=1), Counter(running=1, destroyed=1)), found
    assert changed(results) >= 1


def recovered_and_one_holder(world: World, results: list[Result]) -> None:
    assert states(world) == Counter(off=1, running=1)
    assert len(holders(world, "keep")) == 1


def one_image(world: World, results: list[Result]) -> None:
    image = world.pool.volumes["tmpl-t.qcow2"].content
    assert image in (Path(IMAGE).read_bytes(), Path(OTHER).read_bytes())
    assert changed(results) == 1, "one made it, and one alone may say so"


def gone_or_used(there: bool, world: World, results: list[Result]) -> None:
    """What a VM uses is there; where it is gone there is no VM. One or the other has come true, for one who says so."""
    assert states(world) == (Counter(running=1) if there else Counter())
    assert changed(results) >= 1


def replaced_or_used(world: World, results: list[Result]) -> None:
    """A VM that is there stands on the image that it was made for, and nobody says that he did what he did not."""
    image = world.pool.volumes["tmpl-t.qcow2"].content
    assert image in (Path(IMAGE).read_bytes(), Path(OTHER).read_bytes())
    assert states(world) in (Counter(running=1), Counter())
    assert states(world) or image == Path(OTHER).read_bytes()
    for domain in world.state.domains.values():
        if domain.config.record:
            assert domain.config.record.template_checksum.endswith(hashlib.sha256(image).hexdigest())
    assert changed(results) >= 1


def in_a_drive(image: str) -> Callable[[World, list[Result]], None]:
    """The image is in the VM's drive, or it is gone: the audit sees that a drive's image is there."""

    def judge(world: World, results: list[Result]) -> None:
        (domain,) = (domain for domain in world.state.domains.values() if domain.config.record)
        assert any(disk.path.endswith(image) for disk in domain.config.disks) == (image in world.pool.volumes)
        assert changed(results) >= 1

    return judge


def reinstalled_or_gone(world: World, results: list[Result]) -> None:
    (domain,) = (domain for domain in world.state.domains.values() if domain.config.record)
    record = domain.config.record
    assert record
    assert (record.template == "t") == ("tmpl-t.qcow2" in world.pool.volumes)
    assert changed(results) >= 1


def network_gone_or_used(world: World, results: list[Result]) -> None:
    """The same; or each got in the other's way, for who deletes stops the network before he looks who uses it. Then it
    runs again, and nobody claims to have changed anything.
    """
    found = world.state.networks.get("blue")
    if found and not states(world):
        assert found.facts.active
        assert changed(results) == 0
    else:
        gone_or_used(found is not None, world, results)


def one_pool(world: World, results: list[Result]) -> None:
    made = world.state.pools["vms"]
    assert (made.active, made.autostart) == (True, True)
    assert changed(results) >= 1


def on(*hosts: str) -> Callable[[World, list[Result]], None]:
    """It runs, once, on one of these."""

    def judge(world: World, results: list[Result]) -> None:
        either("running")(world, results)
        assert changed(results) >= 1
        (place,) = (
            name
            for name, state in world.states.items()
            if any(domain.config.record for domain in state.domains.values())
        )
        assert place in hosts

    return judge


def one_changed(results: list[Result], most: int = 1) -> None:
    assert 1 <= changed(results) <= most, "one made it, and one alone may say so"
