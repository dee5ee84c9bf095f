#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_network_info: which networks there are, and who uses them"""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_network_info
short_description: List networks, their addresses and users
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns the networks of one KVM host, or of all hosts of the catalog. Those of one name are shown as one.
  - A host that cannot be reached is a warning, and the networks of the others are returned. When none can be reached,
    the task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  name:
    description: Names to look for. A name that no network has finds nothing, and is no error.
    type: list
    elements: str
  zone:
    description: Zone whose hosts are asked.
    type: str
  hosts:
    description: Hosts to ask, by their names in the catalog. The default is all.
    type: list
    elements: str
  include_unmanaged:
    description: Whether networks are returned too that this collection did not make, such as libvirt's C(default).
    type: bool
    default: false
seealso:
  - module: ablestack.kvm.ablestack_network
"""

EXAMPLES = r"""
- name: All networks of the machine's own libvirt
  ablestack.kvm.ablestack_network_info:
    include_unmanaged: true
  register: local

- name: One network on all hosts of the catalog
  ablestack.kvm.ablestack_network_info:
    catalog: "{{ ablestack_catalog }}"
    name: [lan]
  register: lan

- name: Fail when the hosts have it in different ways
  ansible.builtin.assert:
    that: lan.networks[0].differences == []
"""

RETURN = r"""
networks:
  description: The networks found, in the order of their names.
  returned: success
  type: list
  elements: dict
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
unreachable_hosts:
  description: The hosts that could not be reached, with the reason of each. Their networks are not among RV(networks).
  returned: success
  type: dict
  sample: {kvm03: host 'kvm03' does not answer}
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

from ..module_utils.core.usecase.network_query import list_networks
from ..module_utils.face.checks import distinct, filled, text
from ..module_utils.face.runner import Work, run

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str"},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "include_unmanaged": {"type": "bool", "default": False},
}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    names = distinct(filled)(options["name"] or [], "name")
    zone = text(options["zone"] or "", "zone")
    hosts = distinct(filled)(options["hosts"] or [], "hosts")
    return lambda infrastructure: list_networks(infrastructure, names, zone, hosts, options["include_unmanaged"])


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
