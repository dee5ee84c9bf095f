# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of a task: whoever opens one, and through whatever view, it is closed in the end."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from support.worlds import make_world


class Line:
    """A connection that knows whether it is closed."""

    def __init__(self, spec: HostSpec) -> None:
        self.spec, self.closed = spec, 0

    def close(self) -> None:
        self.closed += 1


VIEWS: dict[str, Callable[[Infrastructure], Infrastructure]] = {
    "itself": lambda infra: infra,
    "narrowed": lambda infra: infra.narrowed(infra.catalog.hosts[0]),
    "checking": lambda infra: infra.checking(),
    "through": lambda infra: infra.through(lambda spec: infra.host(spec.name)),
    "through, narrowed": lambda infra: infra.through(lambda spec: infra.host(spec.name)).narrowed(
        infra.catalog.hosts[0]
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_connection_is_closed_once(name: str) -> None:
    opened: list[Any] = []

    def open_host(spec: HostSpec) -> Any:
        opened.append(Line(spec))
        return opened[-1]

    with Infrastructure(make_world(2).catalog, open_host) as infra:
        view = VIEWS[name](infra)
        first, more = view.host("kvm01"), view.another("kvm01")
        assert first is not more
    assert [line.closed for line in opened] == [1, 1]
