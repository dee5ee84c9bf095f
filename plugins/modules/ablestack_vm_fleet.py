#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_vm_fleet: the whole life of many virtual machines in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_vm_fleet
short_description: Deploy, change and remove many virtual machines at once
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Brings many virtual machines (VMs) into their wanted states in one task, on all hosts at once.
  - It does for each VM what M(ablestack.kvm.ablestack_vm) would do, in a fraction of the time that a loop takes.
  - All VMs are planned before any is touched. New ones are placed one after the other, so that capacity and affinity
    groups count those placed before.
  - A VM that fails does not keep the others from being done. The task fails when any VM has failed, and still returns
    what became of each.
  - Where it runs on the controller itself (C(connection=local)), a terminal shows from time to time how many VMs are
    done, running and failed, and names the slow ones. The environment variable E(ABLESTACK_PROGRESS) set to V(never)
    keeps it silent, V(always) has it speak where it would not, such as in CI.
options:
  vms:
    description:
      - The VMs. Each entry is a dictionary of the options of M(ablestack.kvm.ablestack_vm), except those of the
        connection.
      - Names may not repeat. An entry is found by C(name), by C(id), or by both.
    type: list
    elements: dict
    required: true
  defaults:
    description:
      - Options for all VMs. An entry of O(vms) that gives an option itself wins; a list or dictionary is replaced, not
        merged.
    type: dict
  state:
    description:
      - The state of all VMs that give none themselves, as in M(ablestack.kvm.ablestack_vm), where V(present) is the
        default.
    type: str
    choices: [present, started, stopped, restarted, reinstalled, destroyed, recovered, expunged, absent]
  group:
    description:
      - The group that VMs which give none themselves belong to.
      - Required with O(prune).
    type: str
  prune:
    description:
      - Destroys the VMs of O(group), on all hosts, that O(vms) does not list. They come last, and can be recovered
        until they are expunged.
      - They are stopped as C(forced), C(timeout) and C(force_after_timeout) of O(defaults) say, and expunged after
        C(expunge_delay) of it. Their data disks are kept.
      - With an empty O(vms), these are all VMs of the group.
      - Nothing is pruned where it is not clear which VM an entry of O(vms) means, and a warning says so.
    type: bool
    default: false
  parallel:
    description:
      - How many VMs are worked on at a time, those included that are waited for. Use it to restart or change a fleet
        a few VMs at a time.
      - When left out, it is as many as the hosts take, four on each, and those that are waited for do not count.
    type: int
  max_failures:
    description:
      - When more VMs than this have failed, no further VM is begun. Those begun are brought to their end.
      - A VM that cannot be planned counts too, so with V(0) nothing is touched unless all can be done.
      - When left out, the rest is done however many fail.
    type: int
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
requirements:
  - pycdlib >= 1.12
seealso:
  - module: ablestack.kvm.ablestack_vm
  - module: ablestack.kvm.ablestack_vm_info
  - module: ablestack.kvm.ablestack_expunge
"""

EXAMPLES = r"""
- name: Deploy three web servers and a database
  ablestack.kvm.ablestack_vm_fleet:
    catalog: "{{ ablestack_catalog }}"
    group: shop
    defaults:
      template: debian12
      compute_offering: small
      networks: [lan]
      ssh_key_pairs: [ops]
      wait: ssh
    vms:
      - name: web01
        affinity_groups: [web]
      - name: web02
        affinity_groups: [web]
      - name: web03
        affinity_groups: [web]
      - name: db01
        compute_offering: medium
        data_disks:
          - name: db01-data
            disk_offering: data20
  register: shop

- name: Say which of them were made
  ansible.builtin.debug:
    msg: "{{ shop.results | selectattr('action', 'eq', 'made') | map(attribute='name') }}"

- name: Make the group exactly these, and destroy what else is in it
  ablestack.kvm.ablestack_vm_fleet:
    catalog: "{{ ablestack_catalog }}"
    group: shop
    prune: true
    defaults:
      template: debian12
      compute_offering: small
      networks: [lan]
    vms:
      - name: web01
      - name: db01

- name: Restart a fleet two at a time, and stop where one does not come back
  ablestack.kvm.ablestack_vm_fleet:
    catalog: "{{ ablestack_catalog }}"
    state: restarted
    defaults:
      wait: agent
    vms:
      - name: web01
      - name: web02
      - name: web03
    parallel: 2
    max_failures: 0

- name: Expunge them all
  ablestack.kvm.ablestack_vm_fleet:
    catalog: "{{ ablestack_catalog }}"
    state: expunged
    vms:
      - name: web01
      - name: db01
"""

RETURN = r"""
results:
  description: What became of each VM, in the order of O(vms).
  returned: always, unless an option is invalid
  type: list
  elements: dict
  contains: &result
    name: {description: Name of the VM., type: str, sample: web01}
    action:
      description:
        - What was done, or would be in check mode. V(made), V(changed), V(restarted), V(removed), V(unchanged) or
          V(failed), or V(not_begun) after too many failures.
      type: str
      sample: made
    changed: {description: Whether anything of it was changed., type: bool, sample: true}
    failed: {description: Whether it failed., type: bool, sample: false}
    msg: {description: 'Why it failed or was not begun, else empty.', type: str, sample: ''}
    error:
      description: What went wrong, as in RV(error).
      returned: when it failed
      type: dict
    vm:
      description: The VM, as M(ablestack.kvm.ablestack_vm) returns it.
      returned: when it was planned, and did not fail before its end
      type: dict
    changes:
      description: What was changed, as M(ablestack.kvm.ablestack_vm) returns it.
      returned: like RV(results[].vm)
      type: list
      elements: dict
    restart_required:
      description:
        - Whether a change takes effect only when the VM is stopped and started, be it an earlier one.
        - New user data, SSH keys, addresses and another default NIC count, since the guest finds them in its seed then.
      returned: like RV(results[].vm)
      type: bool
      sample: false
    placement:
      description: Where a new VM was placed, and why, as M(ablestack.kvm.ablestack_vm) returns it.
      returned: when it was deployed
      type: dict
pruned:
  description: What became of the VMs that were to be destroyed because of O(prune).
  returned: like RV(results)
  type: list
  elements: dict
  contains: *result
summary:
  description: How many VMs there are of each action, the pruned ones included.
  returned: like RV(results)
  type: dict
  contains:
    made: {description: Deployed., type: int, sample: 3}
    changed: {description: Changed without a restart., type: int, sample: 1}
    restarted: {description: 'Restarted, changed or not.', type: int, sample: 0}
    removed: {description: Destroyed or expunged., type: int, sample: 0}
    unchanged: {description: Left as they were., type: int, sample: 6}
    failed: {description: Failed., type: int, sample: 0}
    not_begun: {description: Not begun after too many failures., type: int, sample: 0}
plan:
  description: A line for each VM that is not left as it was, for people.
  returned: like RV(results)
  type: list
  elements: str
  sample: ['+ web01: made on kvm01 from debian12, 1 CPU, 1024 MiB, Running', '- web09: destroyed on kvm02']
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

import os
from collections.abc import Mapping
from typing import Any

from ..module_utils.core.usecase.fleet import apply_fleet
from ..module_utils.face.fleet_options import FLEET_OPTIONS, fleet_spec
from ..module_utils.face.progress import reporter
from ..module_utils.face.runner import Work, run


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = fleet_spec(options)
    return lambda infrastructure: apply_fleet(infrastructure, spec, reporter(os.environ))


def main() -> None:
    run(FLEET_OPTIONS, prepare)


if __name__ == "__main__":
    main()
