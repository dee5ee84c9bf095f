# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIC of a VM a wanted one is: where all are as wanted, the long way has nothing to do either."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog, HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import (
    NicConfig,
    NicRecord,
    Power,
    VmConfig,
    VmFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan import change_nics
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.edits import Edits
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.request import Fresh, VmRequest
from support.samples import vm_config

ROW = st.tuples(
    st.sampled_from(("lan", "dmz")),  # its network
    st.booleans(),  # whether it has a fixed address
    st.booleans(),  # whether its MAC is given
    st.booleans(),  # whether its model is given
    st.sampled_from(("", "10.0.0.%d", "10.0.0.%d/24")),  # how its address is given, where it has one
)
Row = tuple[str, bool, bool, bool, str]


def site(rows: list[Row], runs: bool = False) -> tuple[tuple[NicSpec, ...], VmFacts]:
    """NICs as an option gives them, and the VM that has them."""
    nics, records, wanted = [], [], []
    for number, (network, fixed, named, modelled, address) in enumerate(rows, 1):
        nic = NicConfig(f"52:54:00:00:00:{number:02x}", network)
        given_ip = address % number if fixed and address else ""
        nics.append(nic)
        records.append(NicRecord(nic.mac, network, f"10.0.0.{number}" if fixed else ""))
        mac, model = nic.mac if named else "", nic.model if modelled else ""
        wanted.append(NicSpec(network, ip=given_ip, mac=mac, model=model))
    config = vm_config()
    assert config.record
    config = replace(config, nics=tuple(nics), record=replace(config.record, nics=tuple(records)))
    power = Power.RUNNING if runs else Power.OFF
    host = HostSpec("kvm01", "test:///default")
    return tuple(wanted), VmFacts(host, power, config, config if runs else None)


@given(rows=st.lists(ROW, max_size=5))
def test_nics_that_are_as_wanted_are_themselves(rows: list[Row]) -> None:
    wanted, vm = site(rows)
    matches, gone = change_nics.match_nics(wanted, vm)
    assert [(match.spec, match.have) for match in matches] == list(zip(wanted, vm.config.nics))
    assert gone == []
    assert not any(match.moves for match in matches)


@given(rows=st.lists(ROW, max_size=5), runs=st.booleans())
def test_where_all_are_as_wanted_nothing_would_be_done(rows: list[Row], runs: bool) -> None:
    wanted, vm = site(rows, runs)
    assert change_nics.are_as_wanted(wanted, vm)
    assert vm.record
    with patch.object(change_nics, "are_as_wanted", lambda *_of: False):
        edits = Edits(vm.record, vm.config, vm.live)
        change_nics.change_nics(VmRequest(VmSpec(networks=wanted), Catalog(()), Fresh(vm.id, (), ""), vm), vm, edits)
    assert edits == Edits(vm.record, vm.config, vm.live)


def _config(vm: VmFacts, **values: object) -> VmFacts:
    return replace(vm, config=replace(vm.config, **values))  # type: ignore[arg-type]


def _recorded(vm: VmFacts, **values: str) -> VmFacts:
    assert vm.record
    first, second = vm.record.nics
    return _config(vm, record=replace(vm.record, nics=(first, replace(second, **values))))


def _live(vm: VmFacts, nics: tuple[NicConfig, ...]) -> VmFacts:
    live: VmConfig | None = replace(vm.live, nics=nics) if vm.live else None
    return replace(vm, live=live)


OTHER = NicConfig("52:54:00:00:00:ff", "lan")
TWO = site([("lan", True, False, False, ""), ("lan", False, False, False, "")], runs=True)


@pytest.mark.parametrize(
    ("wanted", "vm"),
    [
        (TWO[0][:1], TWO[1]),
        ((*TWO[0], NicSpec("lan")), TWO[1]),
        ((NicSpec("dmz"), NicSpec("lan")), TWO[1]),
        ((NicSpec("lan", ip="10.0.0.9"), NicSpec("lan")), TWO[1]),
        ((NicSpec("lan"), NicSpec("lan", ip="10.0.0.2")), TWO[1]),
        ((NicSpec("lan", mac=OTHER.mac), NicSpec("lan")), TWO[1]),
        ((NicSpec("lan", model="e1000"), NicSpec("lan")), TWO[1]),
        (TWO[0], _config(TWO[1], nics=(TWO[1].config.nics[0], OTHER))),
        (TWO[0], _config(TWO[1], record=replace(vm_config().record, nics=()))),  # type: ignore[type-var]
        (TWO[0], _recorded(TWO[1], mac=OTHER.mac)),
        (TWO[0], _recorded(TWO[1], network="dmz")),
        (TWO[0], _live(TWO[1], TWO[1].config.nics[:1])),
        (TWO[0], _live(TWO[1], (*TWO[1].config.nics, OTHER))),
        (TWO[0], _live(TWO[1], (TWO[1].config.nics[0], OTHER))),
        (TWO[0], _live(TWO[1], (TWO[1].config.nics[0], replace(TWO[1].config.nics[1], network="dmz")))),
    ],
    ids=[
        "one is gone",
        "one is new",
        "another network",
        "another address",
        "an address",
        "another MAC",
        "another model",
        "defined otherwise",
        "not in the record",
        "another in the record",
        "elsewhere in the record",
        "not in the guest",
        "one more in the guest",
        "another in the guest",
        "elsewhere in the guest",
    ],
)
def test_what_differs_is_looked_at(wanted: tuple[NicSpec, ...], vm: VmFacts) -> None:
    assert change_nics.are_as_wanted(*TWO)
    assert not change_nics.are_as_wanted(wanted, vm)


def test_of_a_crashed_vm_nobody_asks_what_ran() -> None:
    wanted, vm = TWO
    assert change_nics.are_as_wanted(wanted, replace(_live(vm, ()), power=Power.CRASHED))


def test_one_mac_twice_is_compared_as_often() -> None:
    """Nobody may ask for it, but a definition edited by hand can have it."""
    nic, row = NicConfig("52:54:00:00:00:01", "lan"), NicRecord("52:54:00:00:00:01", "lan")
    vm = _config(TWO[1], nics=(nic, nic), record=replace(vm_config().record, nics=(row, row)))  # type: ignore[type-var]
    wanted = (NicSpec("lan"), NicSpec("lan"))
    assert change_nics.are_as_wanted(wanted, _live(vm, (nic, nic)))
    assert not change_nics.are_as_wanted(wanted, _live(vm, (nic, OTHER)))
