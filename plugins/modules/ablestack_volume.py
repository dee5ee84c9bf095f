#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_volume: one data disk by itself, whether a virtual machine has it or not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_volume
short_description: Manage data volumes
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Makes, attaches, detaches, grows and deletes one data volume of virtual machines (VMs). It is the same thing as an
    entry of O(ablestack.kvm.ablestack_vm#module:data_disks), which lists all of a VM at once, and keeps its content
    wherever it goes.
  - On a running VM it is plugged in, unplugged and grown at once. While a VM snapshot exists all that is refused.
  - The data disk of a destroyed VM is free. Attaching or deleting it takes it out of that VM, which then comes back
    without it when it is recovered. In storage that hosts share this is done on that VM's host; a VM of another host
    gets the disk only after the destroyed VM was expunged.
  - In storage that hosts share, a volume is one volume on whatever host, and at most one VM of all these hosts has it.
    For that every host that shares it is asked.
  - What a volume is to have as a disk (offering, limits, device id) is known while it is attached, and forgotten after.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
options:
  name:
    description:
      - Name of the volume, unique in its storage pool.
      - 1 to 128 letters, digits, V(.), V(_) and V(-), beginning and ending with a letter or digit.
    type: str
    required: true
  state:
    description:
      - V(present), it exists with at least that size; who has it stays as it is. With O(vm), the same as V(attached).
      - V(attached), it is a data disk of O(vm). It is made where it is missing and its size is given.
      - V(detached), no VM has it. With O(vm), it is an error when another VM has it.
      - V(absent), it is deleted with all that is on it. Refused while a VM has it.
      - With V(detached) and V(absent), options that say nothing there are passed over, so that a task can be turned
        round by its state alone.
    type: str
    default: present
    choices: [present, attached, detached, absent]
  vm:
    description:
      - Name or UUID of the VM.
      - With O(state=absent) it only tells the host; the volume must have been detached from it.
    type: str
  size:
    description: Size in GiB, or with a unit. A volume only grows. Exclusive with a fixed O(disk_offering).
    type: str
  disk_offering:
    description: Disk offering of the catalog.
    type: str
  min_iops:
    description: I/O operations a second it is to have at least, V(0) for none. Written down only, with
      O(state=attached).
    type: int
  max_iops:
    description: I/O operations a second it has at most, V(0) for no limit, with O(state=attached).
    type: int
  device:
    description:
      - Device id in the VM, with O(state=attached). The default is the lowest free one.
    type: int
  pool:
    description: Storage pool. The default is the disk offering's, else the host's.
    type: str
  host:
    description:
      - Host of the catalog that has the volume or is to have it.
      - Not needed where the catalog has one host, where one host or one shared storage has the volume, with O(vm), or
        where the volume is to be absent and is nowhere.
    type: str
seealso:
  - module: ablestack.kvm.ablestack_volume_info
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: A volume that no VM has yet
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: archive
    size: 100
    host: kvm01

- name: Attach a volume to a VM, running or not
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: archive
    vm: db01
    state: attached

- name: Make one of a disk offering and attach it at once
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: db01-log
    disk_offering: data20
    vm: db01
    state: attached

- name: Let it grow
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: archive
    size: 200

- name: Detach it, whichever VM has it
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: archive
    state: detached

- name: Delete it
  ablestack.kvm.ablestack_volume:
    catalog: "{{ ablestack_catalog }}"
    name: archive
    state: absent
"""

RETURN = r"""
volume:
  description: The volume, as found afterwards or, in check mode, as it would be. Empty when it is absent.
  returned: success
  type: dict
  contains:
    name: {description: Name., type: str, sample: db01-data}
    state: {description: V(Attached) or V(Detached)., type: str, sample: Attached}
    host: {description: 'Its host, by the name in the catalog.', type: str, sample: kvm01}
    zone: {description: Zone of that host., type: str, sample: seoul}
    pool: {description: Storage pool., type: str, sample: default}
    volume: {description: Volume in that pool., type: str, sample: vol-db01-data.qcow2}
    size_gib: {description: Size in GiB., type: float, sample: 20}
    allocated_gib:
      description: What it takes in the pool in GiB. Null where that is not known yet.
      type: float
      sample: 3.5
    format: {description: Image format., type: str, sample: qcow2}
    vm: {description: 'VM it is attached to, or empty.', type: str, sample: db01}
    vm_id: {description: 'UUID of that VM, or empty.', type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
    device: {description: 'Device id in that VM, null while it is detached.', type: int, sample: 1}
    target: {description: 'Name of the device in libvirt, or empty.', type: str, sample: vdb}
    offering: {description: 'Disk offering it was attached with, or empty.', type: str, sample: data20}
    min_iops: {description: 'I/O operations a second it is to have at least, 0 for none.', type: int, sample: 0}
    max_iops: {description: 'I/O operations a second it has at most, 0 for no limit.', type: int, sample: 500}
changes:
  description: What was changed of the VM, or would be in check mode, as M(ablestack.kvm.ablestack_vm) returns it.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: What of the VM it is., type: str, sample: data_disks.archive}
    before: {description: Value before., type: raw, sample: null}
    after: {description: Value afterwards., type: raw, sample: {device: 1, size_gib: 100}}
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
      sample: InUse
    hint: {description: What to do about it., type: str, sample: detach it first}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.face.runner import Work, run
from ..module_utils.face.volume_options import VOLUME_OPTIONS, volume_spec


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = volume_spec(options)

    def work(infrastructure: Infrastructure) -> Outcome:
        from ..module_utils.core.usecase.volume import apply_volume

        return apply_volume(infrastructure, spec)

    return work


def main() -> None:
    run(VOLUME_OPTIONS, prepare, required_if=[("state", "attached", ["vm"])])


if __name__ == "__main__":
    main()
