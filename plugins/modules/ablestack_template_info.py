#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_template_info: which templates there are, where, and what uses them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_template_info
short_description: List templates and ISO images
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Returns the templates of one KVM host, or of all hosts of the catalog, with the hosts that have them and the
    virtual machines (VMs) that use them. Incomplete ones are among them.
  - A host that cannot be reached is a warning, and the templates of the others are returned. When none can be reached,
    the task fails.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes.info
options:
  name:
    description: Names to look for. A name that no template has finds nothing, and is no error.
    type: list
    elements: str
  zone:
    description: Zone whose hosts are asked.
    type: str
  hosts:
    description: Hosts to ask, by their names in the catalog. The default is all.
    type: list
    elements: str
seealso:
  - module: ablestack.kvm.ablestack_template
"""

EXAMPLES = r"""
- name: All templates of the machine's own libvirt
  ablestack.kvm.ablestack_template_info:
  register: local

- name: One template on all hosts of the catalog
  ablestack.kvm.ablestack_template_info:
    catalog: "{{ ablestack_catalog }}"
    name: [debian12]
  register: debian

- name: Refuse to go on while a host lacks it
  ansible.builtin.assert:
    that:
      - debian.templates | map(attribute='state') | list == ['Ready']
      - debian.templates[0].hosts | length == ablestack_catalog.hosts | length
"""

RETURN = r"""
templates:
  description: The templates found, in the order of their names. What an incomplete one does not tell is null.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name., type: str, sample: debian12}
    display_text: {description: What it is in words., type: str, sample: Debian 12}
    format: {description: 'V(qcow2), V(raw) or V(iso).', type: str, sample: qcow2}
    state:
      description: V(Ready), or V(NotReady) when a host has an incomplete copy.
      type: str
      sample: Ready
    size_gib: {description: Size of the disk in it in GiB., type: float, sample: 20}
    checksum:
      description: SHA-256 of the image.
      type: str
      sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    hosts: {description: Hosts that have it Ready., type: list, elements: str, sample: [kvm01, kvm02]}
    problems:
      description: What is wrong with it, host by host.
      type: list
      elements: dict
      sample: []
      contains:
        host: {description: Name of the host., type: str, sample: kvm03}
        reason: {description: What is wrong there., type: str, sample: its image is missing}
    created: {description: 'When it was made, in UTC.', type: str, sample: '2026-01-31T09:30:00Z'}
    source: {description: Where its image came from., type: str, sample: /srv/images/debian12.qcow2}
    os_type: {description: 'Operating system in it, or empty.', type: str, sample: debian12}
    boot_type: {description: 'V(bios) or V(uefi), or empty where nobody said.', type: str, sample: uefi}
    boot_mode: {description: 'V(legacy) or V(secure), or empty where nobody said.', type: str, sample: legacy}
    ssh_key_enabled: {description: Whether it takes SSH keys., type: bool, sample: true}
    dynamic_scaling: {description: Whether it copes with growing while it runs., type: bool, sample: false}
    featured: {description: Whether it is to be shown first., type: bool, sample: false}
    labels: {description: Labels., type: dict, sample: {team: web}}
    used_by:
      description: Names of the VMs on these hosts that were made from it and are not expunged, or have it open.
      type: list
      elements: str
      sample: [web01]
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
    hint: {description: What to do about it., type: str, sample: no host could be asked for its templates}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.model.values import check_file_stem
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.face.checks import distinct, filled, text
from ..module_utils.face.runner import Work, run

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str"},
    "zone": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
}


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the filters, and returns what is to be done with them."""
    names = distinct(check_file_stem)(options["name"] or [], "template")
    zone = text(options["zone"] or "", "zone")
    hosts = distinct(filled)(options["hosts"] or [], "hosts")

    def work(infrastructure: Infrastructure) -> Outcome:
        from ..module_utils.core.usecase.template_query import list_all_templates

        return list_all_templates(infrastructure, names, zone, hosts)

    return work


def main() -> None:
    run(OPTIONS, prepare, reads_only=True)


if __name__ == "__main__":
    main()
