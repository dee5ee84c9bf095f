# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of each kind, as tests of documents want them, and edits between them."""

from __future__ import annotations

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import (
    DnsRecord,
    NetworkFacts,
    NetworkRecord,
    Reservation,
)

ID = "7c557073-d589-413d-926f-d4fa752a1915"

NETWORKS = {
    "isolated": NetworkFacts(
        "lan",
        ID,
        active=False,
        forward="nat",
        cidr="10.20.0.0/24",
        gateway="10.20.0.1",
        dhcp_start="10.20.0.2",
        dhcp_end="10.20.0.254",
        record=NetworkRecord(type="isolated", created="2026-01-01T00:00:00Z", labels=(("a", 'b<">'),)),
    ),
    "routed": NetworkFacts(
        "lan",
        ID,
        active=False,
        forward="route",
        bridge="lan0",
        cidr="10.30.0.0/16",
        gateway="10.30.255.254",
        dhcp_start="10.30.0.2",
        dhcp_end="10.30.99.99",
        cidr6="fd00:30::/64",
        gateway6="fd00:30::1",
        reservations=(
            Reservation("52:54:00:00:00:01", "10.30.0.5", "nas"),
            Reservation("52:54:00:00:00:02", "10.30.0.6"),
        ),
        dns_servers=("9.9.9.9", "2620:fe::fe"),
        dns_records=(DnsRecord("10.30.0.9", ("printer", "laser")), DnsRecord("fd00:30::9", ("six",))),
        domain="lab.example",
        mtu=1400,
        record=NetworkRecord(type="routed", autostart=False),
    ),
    "ipv6": NetworkFacts(
        "lan",
        ID,
        active=False,
        forward="nat",
        cidr="fd00:40::/64",
        gateway="fd00:40::1",
        dhcp_start="fd00:40::1000",
        dhcp_end="fd00:40::1fff",
        record=NetworkRecord(),
    ),
    "shared": NetworkFacts(
        "lan",
        ID,
        active=False,
        forward="bridge",
        bridge="br0",
        cidr="10.40.0.0/24",
        gateway="10.40.0.1",
        dns_servers=("10.40.0.2",),
        record=NetworkRecord("shared", cidr="10.40.0.0/24", gateway="10.40.0.1", dns_servers=("10.40.0.2",)),
    ),
    "vlan": NetworkFacts(
        "lan",
        ID,
        active=False,
        forward="bridge",
        bridge="ovsbr0",
        vlan=120,
        openvswitch=True,
        record=NetworkRecord("l2"),
    ),
    "l2": NetworkFacts("lan", ID, active=False, mtu=9000, bridge="wire0", record=NetworkRecord("l2")),
}
