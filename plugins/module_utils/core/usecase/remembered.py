# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose answers are remembered, so that the plans of many VMs ask each question once a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, cast

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, answer_of
from ..model.vm import DomainRef, Read
from .infrastructure import Infrastructure

_READS = frozenset(
    {
        "domains",
        "vm",
        "glance",
        "pool",
        "volume",
        "volume_names",
        "download",
        "networks",
        "network",
        "leases",
        "snapshots",
        "abilities",
        "facts",
        "details",
    }
)
_FRESH = ("domains", True)
"""The one question that wants no memory: who has been made since the others were answered."""


class Remembered:
    """A host of which every question is asked once; what it refused then it refuses again."""

    def __init__(self, host: Host, listed: tuple[DomainRef, ...] | None = None) -> None:
        self.spec = host.spec
        self._host = host
        self._answers: dict[tuple[Any, ...], Any] = {} if listed is None else {("domains",): listed}

    def vms(self, refs: Sequence[DomainRef]) -> list[Read]:
        """As of the host; each VM is asked for once."""
        return self._many("vm", self._host.vms, refs)

    def glances(self, refs: Sequence[DomainRef]) -> list[Read]:
        """The same."""
        return self._many("glance", self._host.glances, refs)

    def _many(
        self, name: str, ask: Callable[[Sequence[DomainRef]], list[Read]], refs: Sequence[DomainRef]
    ) -> list[Read]:
        new = [ref for ref in refs if (name, ref) not in self._answers]
        if new:
            self._answers.update(((name, ref), answer) for ref, answer in zip(new, ask(new)))
        return [self._answers[name, ref] for ref in refs]

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._host, name)
        if name not in _READS:
            return method

        def ask(*arguments: Any) -> Any:
            question = (name, *arguments)
            if question == _FRESH:
                return method(*arguments)
            if question not in self._answers:
                answer: Any = answer_of(method, *arguments)
                self._answers[question] = tuple(answer) if hasattr(answer, "__next__") else answer
            answer = self._answers[question]
            if isinstance(answer, AblestackError):
                raise answer
            return answer

        setattr(self, name, ask)
        return ask


def remembering(infra: Infrastructure, listed: Mapping[str, tuple[DomainRef, ...]] | None = None) -> Infrastructure:
    """The same hosts through the same connections, with a memory that begins now; for reading only.

    `listed` has by host the domains that it listed a moment ago.
    """
    known = listed or {}

    def remembered(spec: HostSpec) -> Host:
        return cast(Host, Remembered(infra.host(spec.name), known.get(spec.name)))

    return infra.through(remembered)
