#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm_info: which virtual machines there are, and all about them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm_info
short_description: List virtual machines and their properties
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns the virtual machines (VMs) of one KVM host, or of all hosts of the catalog, in whatever state they are.
  - Every filter that is given must match. Without one, all VMs of this collection are returned.
  - A host that cannot be reached is a warning, and the VMs of the others are returned. When none can be reached, the
    task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  name:
    description: Names to look for. A name that no VM has finds nothing, and is no error.
    type: list
    elements: str
  id:
    description: UUIDs to look for.
    type: list
    elements: str
  states:
    description: States to look for. The default is all.
    type: list
    elements: str
    choices: [Running, Stopped, Paused, Starting, Stopping, Migrating, Destroyed, Expunging, Error]
  group:
    description: Group to look for.
    type: str
  labels:
    description: Labels to look for. A VM must have them all, with these values.
    type: dict
  template:
    description: Template that the VMs were deployed from.
    type: str
  zone:
    description: Zone whose hosts are asked.
    type: str
  pod:
    description: Pod whose hosts are asked.
    type: str
  cluster:
    description: Cluster whose hosts are asked.
    type: str
  host:
    description: Hosts to ask, by their names in the catalog. The default is all.
    type: list
    elements: str
  include_unmanaged:
    description: Whether VMs are returned too that this collection did not make.
    type: bool
    default: false
seealso:
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: All VMs of the machine's own libvirt, also those made by other tools
  ablestack.kvm.ablestack_vm_info:
    include_unmanaged: true
  register: local

- name: The running web servers of a zone
  ablestack.kvm.ablestack_vm_info:
    catalog: "{{ ablestack_catalog }}"
    zone: seoul
    states: [Running]
    labels:
      role: web
  register: web

- name: Show their addresses
  ansible.builtin.debug:
    msg: "{{ web.vms | items2dict(key_name='name', value_name='ip_address') }}"

- name: What could still be recovered
  ablestack.kvm.ablestack_vm_info:
    catalog: "{{ ablestack_catalog }}"
    states: [Destroyed]
"""

RETURN = r"""
vms:
  description: The VMs found, in the order of their names.
  returned: success
  type: list
  elements: dict
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
unreachable_hosts:
  description: The hosts that could not be reached, with the reason of each. Their VMs are not among RV(vms).
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

from ..module_utils.core.model.errors import AblestackError, Code
from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.core.usecase.query import VmFilter, list_vms
from ..module_utils.face.checks import distinct, filled, labels, text, vm_id
from ..module_utils.face.runner import Work, run

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str"},
    "id": {"type": "list", "elements": "str"},
    "states": {
        "type": "list",
        "elements": "str",
        "choices": [
            "Running",
            "Stopped",
            "Paused",
            "Starting",
            "Stopping",
            "Migrating",
            "Destroyed",
            "Expunging",
            "Error",
        ],
    },
    "group": {"type": "str"},
    "labels": {"type": "dict"},
    "template": {"type": "str"},
    "zone": {"type": "str"},
    "pod": {"type": "str"},
    "cluster": {"type": "str"},
    "host": {"type": "list", "elements": "str"},
    "include_unmanaged": {"type": "bool", "default": False},
}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    wanted = VmFilter(
        names=distinct(filled)(options["name"] or [], "name"),
        ids=distinct(vm_id)(options["id"] or [], "id"),
        states=tuple(options["states"] or ()),
        group=text(options["group"] or "", "group"),
        labels=labels(options["labels"] or {}, "labels"),
        template=text(options["template"] or "", "template"),
        zone=text(options["zone"] or "", "zone"),
        pod=text(options["pod"] or "", "pod"),
        cluster=text(options["cluster"] or "", "cluster"),
        hosts=distinct(filled)(options["host"] or [], "host"),
        unmanaged=options["include_unmanaged"],
    )
    return lambda infrastructure: find(infrastructure, wanted)


def find(infrastructure: Infrastructure, wanted: VmFilter) -> Outcome:
    """The VMs, unless there is no host left that could have told of any."""
    outcome = list_vms(infrastructure, wanted)
    unreachable = outcome.result["unreachable"]
    asked = infrastructure.selected(wanted.zone, wanted.pod, wanted.cluster, wanted.hosts)
    if len(unreachable) < len(asked):
        return outcome
    raise AblestackError(
        Code.HOST_UNAVAILABLE,
        "; ".join(sentence.rstrip(".") for sentence in unreachable.values()),
        "no host could be asked for its VMs",
    )


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
