#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_pool: storage pools that virtual machines' disks and templates lie in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_pool
short_description: Have a storage pool on KVM hosts
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Sees that a KVM host, or every host of the catalog, has a storage pool, that it runs, and whether the host starts it
    at boot. The C(pool) and C(template_pool) of a host in the catalog are such pools.
  - A pool that is missing is made as a folder of the host. Pools of other kinds (NFS, for example) are defined by other
    means; this module starts them.
  - A pool that is there is never moved or removed, and nothing in it is touched. Of one that the task names, whoever
    made it, no more changes than the task says; it is started where it is off, and starts at boot or not as
    O(autostart) says. Its folder is never made anew, for where that is missing its disk may not be mounted.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  path:
    description:
      - The folder on the host that holds the volumes, as an absolute path. With a new pool it is made where it is
        missing. Folders of the host's own system, such as C(/etc) or C(/var/lib), are refused.
      - Required where the host has no pool of that name. Where it has one in another place or of another kind, the task
        fails.
    type: str
  autostart:
    description:
      - Whether the host starts it at boot. A new pool does by default; of one that is there it is left as it is.
      - A pool that is found off, at the very O(path) that the task gives, counts as a new one whose task was cut short.
    type: bool
  zone:
    description: Zone whose hosts are to have it. The default is all.
    type: str
  hosts:
    description: Hosts that are to have it, by their names in the catalog. The default is all.
    type: list
    elements: str
seealso:
  - module: ablestack.kvm.ablestack_network
"""

EXAMPLES = r"""
- name: A pool for the disks of VMs on every host of the catalog
  ablestack.kvm.ablestack_pool:
    catalog: "{{ ablestack_catalog }}"
    name: default
    path: /var/lib/libvirt/images

- name: See that the pool on the NFS server is up
  ablestack.kvm.ablestack_pool:
    catalog: "{{ ablestack_catalog }}"
    name: templates
    autostart: true
"""

RETURN = r"""
pools:
  description: The pool on each host, as it is afterwards, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: The host., type: str, sample: kvm01}
    name: {description: Name., type: str, sample: default}
    type: {description: Type of the pool in libvirt's words., type: str, sample: dir}
    path: {description: 'Folder that its volumes lie in, or empty.', type: str, sample: /var/lib/libvirt/images}
    active: {description: Whether it runs., type: bool, sample: true}
    autostart: {description: Whether the host starts it at boot., type: bool, sample: true}
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: On which host., type: str, sample: kvm01}
    path: {description: What of the pool it is., type: str, sample: autostart}
    before: {description: Value before., type: raw, sample: false}
    after: {description: Value afterwards., type: raw, sample: true}
    impact: {description: 'Always V(live), in effect at once.', type: str, sample: live}
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

from ..module_utils.core.usecase.pool import apply_pool
from ..module_utils.face.pool_options import POOL_OPTIONS, pool_spec
from ..module_utils.face.runner import Work, run


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = pool_spec(options)
    return lambda infrastructure: apply_pool(infrastructure, spec)


def main() -> None:
    run(POOL_OPTIONS, prepare)


if __name__ == "__main__":
    main()
