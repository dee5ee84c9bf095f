#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_network: the networks that virtual machines connect to"""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_network
short_description: Make, change and delete the networks that VMs connect to
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Brings a libvirt network into the wanted state on every KVM host that is to have it.
  - Whatever libvirt can change while VMs use the network is changed live, reservations, DNS records and the DHCP range
    among it, without interrupting anybody. The rest is stored and waits for O(state=restarted).
  - A network in use is never deleted and never restarted.
  - An option that is left out is not managed. O(reservations) and O(dns_records), when given, are complete lists.
  - Networks that this collection did not make, such as libvirt's own C(default), can be used by VMs and are never
    changed.
notes:
  - An V(isolated) or V(routed) network is one for each host. Networks of one name on several hosts have the same range
    and are not connected. A VM on one host does not reach a VM on another by them.
  - To have VMs on several hosts in one network, use O(type=shared), or O(type=l2) with O(bridge), on a bridge that
    every host has with a port on the same segment, or give each network a VLAN of its own by O(vlan) on such a bridge.
  - A VM's fixed address in an V(isolated) or V(routed) network is a reservation with the VM's name in the DNS. It is
    made by M(ablestack.kvm.ablestack_vm), which also finds a free address when asked for V(auto). One that was made by
    hand for the same MAC and the same address becomes the VM's, and goes with it when it is expunged.
extends_documentation_fragment:
  - ablestack.kvm.network
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
requirements:
  - netaddr >= 0.8
seealso:
  - module: ablestack.kvm.ablestack_network_info
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: A network behind NAT, on the machine's own libvirt
  ablestack.kvm.ablestack_network:
    name: lan
    cidr: 10.10.10.0/24

- name: The same network on every host of a zone, with names and addresses for machines that are no VMs of ours
  ablestack.kvm.ablestack_network:
    catalog: "{{ ablestack_catalog }}"
    zone: seoul
    name: lan
    type: isolated
    cidr: 10.10.10.0/24
    ip6_cidr: fd00:10:10::/64
    dhcp_start: 10.10.10.100
    dhcp_end: 10.10.10.199
    domain: lab.example
    dns_servers: [9.9.9.9]
    dns_records:
      - ip: 10.10.10.9
        names: [printer, laser]
    reservations:
      - mac: "52:54:00:12:34:56"
        ip: 10.10.10.10
        name: nas

- name: One network for the VMs of all hosts, on the bridge that each of them has
  ablestack.kvm.ablestack_network:
    catalog: "{{ ablestack_catalog }}"
    name: office
    type: shared
    bridge: br0
    cidr: 192.168.10.0/24
    gateway: 192.168.10.1
    dns_servers: [192.168.10.1]

- name: A VLAN of its own for a group of VMs on several hosts, with Open vSwitch
  ablestack.kvm.ablestack_network:
    catalog: "{{ ablestack_catalog }}"
    name: cluster-traffic
    type: l2
    bridge: ovsbr0
    vlan: 120

- name: Change what cannot be changed live, while nobody uses the network
  ablestack.kvm.ablestack_network:
    catalog: "{{ ablestack_catalog }}"
    name: lan
    domain: corp.example
    state: restarted

- name: Delete a network that no VM uses
  ablestack.kvm.ablestack_network:
    catalog: "{{ ablestack_catalog }}"
    name: lan
    state: absent
"""

RETURN = r"""
network:
  description: The network as it is afterwards, or would be in check mode. Empty where none is left.
  returned: success
  type: dict
  contains:
    name: {description: Name., type: str, sample: lan}
    id: {description: 'UUID, on all hosts the same.', type: str, sample: 7c557073-d589-413d-926f-d4fa752a1915}
    type: {description: 'V(isolated), V(routed), V(shared) or V(l2).', type: str, sample: isolated}
    state: {description: 'V(Active), or V(Inactive) where any host has it inactive.', type: str, sample: Active}
    cidr: {description: 'Range of addresses, or empty.', type: str, sample: 10.10.10.0/24}
    gateway: {description: 'Gateway, or empty.', type: str, sample: 10.10.10.1}
    dhcp_start: {description: 'First address of the DHCP, or empty.', type: str, sample: 10.10.10.2}
    dhcp_end: {description: 'Last address of the DHCP, or empty.', type: str, sample: 10.10.10.254}
    ip6_cidr: {description: 'IPv6 range beside one of IPv4, or empty.', type: str, sample: ''}
    ip6_gateway: {description: 'Gateway in that range, or empty.', type: str, sample: ''}
    dns_servers: {description: DNS servers., type: list, elements: str, sample: [9.9.9.9]}
    dns_records:
      description: Further records of its DNS.
      type: list
      elements: dict
      sample: [{ip: 10.10.10.9, names: [printer]}]
    domain: {description: 'DNS domain, or empty.', type: str, sample: lab.example}
    vlan: {description: 'VLAN, or 0.', type: int, sample: 0}
    mtu: {description: 'MTU, or 0 for the default.', type: int, sample: 0}
    autostart: {description: Whether its hosts start it at boot., type: bool, sample: true}
    labels: {description: Labels., type: dict, sample: {environment: production}}
    bridge: {description: 'Bridge, on the first of the hosts.', type: str, sample: virbr1}
    hosts: {description: Hosts that have it., type: list, elements: str, sample: [kvm01, kvm02]}
    vms: {description: 'VMs that have a NIC in it, destroyed ones too.', type: list, elements: str, sample: [web01]}
    reservations:
      description: Addresses reserved in its DHCP.
      type: list
      elements: dict
      contains:
        mac: {description: MAC address., type: str, sample: '52:54:00:1b:2c:3d'}
        ip: {description: Address., type: str, sample: 10.10.10.21}
        name: {description: 'Name in its DNS, or empty.', type: str, sample: web01}
        vm: {description: 'VM whose fixed address it is, or empty.', type: str, sample: web01}
        host: {description: Host., type: str, sample: kvm01}
    leases:
      description: Addresses its DHCP has handed out.
      type: list
      elements: dict
      contains:
        mac: {description: MAC address., type: str, sample: '52:54:00:1b:2c:3d'}
        ip: {description: Address., type: str, sample: 10.10.10.21}
        hostname: {description: 'Name that the guest told, or empty.', type: str, sample: web01}
        expires: {description: 'When it ends (UTC), or empty.', type: str, sample: '2025-01-31T09:15:00Z'}
        host: {description: Host., type: str, sample: kvm01}
    differences:
      description: In what hosts differ from the first one.
      type: list
      elements: dict
      contains:
        host: {description: The host that differs., type: str, sample: kvm02}
        field: {description: Field of this dictionary., type: str, sample: domain}
        value: {description: Its value there., type: raw, sample: ''}
        expected: {description: Its value on the first host., type: raw, sample: lab.example}
    pending: {description: Options whose stored value waits for a restart., type: list, elements: str, sample: []}
    created: {description: 'When it was made (UTC), or empty.', type: str, sample: '2025-01-31T08:15:00Z'}
    managed: {description: Whether this collection made it., type: bool, sample: true}
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: On which host., type: str, sample: kvm01}
    path: {description: What of the network it is., type: str, sample: domain}
    before: {description: Value before., type: raw, sample: ''}
    after: {description: Value afterwards., type: raw, sample: lab.example}
    impact:
      description:
        - V(live), it is in effect at once. V(restart), it takes effect when the network is restarted, which
          O(state=restarted) does in the same task.
      type: str
      sample: live
restart_required:
  description: Whether something waits for O(state=restarted).
  returned: success
  type: bool
  sample: false
error:
  description: What went wrong, for playbooks that branch on it. The sentence for people is in C(msg).
  returned: failure
  type: dict
  contains:
    code:
      description:
        - One of V(InvalidInput), V(NotFound), V(AlreadyExists), V(InvalidState), V(NotManaged), V(Protected),
          V(SnapshotsExist), V(InUse), V(InsufficientCapacity), V(AffinityConflict), V(Unsupported), V(Timeout),
          V(HostUnavailable), V(AgentUnavailable), V(ChecksumMismatch), V(Conflict) and V(Internal).
      type: str
      sample: NotFound
    hint: {description: What to do about it., type: str, sample: 'the catalog has: large, medium, small'}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.usecase.network import apply_network
from ..module_utils.face.network_options import NETWORK_OPTIONS, network_spec
from ..module_utils.face.runner import Work, run


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = network_spec(options)
    return lambda infrastructure: apply_network(infrastructure, spec)


def main() -> None:
    run(NETWORK_OPTIONS, prepare)


if __name__ == "__main__":
    main()
