# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merging a disk's images: ours is waited for, nobody else's is, none for ever; and what a killed run left of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_snapshots
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.test_driver import driver_host

COMMIT, ACTIVE = libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT, libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT
HELPER = "ablestack-merge-5e1f0e2c"
SHAPE = "<memory>1024</memory><os><type>hvm</type></os>"
COPY, PULL = libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY, libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL


class Merging:
    """A domain whose disk has a job that goes on by one each time it is looked at, and is ready at `end`."""

    def __init__(self, kind: int, end: int, mirror: str = "") -> None:
        self.kind, self.end, self.mirror = kind, end, mirror
        self.done, self.pivoted = 0, False

    def blockJobInfo(self, _target: str, _flags: int) -> dict[str, int]:  # noqa: N802
        self.done += self.done < self.end
        over = self.pivoted or (not self.mirror and self.done == self.end > 0)
        return {} if over else {"type": self.kind, "bandwidth": 0, "cur": self.done, "end": self.end}

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        ready = "yes" if self.done == self.end else "no"
        mirror = f"<mirror type='file' job='{self.mirror}' ready='{ready}'/>" if self.mirror else ""
        return f"<domain><devices><disk type='file'>{mirror}<target dev='vda'/></disk></devices></domain>"

    def blockJobAbort(self, _target: str, flags: int) -> None:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT
        self.pivoted = True


@pytest.fixture(autouse=True)
def waiting_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    monkeypatch.setattr(libvirt_snapshots, "sleep", lambda seconds: passed.append(passed.pop() + seconds))
    monkeypatch.setattr(libvirt_snapshots, "monotonic", lambda: passed[-1])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    with driver_host(tmp_path) as connected:
        yield connected


@pytest.mark.parametrize(("kind", "mirror"), [(COMMIT, ""), (ACTIVE, "active-commit")])
def test_a_merge_that_goes_on_is_waited_for_however_long_it_takes(host: Any, kind: int, mirror: str) -> None:
    domain = Merging(kind, 3000, mirror)
    host._end_job(domain, "vda")
    assert domain.done == 3000
    assert domain.pivoted is bool(mirror)


@pytest.mark.parametrize(("kind", "mirror"), [(COPY, "copy"), (PULL, "")])
def test_another_tools_job_is_left_to_it(host: Any, kind: int, mirror: str) -> None:
    domain = Merging(kind, 9, mirror)
    with pytest.raises(AblestackError, match="copied by another tool") as refused:
        host._end_job(domain, "vda")
    assert refused.value.code is Code.IN_USE
    assert not domain.pivoted


def test_a_merge_that_stands_still_is_an_error(host: Any) -> None:
    with pytest.raises(AblestackError, match="standstill") as failed:
        host._end_job(Merging(COMMIT, 0), "vda")
    assert failed.value.code is Code.TIMEOUT


def test_a_helper_that_a_killed_run_left_makes_way_for_the_next(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vm_id = "5e1f0e2c-0000-4000-8000-000000000001"
    host._connection.defineXML(f"<domain type='test'><name>web1</name><uuid>{vm_id}</uuid>{SHAPE}</domain>")
    left = host._connection.createXML(f"<domain type='test'><name>{HELPER}</name>{SHAPE}</domain>", 0)
    create = host._connection.createXML
    monkeypatch.setattr(host._connection, "createXML", lambda text, _flags: create(text, 0))  # the driver has no flags
    with host._helper(vm_id, ()) as helper:
        assert helper.name() == left.name()
        assert helper.UUIDString() != left.UUIDString()
    host._end_helper(HELPER)  # there is none any more


def test_a_domain_of_that_name_that_is_defined_is_somebody_elses(host: Any) -> None:
    theirs = host._connection.defineXML(f"<domain type='test'><name>{HELPER}</name>{SHAPE}</domain>")
    theirs.create()
    host._end_helper(HELPER)
    assert theirs.isActive()
