#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_host_info: what the KVM hosts are, how much of them is given out, and what lives on them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_host_info
short_description: List KVM hosts with their capacity and load
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns size, load, virtual machines (VMs), versions, storage pools and networks of one KVM host, or of all hosts of
    the catalog. Capacity and load are what placement reckons with.
  - A host that cannot be reached is a warning, and the others are returned. When none can be reached, the task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  name:
    description: Hosts to ask, by their names in the catalog. The default is all.
    type: list
    elements: str
  zone:
    description: Zone whose hosts are asked.
    type: str
  pod:
    description: Pod whose hosts are asked.
    type: str
  cluster:
    description: Cluster whose hosts are asked.
    type: str
  states:
    description: States in the catalog of the hosts to ask. The default is all.
    type: list
    elements: str
    choices: [enabled, disabled, maintenance]
seealso:
  - module: ablestack.kvm.ablestack_vm_info
"""

EXAMPLES = r"""
- name: The machine's own libvirt
  ablestack.kvm.ablestack_host_info:
  register: local

- name: All hosts of a zone that take new VMs
  ablestack.kvm.ablestack_host_info:
    catalog: "{{ ablestack_catalog }}"
    zone: seoul
    states: [enabled]
  register: found

- name: Refuse to go on while every host is full
  ansible.builtin.assert:
    that: found.hosts | rejectattr('full') | list | length > 0
"""

RETURN = r"""
hosts:
  description: The hosts, in the order of the catalog.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name in the catalog., type: str, sample: kvm01}
    uri: {description: Its libvirt URI., type: str, sample: qemu+ssh://root@kvm01/system}
    zone: {description: Zone., type: str, sample: seoul}
    pod: {description: Pod., type: str, sample: pod1}
    cluster: {description: Cluster., type: str, sample: cluster1}
    tags: {description: Tags that compute offerings may ask for., type: list, elements: str, sample: [ssd]}
    state:
      description: V(enabled), or V(disabled) or V(maintenance) when the catalog says that it gets no new VM.
      type: str
      sample: enabled
    cpu:
      description: Processors of the host, and how many of them running VMs have.
      type: dict
      contains:
        total: {description: Processors there are., type: int, sample: 32}
        capacity: {description: 'Processors to give out, with overprovisioning.', type: int, sample: 64}
        used: {description: Processors that running VMs have., type: int, sample: 12}
        share: {description: The share of C(capacity) that is given out; 1 is all., type: float, sample: 0.188}
    memory:
      description: Memory of the host in MiB, and how much of it running VMs have.
      type: dict
      contains:
        total: {description: Memory there is., type: int, sample: 128842}
        capacity: {description: 'Memory to give out, with overprovisioning.', type: int, sample: 128842}
        used: {description: Memory that running VMs have., type: int, sample: 24576}
        share: {description: The share of C(capacity) that is given out; 1 is all., type: float, sample: 0.191}
    full:
      description: Whether it has reached the capacity threshold of the catalog, past which it gets no new VM.
      type: bool
      sample: false
    vms:
      description: All its VMs in the order of their names, also those of others and destroyed ones.
      type: list
      elements: dict
      contains:
        name: {description: Name., type: str, sample: web01}
        id: {description: Id (UUID)., type: str, sample: 5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10}
        state: {description: State as M(ablestack.kvm.ablestack_vm_info) returns it., type: str, sample: Running}
        cpu: {description: Virtual processors., type: int, sample: 2}
        memory: {description: Memory in MiB., type: int, sample: 4096}
        managed: {description: Whether this collection manages it., type: bool, sample: true}
    virt_types:
      description: How it can run guests, the preferred way first. Empty where its driver cannot tell.
      type: list
      elements: str
      sample: [kvm, qemu]
    firmware:
      description: What guests can boot with. V(secure) is UEFI with secure boot.
      type: list
      elements: str
      sample: [bios, uefi, secure]
    tpm: {description: Whether it can emulate a TPM., type: bool, sample: true}
    libvirt_version: {description: Version of libvirt., type: str, sample: 9.0.0}
    hypervisor_version: {description: Version of QEMU., type: str, sample: 7.2.0}
    pools:
      description: Its active storage pools in the order of their names.
      type: list
      elements: dict
      contains:
        name: {description: Name., type: str, sample: default}
        type: {description: Type as libvirt has it., type: str, sample: dir}
        path: {description: 'Where its volumes lie on the host, or empty.', type: str, sample: /var/lib/libvirt/images}
        capacity_gib: {description: Size in GiB., type: float, sample: 1024}
        available_gib: {description: What is free of it in GiB., type: float, sample: 512.5}
        shared_with:
          description: Other hosts of the list that have the same storage in a pool.
          type: list
          elements: str
          sample: [kvm02]
    networks: {description: Names of its networks., type: list, elements: str, sample: [default, lan]}
unreachable_hosts:
  description: The hosts that could not be asked, and why.
  returned: success
  type: dict
  sample: {}
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
      sample: HostUnavailable
    hint: {description: What to do about it., type: str, sample: see that libvirt runs there}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.model.catalog import HOST_STATES
from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.face.checks import distinct, filled, text
from ..module_utils.face.runner import Work, run

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str"},
    "zone": {"type": "str"},
    "pod": {"type": "str"},
    "cluster": {"type": "str"},
    "states": {"type": "list", "elements": "str", "choices": list(HOST_STATES)},
}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    names = distinct(filled)(options["name"] or [], "name")
    zone, pod, cluster = (text(options[key] or "", key) for key in ("zone", "pod", "cluster"))
    states = tuple(options["states"] or ())

    def work(infrastructure: Infrastructure) -> Outcome:
        from ..module_utils.core.usecase.host_query import list_hosts

        return list_hosts(infrastructure, names, zone, pod, cluster, states)

    return work


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
