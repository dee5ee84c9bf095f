#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm: the whole life of one virtual machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm
short_description: Deploy, run, change, destroy and recover a virtual machine
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Brings a virtual machine (VM) on KVM hosts into the wanted state, from a template or an ISO image on, through
    libvirt alone.
  - Its options are the steps of the deploy wizard of ABLESTACK Mold and Apache CloudStack, and its words are theirs.
  - An option that is left out is not managed. Running a shorter task later never takes anything from a VM.
  - O(data_disks) and O(networks), when given, are complete lists. A disk or NIC missing from them is detached; a disk
    is never deleted by that.
  - VMs that this collection did not make are never touched.
extends_documentation_fragment:
  - ablestack.kvm.vm
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
requirements:
  - pycdlib >= 1.12
seealso:
  - module: ablestack.kvm.ablestack_vm_info
  - module: ablestack.kvm.ablestack_expunge
"""

EXAMPLES = r"""
- name: Deploy a VM, on the machine's own libvirt
  ablestack.kvm.ablestack_vm:
    name: web01
    template: debian12
    cpu: 1
    memory: 1GiB
    networks: [default]

- name: Deploy a VM step by step, on the host of the catalog that suits best
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    # 1 where
    zone: seoul
    # 2 template
    template: debian12
    root_disk_size: 20
    # 3 compute offering
    compute_offering: medium
    # 4 data disks
    data_disks:
      - name: db01-data
        disk_offering: data20
      - name: db01-log
        size: 5GiB
        max_iops: 500
    # 5 networks
    networks:
      - name: lan
        ip: 10.10.10.21
      - backup
    # 6 SSH keys
    ssh_key_pairs: [ops]
    # 7 advanced mode
    boot_type: uefi
    dynamic_scaling: true
    affinity_groups: [databases]
    user_data: |
      #cloud-config
      packages: [postgresql]
    # 8 details
    display_name: Database 1
    group: databases
    labels:
      environment: production
    autostart: true
    protected: true
    wait: ssh
  register: db01

- name: Install from an ISO image
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: router01
    iso: opnsense-24.7
    root_disk_size: 16
    compute_offering: small
    networks: [lan]
    start: false

- name: Stop it, and cut the power if it does not stop within a minute
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    state: stopped
    timeout: 60
    force_after_timeout: true

- name: Start it, and wait for its guest agent
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    state: started
    wait: agent

- name: Give it a larger offering, though that may need a restart
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    compute_offering: large
    allow_restart: true

- name: Grow it while it runs, as far as its offering's maxima allow
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    cpu: 4
    memory: 8GiB
    root_disk_size: 40

- name: Attach a disk and a NIC, and detach all others that are not listed
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    data_disks:
      - name: db01-data
      - name: db01-archive
        size: 100
    networks:
      - lan
      - backup
      - monitoring

- name: Insert an ISO image
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    attached_iso: rescue

- name: Begin anew with another template, and keep the data disks
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db01
    state: reinstalled
    template: debian13

- name: Destroy a VM, to be expunged with one of its data disks in a week
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db02
    state: destroyed
    delete_data_disks: [db02-log]
    expunge_delay: 604800

- name: Recover it
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db02
    state: recovered

- name: Expunge it at once, with all its data disks
  ablestack.kvm.ablestack_vm:
    catalog: "{{ ablestack_catalog }}"
    name: db02
    state: expunged
    delete_data_disks: all
"""

RETURN = r"""
vm:
  description: The VM as it is afterwards, or would be in check mode. Empty where none is left.
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
    path: {description: What of the VM it is., type: str, sample: cpu}
    before: {description: Value before., type: raw, sample: 2}
    after: {description: Value afterwards., type: raw, sample: 4}
    impact:
      description:
        - V(live), it is in effect at once. V(next_boot), the guest sees it when it next starts. V(restart), it needs
          the VM to be off.
      type: str
      sample: live
restart_required:
  description:
    - Whether a change takes effect only when the VM is stopped and started, be it an earlier one.
    - New user data, SSH keys, addresses and another default NIC count, since the guest finds them in its seed then.
  returned: success
  type: bool
  sample: false
placement:
  description: Where a new VM was placed, and why.
  returned: when a VM was deployed
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

from ..module_utils.core.usecase.start_elsewhere import apply_vm_on_host
from ..module_utils.face.convert import vm_spec
from ..module_utils.face.runner import Work, run
from ..module_utils.face.vm_options import VM_OPTIONS


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = vm_spec(options)
    return lambda infrastructure: apply_vm_on_host(infrastructure, spec)


def main() -> None:
    run(VM_OPTIONS, prepare)


if __name__ == "__main__":
    main()
