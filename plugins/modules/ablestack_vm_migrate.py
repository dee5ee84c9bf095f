#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm_migrate: moves a virtual machine to another host, running or not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm_migrate
short_description: Move a virtual machine to another KVM host
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Moves a virtual machine (VM) to another host of the catalog. A running one goes on running, one that is off is
    moved as it is.
  - The hosts do it between themselves. Each must reach the other by the C(uri) that the catalog has of it, or by its
    C(migration_uri). With V(qemu+tls), the guest's memory travels encrypted, too.
  - Disks on storage that both hosts share stay where they are. That they share it is found out by looking at the very
    files from both hosts. Other disks go along with O(copy_storage).
  - The VM stays what it was. Its id, definition, labels, MAC addresses, fixed addresses, firmware variables, TPM and
    start with the host go with it, and nothing of it is left behind.
  - Before anything is done, it is made sure that the other host has the networks, the template of a linked clone, the
    firmware and the capacity, that affinity groups allow it, and that the guest can go on running on its processor.
  - A run that was killed is completed by running the same task again. The VM never runs on two hosts.
options:
  name:
    description:
      - Name of the VM.
      - One of O(name) and O(id) is needed.
    type: str
  id:
    description:
      - UUID of the VM.
    type: str
  host:
    description:
      - Name in the catalog of the host it is to be on.
      - Left out, a VM stays where it is as long as its host is enabled in the catalog. From a host that is disabled or
        in maintenance it is moved to the host of the same cluster that placement chooses.
    type: str
  live:
    description:
      - Whether a running VM is moved while it runs.
      - V(false) stops it, moves it, and starts it there. Hosts with different processors need that.
    type: bool
    default: true
  copy_storage:
    description:
      - Whether disks that only its present host can reach are copied to the other one. They are deleted here when the
        VM is there.
      - A linked clone needs its template on the other host, at the same path.
    type: bool
    default: false
  forced:
    description:
      - With O(live=false), whether the power is cut instead of asking the guest to shut down.
    type: bool
    default: false
  timeout:
    description:
      - With O(live=false), how many seconds the guest has to shut down. The default is the catalog's C(stop_timeout).
      - When it is over, the task fails and the VM runs on where it is.
    type: int
  force_after_timeout:
    description:
      - With O(live=false), whether the power is cut when O(timeout) is over.
    type: bool
    default: false
notes:
  - A VM that has VM snapshots is not moved.
  - Where a network hands out addresses by itself (types V(isolated) and V(routed)), each host has one of its own. A
    fixed address is reserved on the other host before the move; connections through the host's address translation end.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
seealso:
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: Move a running VM to another host
  ablestack.kvm.ablestack_vm_migrate:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    host: kvm02

- name: Move a VM with its disks, which are on local storage
  ablestack.kvm.ablestack_vm_migrate:
    catalog: "{{ ablestack_catalog }}"
    name: web01
    host: kvm02
    copy_storage: true

- name: Have it leave a host that is in maintenance, wherever there is room
  ablestack.kvm.ablestack_vm_migrate:
    catalog: "{{ ablestack_catalog }}"
    name: db01
"""

RETURN = r"""
vm:
  description: The VM as it is afterwards, or would be in check mode.
  returned: success
  type: dict
  contains:
    id: {description: UUID., type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
    name: {description: Name., type: str, sample: db01}
    display_name: {description: Name for people., type: str, sample: Database 1}
    group: {description: Group., type: str, sample: databases}
    labels: {description: Labels., type: dict, sample: {environment: production}}
    state:
      description:
        - V(Running), V(Stopped), V(Paused), V(Starting), V(Stopping), V(Migrating), V(Destroyed), V(Expunging) or
          V(Error).
      type: str
      sample: Running
    zone: {description: Zone of its host., type: str, sample: seoul}
    pod: {description: Pod of its host., type: str, sample: pod1}
    cluster: {description: Cluster of its host., type: str, sample: cluster1}
    host: {description: 'Its host, by the name in the catalog.', type: str, sample: kvm01}
    uri: {description: Libvirt URI of its host., type: str, sample: 'qemu+ssh://root@kvm01/system'}
    template: {description: 'Template it was deployed from, or empty.', type: str, sample: debian12}
    iso: {description: 'ISO image in its CD drive, or empty.', type: str, sample: ''}
    compute_offering: {description: 'Compute offering, or empty.', type: str, sample: medium}
    cpu: {description: Number of virtual CPUs., type: int, sample: 2}
    memory: {description: Memory in MiB., type: int, sample: 4096}
    boot_type: {description: V(bios) or V(uefi)., type: str, sample: uefi}
    boot_mode: {description: V(legacy) or V(secure)., type: str, sample: legacy}
    tpm: {description: Whether it has an emulated TPM., type: bool, sample: false}
    dynamic_scaling: {description: Whether CPU and memory may grow while it runs., type: bool, sample: true}
    disks:
      description: Root disk and data disks.
      type: list
      elements: dict
      contains:
        name: {description: Name of the disk., type: str, sample: db01-data}
        role: {description: V(root) or V(data)., type: str, sample: data}
        device: {description: Device id; the root disk has 0., type: int, sample: 1}
        target: {description: Name of the device in libvirt., type: str, sample: vdb}
        pool: {description: Storage pool., type: str, sample: default}
        volume: {description: Volume in that pool., type: str, sample: vol-db01-data.qcow2}
        size_gib: {description: Size in GiB., type: float, sample: 20}
        format: {description: Image format., type: str, sample: qcow2}
        offering: {description: 'Disk offering, or empty.', type: str, sample: data20}
        min_iops: {description: 'I/O operations a second it is to have at least, 0 for none.', type: int, sample: 0}
        max_iops: {description: 'I/O operations a second it has at most, 0 for no limit.', type: int, sample: 500}
    nics:
      description: Network interfaces, in their order.
      type: list
      elements: dict
      contains:
        network: {description: Network., type: str, sample: lan}
        mac: {description: MAC address., type: str, sample: '52:54:00:1b:2c:3d'}
        ip: {description: 'The fixed address, else the first one found, or empty.', type: str, sample: 10.10.10.21}
        ip_addresses: {description: All addresses found., type: list, elements: str, sample: [10.10.10.21]}
        default: {description: Whether it is the default NIC., type: bool, sample: true}
        model: {description: Device model., type: str, sample: virtio}
    ip_address: {description: 'Address of the default NIC, or empty.', type: str, sample: 10.10.10.21}
    ssh_key_pairs: {description: SSH key pairs it was given., type: list, elements: str, sample: [ops]}
    affinity_groups: {description: Affinity groups., type: list, elements: str, sample: [databases]}
    snapshots: {description: Names of its VM snapshots., type: list, elements: str, sample: [before-upgrade]}
    protected: {description: 'Whether destroying, expunging and reinstalling it is refused.', type: bool, sample: false}
    autostart: {description: Whether its host starts it at boot., type: bool, sample: true}
    created: {description: When it was deployed (UTC)., type: str, sample: '2025-01-31T08:15:00Z'}
    destroyed_at: {description: 'When it was destroyed (UTC), or empty.', type: str, sample: ''}
    expunge_at: {description: 'From when on it is due to be expunged (UTC), or empty.', type: str, sample: ''}
    managed: {description: Whether this collection made it., type: bool, sample: true}
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: What of the VM it is., type: str, sample: host}
    before: {description: Value before., type: raw, sample: kvm01}
    after: {description: Value afterwards., type: raw, sample: kvm02}
    impact:
      description:
        - V(live), the guest went on running or was off anyway. V(restart), it was stopped for it.
      type: str
      sample: live
restart_required:
  description: Whether a change takes effect only when the VM is stopped and started.
  returned: success
  type: bool
  sample: false
placement:
  description: Where the VM was moved to, and why there.
  returned: when the VM was moved
  type: dict
  contains:
    host: {description: The chosen host., type: str, sample: kvm01}
    reason: {description: Why it was chosen., type: str, sample: least used of 2 hosts}
    rejected:
      description: Every other host of the catalog.
      type: list
      elements: dict
      contains:
        host: {description: The host., type: str, sample: kvm02}
        reason: {description: Why it was not chosen., type: str, sample: it is in maintenance}
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

from ..module_utils.core.usecase.migrate import apply_migrate
from ..module_utils.face.migrate_options import MIGRATE_OPTIONS, NAMED, migrate_spec
from ..module_utils.face.runner import Work, run


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = migrate_spec(options)
    return lambda infrastructure: apply_migrate(infrastructure, spec)


def main() -> None:
    run(MIGRATE_OPTIONS, prepare, required_one_of=NAMED)


if __name__ == "__main__":
    main()
