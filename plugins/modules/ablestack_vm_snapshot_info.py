#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm_snapshot_info: which snapshots virtual machines have, as a list and as trees."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm_snapshot_info
short_description: List snapshots of virtual machines
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns the snapshots of one virtual machine (VM), or of all VMs of one KVM host or of the catalog, as a list, as
    nested data and as text.
  - A host that cannot be reached is a warning, and the snapshots on the others are returned. When none can be reached,
    the task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  vm:
    description: Name or UUID of the VM. The default is all VMs of this collection.
    type: str
  name:
    description: Name of the snapshots to list. A name that no snapshot has finds nothing, and is no error.
    type: str
seealso:
  - module: ablestack.kvm.ablestack_vm_snapshot
"""

EXAMPLES = r"""
- name: All snapshots of a VM
  ablestack.kvm.ablestack_vm_snapshot_info:
    catalog: "{{ ablestack_catalog }}"
    vm: db01
  register: db01

- name: Show them as a tree
  ansible.builtin.debug:
    msg: "{{ db01.trees[0].text.splitlines() }}"
  when: db01.trees | length > 0

- name: All snapshots on the machine's own libvirt
  ablestack.kvm.ablestack_vm_snapshot_info:
  register: local

- name: Those older than a month
  ansible.builtin.debug:
    msg: "{{ local.snapshots | selectattr('created', 'lt', month_ago) | map(attribute='name') | list }}"
  vars:
    month_ago: "{{ '%Y-%m-%dT%H:%M:%SZ' | strftime(now().timestamp() - 30 * 86400) }}"
"""

RETURN = r"""
snapshots:
  description: The snapshots found, by VM and the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name., type: str, sample: before-upgrade}
    description: {description: Description., type: str, sample: Before the upgrade to 13}
    vm: {description: Name of the VM., type: str, sample: db01}
    vm_id: {description: UUID of the VM., type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
    type: {description: V(Disk) or V(DiskAndMemory)., type: str, sample: Disk}
    state: {description: V(Ready)., type: str, sample: Ready}
    created: {description: When it was taken (UTC)., type: str, sample: '2025-01-31T08:15:00Z'}
    parent: {description: 'Name of the snapshot it follows, or empty.', type: str, sample: ''}
    current: {description: Whether the VM goes on from it., type: bool, sample: true}
    quiesced:
      description:
        - Whether the guest's file systems were frozen for it. Null in check mode, where only the guest could tell.
      type: bool
      sample: true
    compute_offering: {description: 'Compute offering of that time, or empty.', type: str, sample: medium}
    cpu: {description: Virtual CPUs of that time., type: int, sample: 2}
    memory: {description: Memory of that time in MiB., type: int, sample: 4096}
trees:
  description: One tree for each VM that has snapshots.
  returned: success
  type: list
  elements: dict
  contains:
    vm: {description: Name of the VM., type: str, sample: db01}
    vm_id: {description: UUID of the VM., type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
    host: {description: 'Its host, by the name in the catalog.', type: str, sample: kvm01}
    tree:
      description: The snapshots that follow none, as RV(snapshots), each with those that follow it in C(children).
      type: list
      elements: dict
      sample: []
    text:
      description: The same drawn with lines, with C(*) at the snapshot the VM goes on from.
      type: str
      sample: |-
        db01
        └── installed  2025-01-30T10:00:00Z  disks
            ├── before-upgrade  2025-01-31T08:15:00Z  disks, quiesced
            └── second-try *  2025-01-31T09:40:00Z  disks, quiesced
unreachable_hosts:
  description: The hosts that could not be reached, with the reason of each. Their VMs are not among RV(trees).
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
    hint: {description: What to do about it., type: str, sample: 'it has: before-upgrade'}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.usecase.snapshot_query import list_snapshots
from ..module_utils.face.runner import Work, run
from ..module_utils.face.snapshot_options import snapshot_name, vm_of

OPTIONS: dict[str, dict[str, Any]] = {"vm": {"type": "str"}, "name": {"type": "str"}}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    vm, vm_id = vm_of(options["vm"]) if options["vm"] is not None else ("", "")
    name = snapshot_name(options["name"]) if options["name"] is not None else ""
    return lambda infrastructure: list_snapshots(infrastructure, vm, vm_id, name)


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
