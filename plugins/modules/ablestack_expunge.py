#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_expunge: frees what destroyed virtual machines still hold, once their time is over."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_expunge
short_description: Expunge the destroyed virtual machines that are due
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Expunges every destroyed virtual machine (VM) whose C(expunge_delay) is over, on one KVM host or on all hosts of the
    catalog, and finishes what an interrupted expunge has left.
  - This deletes its root disk, VM snapshots, firmware variables and address reservations, and of its data disks those
    that were named when it was destroyed. Templates, ISO images and all other data disks stay.
  - VMs that are not yet due, and those that this collection did not make, are never touched. One that is recovered
    while the task runs is due no longer, and is left alone with a warning.
  - Run it regularly, from a playbook or from the timer on each host. To expunge one VM at once use
    M(ablestack.kvm.ablestack_vm).
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
seealso:
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: Expunge what is due on all hosts of the catalog
  ablestack.kvm.ablestack_expunge:
    catalog: "{{ ablestack_catalog }}"

- name: Expunge what is due on one host
  ablestack.kvm.ablestack_expunge:
    uri: qemu+ssh://root@kvm01/system
"""

RETURN = r"""
expunged:
  description: The VMs that were expunged, or would be in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    id: {description: UUID., type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
    name: {description: Name., type: str, sample: db02}
    host: {description: 'Its host, by the name in the catalog.', type: str, sample: kvm01}
failures:
  description: What could not be expunged, or asked, and why. The task fails where there is any, after doing the rest.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: 'Name of the VM, empty where it is a host that could not be asked.', type: str, sample: db03}
    id: {description: 'UUID of the VM, or empty.', type: str, sample: ''}
    host: {description: The host., type: str, sample: kvm02}
    msg: {description: What went wrong., type: str, sample: host 'kvm02' does not answer.}
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

from ..module_utils.core.usecase.expunge import expunge_due
from ..module_utils.face.runner import run


def main() -> None:
    run({}, lambda _options: expunge_due)


if __name__ == "__main__":
    main()
