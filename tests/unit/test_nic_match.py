# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIC of a VM a wanted one is: the short way for those that are all as wanted agrees with the long one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import NicConfig, NicRecord, Power, VmFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.plan.change_nics import match_nics
from support.samples import vm_config

ELSEWHERE = NicConfig("52:54:00:00:00:ff", "elsewhere")
"""In a network that nobody wants: with it there is one NIC too many, and each is looked for."""
ROW = st.tuples(
    st.sampled_from(("lan", "dmz")),  # its network
    st.booleans(),  # whether it has a fixed address
    st.booleans(),  # whether its MAC is given
    st.sampled_from(("", "10.0.0.%d", "10.0.0.%d/24")),  # how its address is given, where it has one
)


def vm_with(nics: list[NicConfig], records: list[NicRecord]) -> VmFacts:
    config = vm_config()
    assert config.record
    config = replace(config, nics=tuple(nics), record=replace(config.record, nics=tuple(records)))
    return VmFacts(host=HostSpec("kvm01", "test:///default"), power=Power.OFF, config=config)


@given(rows=st.lists(ROW, max_size=5))
def test_nics_that_are_as_wanted_are_themselves(rows: list[tuple[str, bool, bool, str]]) -> None:
    nics, records, wanted = [], [], []
    for number, (network, fixed, named, address) in enumerate(rows, 1):
        nic = NicConfig(f"52:54:00:00:00:{number:02x}", network)
        ip = f"10.0.0.{number}" if fixed else ""
        nics.append(nic)
        records.append(NicRecord(nic.mac, network, ip))
        given_ip = address % number if fixed and address else ""
        wanted.append(NicSpec(network, ip=given_ip, mac=nic.mac if named else ""))
    matches, gone = match_nics(tuple(wanted), vm_with(nics, records))
    assert [(match.spec, match.have) for match in matches] == list(zip(wanted, nics))
    assert gone == []
    assert not any(match.moves for match in matches)
    assert match_nics(tuple(wanted), vm_with([*nics, ELSEWHERE], records)) == (matches, [ELSEWHERE])
