#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ablestack_template: the images that virtual machines are deployed from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ablestack_template
short_description: Manage templates and ISO images
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Brings a template, which is a disk image to deploy virtual machines (VMs) from, or an ISO image to install from,
    to one KVM host or to all hosts of the catalog. It lies in each host's storage pool V(template_pool).
  - A template is Ready only when its image is complete and its checksum is known. A copy that was interrupted,
    or whose image is no longer as long as it was, is never used, and the next run of the same task repairs it.
  - Into storage that hosts share, the image is copied once. Whether they share it is told by the UUIDs and sources of
    their pools and by C(shared_pools) in the catalog, and is verified by looking for what the other host wrote.
  - Images are kept byte for byte as they come, and nothing ever writes to them. An image that VMs or volumes stand on
    is neither replaced nor deleted.
  - An option that is left out is not managed. A shorter task later changes nothing that a longer one has set.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ablestack.kvm.attributes
options:
  name:
    description:
      - Name of the template.
      - 1 to 128 letters, digits, V(.), V(_) and V(-), beginning and ending with a letter or digit.
    type: str
    required: true
  state:
    description:
      - V(present), the template is Ready on all its hosts. Where it is missing, one of O(src), O(url), O(vm) and
        O(volume) is needed.
      - V(absent), nothing of it is left on these hosts. Refused while a VM that is not expunged was made from it, or
        anything stands on its image. All these hosts must be reachable, since any of them may use it. What it is made
        of is passed over.
      - V(extracted), its image is in the file O(dest).
    type: str
    default: present
    choices: [present, absent, extracted]
  format:
    description:
      - Format of the image. It is checked against the content.
      - Can be left out for V(qcow2) and V(iso), which are recognised. V(raw) has to be said, as it looks like anything.
      - A V(qcow2) image must stand by itself, without a backing file, an external data file or encryption.
      - With O(vm) and O(volume), the format of the image to be made, V(qcow2) by default.
    type: str
    choices: [qcow2, raw, iso]
  src:
    description:
      - Path of the image file on the machine where the module runs.
      - As long as its size and time of modification are those the template was made from, it is not read again. When
        they differ, the content is compared.
      - Only one of O(src), O(url), O(vm) and O(volume) can be given.
    type: path
  url:
    description:
      - Address of the image, V(https), V(http) or V(file). It is downloaded to a temporary file on the machine where
        the module runs (E(TMPDIR)), once for all hosts. It is refused as soon as it turns out to be larger than the
        free space of a host's pool.
      - TLS certificates are verified, and redirects lead to web servers only. Use O(checksum) where the way is not
        protected.
      - An address that the template was made from is not asked again. Another one is downloaded and compared.
    type: str
  vm:
    description:
      - Name of a stopped VM whose root disk becomes the template. The result does not depend on the VM.
      - Its host must be one of the template's. The other hosts get a copy from there.
      - The VM is looked at only until the template exists.
    type: str
  volume:
    description: A volume that becomes the template, as V(pool/name). Otherwise like O(vm).
    type: str
  checksum:
    description:
      - Checksum that the image must have, as V(sha256:), V(sha512:) or V(md5:) and hexadecimal digits.
      - Verified before the template is Ready. A template that has it is as wanted, whatever its source looks like now.
    type: str
  display_text:
    description: What the template is, in words. By default its name.
    type: str
  os_type:
    description: Operating system in the image.
    type: str
  boot_type:
    description: Firmware that VMs made from it start with, unless they say otherwise.
    type: str
    choices: [bios, uefi]
  boot_mode:
    description: Whether VMs made from it start with secure boot, which needs UEFI.
    type: str
    choices: [legacy, secure]
  ssh_key_enabled:
    description: Whether the system in it takes SSH keys at the first boot. By default it does.
    type: bool
  dynamic_scaling:
    description: Whether the system in it copes with CPUs and memory being added while it runs. By default it does not.
    type: bool
  featured:
    description: Whether the template is one of those to show first.
    type: bool
  labels:
    description: Labels, as a dict of texts. When given, it is the complete set.
    type: dict
  zone:
    description: Zone whose hosts are to have the template. By default all do.
    type: str
  hosts:
    description: Names of the hosts of the catalog that are to have the template. By default all do.
    type: list
    elements: str
  dest:
    description:
      - File, or existing folder, to put the image into with O(state=extracted), on the machine where the module runs.
      - The file is readable for its owner only, and replaced if its content is another.
    type: path
  forced:
    description:
      - Replace the image when the wanted one is another. Without it that is an error.
      - An image in use is not replaced either way.
    type: bool
    default: false
notes:
  - A host that cannot be reached fails the task after all others are as wanted, unless the catalog says that its state
    is V(disabled) or V(maintenance).
seealso:
  - module: ablestack.kvm.ablestack_template_info
  - module: ablestack.kvm.ablestack_vm
"""

EXAMPLES = r"""
- name: A template from a file, on all hosts of the catalog
  ablestack.kvm.ablestack_template:
    catalog: "{{ ablestack_catalog }}"
    name: debian12
    display_text: Debian 12
    src: /srv/images/debian12.qcow2
    os_type: debian12

- name: An ISO image from the web, with its checksum, on the hosts of one zone
  ablestack.kvm.ablestack_template:
    catalog: "{{ ablestack_catalog }}"
    name: installer
    url: https://images.example.com/installer.iso
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    format: iso
    zone: seoul

- name: A new version of the image under the same name, while no VM uses it
  ablestack.kvm.ablestack_template:
    name: debian12
    src: /srv/images/debian12-2.qcow2
    forced: true

- name: Turn a stopped VM into a template
  ablestack.kvm.ablestack_template:
    name: golden
    vm: builder
    boot_type: uefi

- name: Bring an image back into a file
  ablestack.kvm.ablestack_template:
    name: golden
    state: extracted
    dest: /srv/images/golden.qcow2

- name: Remove a template that nothing uses
  ablestack.kvm.ablestack_template:
    name: debian12
    state: absent
"""

RETURN = r"""
template:
  description: The template, as found afterwards or, in check mode, as it would be. Empty when it is absent.
  returned: success
  type: dict
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
actions:
  description:
    - What was done on each host or, in check mode, would be. When the task fails, C(error.details.actions) tells it of
      the hosts that did not.
  returned: success, unless O(state=extracted)
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: kvm02}
    action:
      description:
        - V(none), V(copied), V(repaired) where an incomplete or damaged copy was, V(replaced) by another image,
          V(described) where only what is said of it changed, or V(removed).
        - V(shared) where another host has done it in storage that they share.
      type: str
      sample: shared
    shared_with: {description: 'That other host, or empty.', type: str, sample: kvm01}
dest:
  description: The file that holds the image.
  returned: success, when O(state=extracted)
  type: str
  sample: /srv/images/golden.qcow2
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
    hint: {description: What to do about it., type: str, sample: 'expunge what uses it first'}
    details: {description: 'More about it, as data.', type: dict, sample: {}}
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.model.outcome import Outcome
from ..module_utils.core.usecase.infrastructure import Infrastructure
from ..module_utils.face.runner import Work, run
from ..module_utils.face.template_options import SOURCES, TEMPLATE_OPTIONS, template_spec


def prepare(options: Mapping[str, Any]) -> Work:
    """Checks the options, and returns what is to be done with them."""
    spec = template_spec(options)

    def work(infrastructure: Infrastructure) -> Outcome:
        from ..module_utils.core.usecase.template import apply_template

        return apply_template(infrastructure, spec)

    return work


def main() -> None:
    run(TEMPLATE_OPTIONS, prepare, mutually_exclusive=SOURCES, required_if=[("state", "extracted", ["dest"])])


if __name__ == "__main__":
    main()
