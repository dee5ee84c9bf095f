# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of pools, volumes, networks and abilities, as libvirt 9.0 wrote them and as others might."""

from __future__ import annotations

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    NetworkFacts,
    PoolFacts,
    Reservation,
    VolumeFacts,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.host_mapping import (
    Abilities,
    new_volume,
    read_abilities,
    read_pool,
    read_volume,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.network_mapping import (
    read_network,
    reservation_text,
)
from support.samples import VOLUMES, check_golden, golden

V6 = "<ip family='ipv6' address='fd00::1' prefix='64'/>"


def test_a_pool() -> None:
    facts = read_pool(golden("libvirt-pool.xml"))
    assert facts == PoolFacts(
        "default", "2ee55b59-b931-4db8-86ec-18b1340f3512", "dir", "/srv/default", facts.capacity, facts.available
    )
    assert facts.capacity > facts.available > 0


def test_a_pool_of_another_kind() -> None:
    text = "<pool type='rbd'><name>ceph</name><capacity unit='GiB'>2</capacity><source><name>rbd</name></source></pool>"
    assert read_pool(text) == PoolFacts("ceph", "", "rbd", "", 2 << 30, 0)


def test_a_volume() -> None:
    assert read_volume(golden("libvirt-volume.xml"), "default") == VolumeFacts(
        "default",
        "t2.qcow2",
        "/srv/default/t2.qcow2",
        1 << 30,
        200704,
        "qcow2",
        "/srv/default/t1.qcow2",
        changed="1795371171.052956837",
        file_size=196624,
    )
    assert read_volume("<volume><name>a</name><capacity>7</capacity></volume>", "p") == VolumeFacts(
        "p", "a", "", 7, 0, "raw"
    )


@pytest.mark.parametrize("kind", VOLUMES)
def test_a_volume_to_make(kind: str) -> None:
    text = new_volume(VOLUMES[kind])
    check_golden(f"volume-{kind}.xml", text)
    facts, spec = read_volume(text, VOLUMES[kind].pool), VOLUMES[kind]
    assert (facts.name, facts.capacity, facts.format, facts.backing) == (
        spec.name,
        spec.capacity,
        spec.format,
        spec.backing,
    )
    assert facts.allocation == (spec.capacity if spec.fat else 0)


def test_the_default_network() -> None:
    assert read_network(golden("libvirt-network.xml"), active=True) == NetworkFacts(
        name="default",
        id="7c557073-d589-413d-926f-d4fa752a1915",
        active=True,
        forward="nat",
        bridge="virbr0",
        cidr="192.168.122.0/24",
        gateway="192.168.122.1",
        dhcp_start="192.168.122.2",
        dhcp_end="192.168.122.254",
    )


def network(content: str) -> NetworkFacts:
    return read_network(f"<network><name>n</name>{content}</network>", active=False)


@pytest.mark.parametrize(
    ("content", "forward"),
    [
        ("", ""),
        ("<forward/>", "nat"),
        ("<forward dev='eth0'/>", "nat"),
        ("<forward mode='bridge'/>", "bridge"),
        ("<forward mode='open'/>", "open"),
    ],
)
def test_how_a_network_forwards(content: str, forward: str) -> None:
    assert network(content).forward == forward


@pytest.mark.parametrize(
    ("content", "cidr", "gateway"),
    [
        ("<ip address='10.1.2.3' prefix='16'/>", "10.1.0.0/16", "10.1.2.3"),
        ("<ip address='10.1.2.3' netmask='255.255.255.240'/>", "10.1.2.0/28", "10.1.2.3"),
        (f"{V6}<ip address='10.0.0.1' prefix='24'/>", "10.0.0.0/24", "10.0.0.1"),
        (V6, "fd00::/64", "fd00::1"),
        ("<ip address='nonsense' prefix='24'/>", "", ""),
        ("<ip/>", "", ""),
    ],
)  # fmt: skip
def test_the_addresses_of_a_network(content: str, cidr: str, gateway: str) -> None:
    assert (network(content).cidr, network(content).gateway) == (cidr, gateway)


def test_reservations() -> None:
    facts = network(
        "<ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.2' end='10.0.0.9'/>"
        "<host mac='52:54:00:AA:00:01' ip='10.0.0.5'/>"
        "<host mac='52:54:00:aa:00:02' name='b' ip='10.0.0.6'/></dhcp></ip>"
    )
    assert facts.reservations == (
        Reservation("52:54:00:aa:00:01", "10.0.0.5"),
        Reservation("52:54:00:aa:00:02", "10.0.0.6", "b"),
    )
    assert reservation_text(facts.reservations[1]) == '<host mac="52:54:00:aa:00:02" ip="10.0.0.6" name="b" />'
    assert reservation_text(Reservation("52:54:00:aa:00:02", "")) == '<host mac="52:54:00:aa:00:02" />'


def test_abilities() -> None:
    text = golden("libvirt-domcaps.xml")
    assert read_abilities(text) == Abilities(("kvm", "qemu"), ("uefi", "secure"), tpm=True)
    software = text.replace("<domain>kvm</domain>", "<domain>qemu</domain>").replace("emulator</value>", "x</value>")
    assert read_abilities(software) == Abilities(("qemu",), ("uefi", "secure"), tpm=False)
    without_smm = text.replace("<enum name='secure'>\n        <value>yes</value>", "<enum name='secure'>")
    assert read_abilities(without_smm).firmware == ("uefi",)
    assert read_abilities(text.replace("<value>efi</value>", "")).firmware == ()


@pytest.mark.parametrize(
    "read", [read_pool, read_abilities, lambda text: read_volume(text, "p"), lambda text: read_network(text, True)]
)
def test_what_is_no_xml_is_an_error_of_ours(read: object) -> None:
    with pytest.raises(AblestackError) as raised:
        read("<!DOCTYPE x><x/>")  # type: ignore[operator]
    assert raised.value.code is Code.INTERNAL
