#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm_snapshot: takes, restores and deletes snapshots of whole virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm_snapshot
short_description: Take, restore and delete snapshots of a virtual machine
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - A snapshot has the whole virtual machine (VM), the root disk and all data disks at one moment, or it is not taken.
  - A snapshot of the disks costs the guest no pause. With O(memory=true) the guest stands still while its memory is
    written.
  - Snapshots form a tree. Any of them can be restored, again and again, and the VM then goes on from there on a branch
    of its own.
  - Deleting a snapshot changes neither the disks of the VM nor those of another snapshot. What only it needed is
    merged, under the running guest where it runs; what a branch still stands on is kept until it does not.
  - While a VM has snapshots, its disks and networks cannot be changed.
  - What a firmware of a UEFI VM or an emulated TPM stores is not part of a snapshot.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
options:
  vm:
    description: Name or UUID of the VM.
    type: str
    required: true
  name:
    description:
      - Name of the snapshot, unique for the VM, of at most 64 letters, digits, C(.), C(_) and C(-).
      - Left out with O(state=present), one is made of the time, such as V(snap-20260301-093000), and every run takes
        another snapshot.
      - Required with O(state=absent) and O(state=reverted).
    type: str
  state:
    description:
      - With V(present), the snapshot is taken where there is none of that name. Taking one beyond V(max_vm_snapshots)
        of the catalog's settings is refused, and none is deleted for it.
      - With V(absent), it is deleted.
      - With V(reverted), the VM gets back the disks, the CPU and memory size and the compute offering of that time. It
        must be stopped, and stays so; a snapshot with memory has it running afterwards, with the ISO of that time in
        its drive.
      - A VM that has exactly the content of the snapshot, because nothing was written since, is not changed by
        V(reverted).
    type: str
    choices: [present, absent, reverted]
    default: present
  description:
    description: Description, one line. Left out, the one that is there stays.
    type: str
  memory:
    description:
      - Keep the memory too, of a running VM. Restoring it has the guest go on where it was.
      - Not possible for VMs that boot by UEFI or have a TPM, nor while the VM has snapshots of its disks alone. As long
        as a VM has snapshots with memory, it can have no others.
    type: bool
    default: false
  quiesce:
    description:
      - Whether the file systems are frozen while a snapshot of the disks is taken, by a guest agent of version
        1.6 or newer. They are thawed whatever happens.
      - With V(auto), they are frozen where an agent answers that can.
      - With V(true), it is an error when that is not possible for a running guest.
      - With V(false), the disks are kept as after a power cut.
    type: str
    choices: ["auto", "true", "false"]
    default: auto
notes:
  - Restoring a snapshot with memory leaves the VM running, so that the same task again is refused until it is stopped.
seealso:
  - module: ablestack.kvm.ablestack_vm_snapshot_info
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: Take a snapshot before an upgrade
  ablestack.kvm.ablestack_vm_snapshot:
    catalog: "{{ ablestack_catalog }}"
    vm: db01
    name: before-upgrade
    description: Before the upgrade to 13

- name: Insist on file systems at rest
  ablestack.kvm.ablestack_vm_snapshot:
    catalog: "{{ ablestack_catalog }}"
    vm: db01
    name: consistent
    quiesce: true

- name: Go back
  block:
    - name: Stop the VM
      ablestack.kvm.ablestack_vm:
        catalog: "{{ ablestack_catalog }}"
        name: db01
        state: stopped

    - name: Restore the snapshot
      ablestack.kvm.ablestack_vm_snapshot:
        catalog: "{{ ablestack_catalog }}"
        vm: db01
        name: before-upgrade
        state: reverted

    - name: Start the VM
      ablestack.kvm.ablestack_vm:
        catalog: "{{ ablestack_catalog }}"
        name: db01
        state: started

- name: Keep a running machine with its memory
  ablestack.kvm.ablestack_vm_snapshot:
    catalog: "{{ ablestack_catalog }}"
    vm: lab01
    name: ready
    memory: true

- name: Delete a snapshot
  ablestack.kvm.ablestack_vm_snapshot:
    catalog: "{{ ablestack_catalog }}"
    vm: db01
    name: before-upgrade
    state: absent
"""

RETURN = r"""
snapshot:
  description: The snapshot as it is afterwards, or would be in check mode. Empty once it is deleted.
  returned: success
  type: dict
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
snapshots:
  description: All snapshots of the VM afterwards, the oldest first, as RV(snapshot).
  returned: success
  type: list
  elements: dict
  sample: []
tree:
  description: The same drawn as a tree, with C(*) at the snapshot the VM goes on from.
  returned: success
  type: str
  sample: |-
    db01
    └── before-upgrade *  2025-01-31T08:15:00Z  disks, quiesced  Before the upgrade to 13
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: What of the VM it is., type: str, sample: snapshots}
    before: {description: Value before., type: raw, sample: []}
    after: {description: Value afterwards., type: raw, sample: [before-upgrade]}
    impact: {description: 'V(live), it is in effect at once.', type: str, sample: live}
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

from ..module_utils.core.usecase.snapshot import apply_snapshot
from ..module_utils.face.runner import Work, run
from ..module_utils.face.snapshot_options import NAMED, SNAPSHOT_OPTIONS, snapshot_spec


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = snapshot_spec(options)
    return lambda infrastructure: apply_snapshot(infrastructure, spec)


def main() -> None:
    run(SNAPSHOT_OPTIONS, prepare, required_if=NAMED)


if __name__ == "__main__":
    main()
