# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the options of one network."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: Name of the network, by which VMs name it.
    type: str
    required: true
  state:
    description:
      - V(present), it is there, active, and as the options say. What libvirt cannot change while it is active is
        stored, and RV(restart_required) and a warning say so.
      - V(restarted), the same, and what waits for a restart is put into effect by one. When nothing waits, nothing is
        done. While running VMs use the network this is refused.
      - V(absent), it is gone. While any VM has a NIC in it, running or not, this is refused.
    type: str
    default: present
    choices: [present, absent, restarted]
  type:
    description:
      - V(isolated), a network of the host's own with DHCP and DNS, behind NAT.
      - V(routed), the same without NAT. Other machines need a route to it by way of the host.
      - V(shared), on a bridge that the host has, named by O(bridge). Addresses are handed out by whoever does on that
        segment.
      - V(l2), nothing but a wire, without gateway and DHCP. On O(bridge) where that is given, else on a bridge of its
        own that only the VMs of that host are on.
      - The default for a new network is V(isolated).
    type: str
    choices: [isolated, routed, shared, l2]
  cidr:
    description:
      - Its range of addresses, of IPv4 or IPv6. Required for a new V(isolated) or V(routed) network.
      - It must not overlap another network of the host.
      - Of a V(shared) network, and of a V(l2) network on O(bridge), it only describes the segment, for the prefix
        length of VMs' fixed addresses.
    type: str
  gateway:
    description:
      - The host's own address in an V(isolated) or V(routed) network. The default is the first address.
      - When it changes, the range that DHCP hands out stays, unless the new address is in it.
      - Of a V(shared) network it is the router that VMs with fixed addresses are told.
    type: str
  dhcp_start:
    description: First address handed out by DHCP. The default is the first one but the gateway (V(::1000) with IPv6).
    type: str
  dhcp_end:
    description: Last address handed out by DHCP. The default is the last one (V(::1fff) with IPv6).
    type: str
  ip6_cidr:
    description: An IPv6 range of 64 bits beside a O(cidr) of IPv4, in which VMs choose their addresses by themselves.
    type: str
  ip6_gateway:
    description: The host's own address in that range. The default is the first one.
    type: str
  dns_servers:
    description:
      - Servers that the network's DNS asks what it does not know. The default is the host's own.
      - Of a V(shared) network, the servers that VMs with fixed addresses are told.
    type: list
    elements: str
  dns_records:
    description: All further records of the network's DNS. VMs with fixed addresses are in it without this.
    type: list
    elements: dict
    suboptions:
      ip:
        description: The address.
        type: str
        required: true
      names:
        description: Its names.
        type: list
        elements: str
        required: true
  domain:
    description: DNS domain of the network. Its names are not asked for elsewhere.
    type: str
  vlan:
    description:
      - VLAN that the VMs of a V(shared) or V(l2) network are put into on O(bridge), which must be an Open vSwitch
        bridge, or a VLAN-aware Linux bridge on a host with libvirt 11.0 or newer.
      - V(0) is none.
    type: int
  bridge:
    description:
      - Of a V(shared) or V(l2) network, a bridge that the host has. It is not made, and not changed.
      - Of another one, a name for the bridge that libvirt makes, which no other network of the host has. The default is
        chosen by libvirt.
    type: str
  mtu:
    description: MTU of a network whose bridge libvirt makes. From V(68) on; V(0) is the default of the
      host.
    type: int
  reservations:
    description:
      - All addresses reserved in the DHCP by hand. Those of VMs that have a fixed address are not among them, and stay.
    type: list
    elements: dict
    suboptions:
      mac:
        description: The MAC address that gets it. In quotes, for YAML takes some of them for numbers.
        type: str
        required: true
      ip:
        description: The address.
        type: str
        required: true
      name:
        description: Its name in the network's DNS, while it is leased.
        type: str
  autostart:
    description: Whether the host starts the network at boot. The default for a new network is V(true).
    type: bool
  labels:
    description: Labels. Values become texts.
    type: dict
  zone:
    description: Zone whose hosts have the network. The default is all.
    type: str
  hosts:
    description: Hosts that have the network, by their names in the catalog. The default is all.
    type: list
    elements: str
"""
