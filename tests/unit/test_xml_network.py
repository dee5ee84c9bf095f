# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of networks: made, read back, turned into each other, with whatever others have put into them."""

from __future__ import annotations

import subprocess
from dataclasses import fields, replace
from itertools import permutations
from pathlib import Path

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    BridgeFacts,
    NetworkFacts,
    NetworkState,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.network_mapping import (
    changed_network,
    new_network,
    read_bridge,
    read_network,
    read_ranges,
)
from support.network_samples import NETWORKS
from support.samples import check_golden, golden

PAIRS = list(permutations(NETWORKS, 2))
# What we know nothing of, in a definition that is ours.
FOREIGN = (
    "<network><name>lan</name><metadata><x:mark xmlns:x='urn:x' a='1'/></metadata>"
    "<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>"
    "<bridge name='virbr7' stp='on' delay='0' zone='dmz'/><mac address='52:54:00:00:00:aa'/>"
    "<dns><forwarder domain='corp.example' addr='10.0.0.1'/><txt name='a' value='b'/></dns>"
    "<bandwidth><inbound average='1000'/></bandwidth>"
    "<ip address='10.20.0.1' netmask='255.255.255.0'><tftp root='/srv/tftp'/>"
    "<dhcp><range start='10.20.0.2' end='10.20.0.254'><lease expiry='5'/></range></dhcp></ip></network>"
)


def test_the_samples_use_every_property() -> None:
    never = {"active", "leases"}
    for field in fields(NetworkFacts):
        values = {getattr(facts, field.name) for facts in NETWORKS.values()}
        assert field.name in never or any(values), field.name


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_new_network_reads_as_what_it_was_made_of(kind: str) -> None:
    text = new_network(NETWORKS[kind]).text
    check_golden(f"network-{kind}.xml", text)
    assert read_network(text, active=False) == NETWORKS[kind]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_any_network_becomes_any_other(one: str, other: str) -> None:
    before, after = NETWORKS[one], NETWORKS[other]
    assert read_network(changed_network(new_network(before).text, before, after).text, False) == after


def test_every_document_is_valid_by_libvirts_schema(tmp_path: Path) -> None:
    texts = {kind: new_network(facts).text for kind, facts in NETWORKS.items()}
    for one, other in PAIRS:
        before, after = NETWORKS[one], NETWORKS[other]
        texts[f"{one}-{other}"] = changed_network(texts[one], before, after).text
    files = []
    for name, text in texts.items():
        files.append(tmp_path / f"{name}.xml")
        files[-1].write_text(text, encoding="utf-8")
    wrong = []
    for file in files:
        run = subprocess.run(["virt-xml-validate", str(file), "network"], capture_output=True, text=True, check=False)
        wrong += [run.stderr] if run.returncode else []
    assert wrong == []


def test_what_others_put_into_a_definition_survives_what_we_change() -> None:
    before = read_network(FOREIGN, False)
    text = changed_network(FOREIGN, before, replace(before, domain="lab.example", mtu=1400)).text
    for part in ("x:mark", "port start", 'zone="dmz"', "52:54:00:00:00:aa", "corp.example", "txt", "inbound", "tftp"):
        assert part in text or part.replace("x:", "ns0:") in text, part
    assert read_network(text, False) == replace(before, domain="lab.example", mtu=1400)
    text = changed_network(FOREIGN, before, replace(before, dns_servers=("9.9.9.9",))).text
    assert "corp.example" in text
    assert "txt" in text
    moved = replace(before, gateway="10.20.0.254", dhcp_end="10.20.0.99")
    text = changed_network(FOREIGN, before, moved).text
    assert read_network(text, False) == moved
    assert "tftp" in text
    assert "lease" in text
    assert changed_network(FOREIGN, before, before).text == changed_network(FOREIGN, moved, moved).text


def test_all_ranges_are_known() -> None:
    text = FOREIGN.replace("</dhcp>", "<range start='10.20.0.9' end='10.20.0.10'/></dhcp>")
    assert read_ranges(text) == (("10.20.0.2", "10.20.0.254"), ("10.20.0.9", "10.20.0.10"))
    assert read_ranges("<network><name>n</name></network>") == ()


def test_the_record_of_a_running_network_is_the_stored_ones() -> None:
    stored = new_network(NETWORKS["isolated"]).text
    assert read_network(golden("libvirt-network.xml"), True, stored).record == NETWORKS["isolated"].record


def test_what_waits_is_what_differs() -> None:
    facts = NETWORKS["routed"]
    assert NetworkState(facts).pending == ()
    assert NetworkState(facts, replace(facts, active=True, record=None)).pending == ()
    assert NetworkState(facts, replace(facts, forward="nat", domain="", mtu=0)).pending == ("type", "domain", "mtu")
    assert NetworkState(facts, replace(facts, dhcp_start="10.30.0.9")).pending == ("dhcp_start",)
    shared = NETWORKS["shared"]
    assert NetworkState(shared, replace(shared, cidr="", gateway="", dns_servers=())).pending == ()


def test_bridges() -> None:
    linux = "<interface type='bridge' name='br0'><bridge stp='off'/></interface>"
    assert read_bridge(linux, "br0", 9_000_000) == BridgeFacts("br0", "linux")
    assert read_bridge(linux, "br0", 11_000_000) == BridgeFacts("br0", "linux", tags_vlans=True)
    plain = "<interface type='ethernet' name='ovsbr0'/>"
    assert read_bridge(plain, "ovsbr0", 11_000_000) == BridgeFacts("ovsbr0", "other")
