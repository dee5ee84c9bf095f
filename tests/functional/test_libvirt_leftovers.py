# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon that died in the midst of its work leaves to the next task, as the soak has met it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_domains
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from support.network_samples import NETWORKS
from support.test_driver import driver_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    with driver_host(tmp_path) as connected:
        yield connected


def failing(real: Callable[..., Any], times: int, text: str) -> Callable[..., Any]:
    """The call, which fails so often first."""
    left = [times]

    def call(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise libvirt.libvirtError(text)
        return real(*arguments)

    return call


def test_a_network_whose_start_was_cut_off_gets_another_bridge(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.define_network(replace(NETWORKS["isolated"], bridge="virbr2"))  # as libvirt names them
    left_over = failing(libvirt.virNetwork.create, 1, "error creating bridge interface virbr2: File exists")
    monkeypatch.setattr(libvirt.virNetwork, "create", left_over)
    # which this driver does not
    monkeypatch.setattr(host._connection, "networkDefineXML", renamed(host._connection.networkDefineXML))
    host.start_network("lan")
    assert (host.network("lan").active, host.network("lan").bridge) == (True, "virbr77")


def renamed(define: Callable[[str], Any]) -> Callable[[str], Any]:
    """Libvirt's way to define a network, with the name it would choose for a bridge that has none."""

    def call(text: str) -> Any:
        assert "<bridge stp" in text, "a name of before is in the definition"
        return define(text.replace("<bridge stp", "<bridge name='virbr77' stp"))

    return call


def test_a_bridge_that_somebody_named_is_not_named_anew(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.define_network(NETWORKS["routed"])
    monkeypatch.setattr(
        libvirt.virNetwork, "create", failing(libvirt.virNetwork.create, 1, "error creating bridge interface lan0")
    )
    with pytest.raises(AblestackError):
        host.start_network("lan")
    assert (host.network("lan").active, host.network("lan").bridge) == (False, "lan0")


def test_a_snapshot_that_is_still_being_taken_is_waited_for(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    monkeypatch.setattr(libvirt_domains, "sleep", lambda seconds: passed.append(passed[-1] + seconds))
    monkeypatch.setattr(libvirt_domains, "monotonic", lambda: passed[-1])
    nameless = "invalid argument: name in virGetDomainSnapshot must not be NULL"
    (ref,) = host.domains()
    lists = libvirt.virDomain.listAllSnapshots
    monkeypatch.setattr(libvirt.virDomain, "listAllSnapshots", failing(lists, 5, nameless))
    assert host.snapshots(ref.id) == ()
    monkeypatch.setattr(libvirt.virDomain, "listAllSnapshots", failing(lists, 10**6, nameless))
    with pytest.raises(AblestackError):
        host.snapshots(ref.id)
    assert passed[-1] < 60
