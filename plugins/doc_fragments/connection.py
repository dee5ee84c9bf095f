# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the options by which every module finds its hosts."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - The libvirt URI of the one KVM host to work on.
      - For example V(qemu:///system), V(qemu+ssh://root@kvm01/system) or V(qemu+tls://kvm01/system).
      - Without O(uri), O(catalog), O(catalog_file) and the environment variable E(ABLESTACK_CATALOG), it is
        V(qemu:///system).
      - Mutually exclusive with O(catalog) and O(catalog_file).
    type: str
  catalog:
    description:
      - The infrastructure and what is offered on it, as plain data.
      - V(hosts) is required. Each entry has V(name) and V(uri), and may have V(zone), V(pod), V(cluster) (each
        V(default) when left out), V(tags), V(state) (V(enabled), V(disabled) or V(maintenance)), V(pool) and
        V(template_pool) (libvirt storage pools), V(shared_pools) (those that hold the same files on every host that
        names them so), V(virt_type) (V(auto), V(kvm) or V(qemu)), V(cpu_mode) and V(migration_uri) (how other hosts
        reach it, where not by V(uri)).
      - V(compute_offerings), V(disk_offerings), V(ssh_key_pairs), V(affinity_groups) and V(settings) are optional.
      - An unknown key is an error that names the nearest valid one.
      - Set it once for all modules, in C(module_defaults) of the group C(ablestack.kvm.ablestack).
      - Mutually exclusive with O(uri) and O(catalog_file).
    type: dict
  catalog_file:
    description:
      - A YAML or JSON file with the same data, on the machine where the module runs.
      - Without O(uri), O(catalog) and O(catalog_file), the file named by the environment variable
        E(ABLESTACK_CATALOG) is read, where that is set; a relative path in it begins at the folder that the command
        is run in.
      - Mutually exclusive with O(uri) and O(catalog).
    type: path
requirements:
  - python >= 3.9
  - libvirt-python >= 7.0
"""
