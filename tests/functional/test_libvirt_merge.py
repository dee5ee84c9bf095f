# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for the merge of a disk's images: ours to its end, nobody else's, and none that stands still for ever."""

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
