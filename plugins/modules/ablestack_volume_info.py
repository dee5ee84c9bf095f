#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_volume_info: which data volumes there are, and which virtual machines have them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_volume_info
short_description: List data volumes
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns the data volumes of one KVM host, or of all hosts of the catalog, with the virtual machines (VMs) that have
    them. Volumes that this collection did not make are not among them.
  - Every filter that is given must match.
  - A host that cannot be reached is a warning, and the volumes of the others are returned. When none can be reached,
    the task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  name:
    description: Names to look for. A name that no volume has finds nothing, and is no error.
    type: list
    elements: str
  vm:
    description: Name or UUID of the VM that has them.
    type: str
  pool:
    description: Storage pools to look into. The default is all.
    type: list
    elements: str
  states:
    description: States to look for. The default is both.
    type: list
    elements: str
    choices: [Attached, Detached]
  zone:
    description: Zone whose hosts are asked.
    type: str
  hosts:
    description: Hosts to ask, by their names in the catalog. The default is all.
    type: list
    elements: str
seealso:
  - module: ablestack.kvm.ablestack_volume
"""

EXAMPLES = r"""
- name: The data volumes of a VM
  ablestack.kvm.ablestack_volume_info:
    catalog: "{{ ablestack_catalog }}"
    vm: db01
  register: disks

- name: What lies about unused
  ablestack.kvm.ablestack_volume_info:
    catalog: "{{ ablestack_catalog }}"
    states: [Detached]
  register: unused

- name: Show how much that is
  ansible.builtin.debug:
    msg: "{{ unused.volumes | map(attribute='allocated_gib') | sum }} GiB"
"""

RETURN = r"""
volumes:
  description: The volumes found, in the order of their names.
  returned: success
  type: list
  elements: dict
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
unreachable_hosts:
  description: The hosts that could not be asked, each with a sentence that says why.
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
    hint: {description: What to do about it., type: str, sample: no host could be asked for its volumes}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.model.values import check_file_stem
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.face.checks import distinct, filled, one_of, text
from ..module_utils.face.runner import Work, run

STATES = ("Attached", "Detached")
OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str"},
    "vm": {"type": "str"},
    "pool": {"type": "list", "elements": "str"},
    "states": {"type": "list", "elements": "str", "choices": [*STATES]},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    names = distinct(check_file_stem)(options["name"] or [], "volume")
    vm = text(options["vm"] or "", "vm")
    pools = distinct(filled)(options["pool"] or [], "pool")
    states = distinct(one_of(STATES))(options["states"] or [], "states")
    zone = text(options["zone"] or "", "zone")
    hosts = distinct(filled)(options["hosts"] or [], "hosts")

    def work(infrastructure: Infrastructure) -> Outcome:
        from ..module_utils.core.usecase.volume import VolumeFilter, list_volumes

        return list_volumes(infrastructure, VolumeFilter(names, vm, pools, states, zone, hosts))

    return work


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
