# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin ablestack: the VMs of one KVM host or of all hosts of a catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ablestack
short_description: Virtual machines on KVM hosts
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Lists the virtual machines (VMs) of one KVM host, or of all hosts of the catalog, with the addresses to reach them
    at. It asks libvirt alone, all hosts at once, and changes nothing.
  - The name of the source's file must end in C(ablestack.yml) or C(ablestack.yaml).
  - Every VM is in the group C(ablestack). It has the variable C(ansible_host), where an address is known, and a
    variable C(ablestack_<field>) for each field that M(ablestack.kvm.ablestack_vm_info) returns of a VM, such as
    C(ablestack_state), C(ablestack_zone) and C(ablestack_labels). Their values are marked as unsafe - whatever is in
    them is never taken for a template.
  - A host that cannot be reached is a warning, and the VMs of the others are listed.
  - With a cache, an answer that lacks a host or a VM is kept for five minutes at most, and its warnings are repeated.
  - Of several VMs with the same name, one that is managed and not destroyed keeps it. To the names of the others the
    beginning of their id is added, with a warning.
extends_documentation_fragment:
  - ablestack.kvm.connection
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Must be V(ablestack.kvm.ablestack).
    type: str
    required: true
    choices: [ablestack.kvm.ablestack]
  catalog_file:
    description:
      - A YAML or JSON file with the catalog. A relative path begins at the folder of the source's own file.
    type: path
  states:
    description: States of the VMs to list. An empty list stands for all.
    type: list
    elements: str
    choices: [Running, Stopped, Paused, Starting, Stopping, Migrating, Destroyed, Expunging, Error]
    default: [Running]
  include_unmanaged:
    description: Whether VMs are listed too that this collection did not make.
    type: bool
    default: false
  hostnames:
    description:
      - What becomes the VM's name in the inventory. The first in the list that is not empty is taken, and its name if
        all are.
      - Each is V(name), V(display_name), V(id), or a template such as V({{ ablestack_name }}.{{ ablestack_zone }}).
    type: list
    elements: str
    default: [name]
  address_sources:
    description:
      - Where addresses are looked for, in this order, until each network interface of a running VM has one.
      - V(reservation), the address that the user asked for when the VM was made. This costs nothing. Where libvirt's
        DHCP serves the network, it hands out no other. On other networks nobody knows whether the guest took it, so it
        counts there only when no other source knows better, wherever it is in the list.
      - V(lease), what libvirt's DHCP handed out. One look for all VMs of a network.
      - V(agent), what the guest agent says. Only agents that are connected are asked, and only of VMs that this
        collection made, since libvirt keeps the limit on an agent's time with the VM. One that does not answer is given
        up, all agents of a host together after 2.5 seconds; then the next source is asked.
      - V(arp), what the host's neighbour table says.
      - By default agents come after the sources that cost a call for each network or none, since an agent costs a call
        for each VM, and one that hangs has to be waited for.
      - Addresses of the loopback and link-local ones are left out, and an IPv4 address is preferred.
    type: list
    elements: str
    choices: [reservation, lease, agent, arp]
    default: [reservation, lease, agent, arp]
  connection:
    description:
      - How Ansible reaches the VMs.
      - V(ssh) leaves C(ansible_connection) alone, which makes it SSH.
      - V(guest_agent) sets it to P(ablestack.kvm.ablestack_guest_agent#connection), for guests without a network.
    type: str
    choices: [ssh, guest_agent]
    default: ssh
  hostvars:
    description:
      - Fields that become variables of hosts, with or without the prefix C(ablestack_). The default is all.
      - Templates may use all fields, whatever is listed here.
    type: list
    elements: str
  filters:
    description:
      - Values that fields of the VMs must have, all of them. A list of values lets any of them pass.
      - The fields are V(zone), V(pod), V(cluster), V(host), V(name), V(display_name), V(id), V(group), V(labels) (a
        dictionary), V(template), V(iso), V(compute_offering), V(affinity_groups), V(networks), V(ssh_key_pairs),
        V(boot_type), V(boot_mode), V(tpm), V(protected), V(autostart), V(managed), V(state), V(uri), V(cpu), V(memory)
        (in MiB), V(dynamic_scaling), V(snapshots), V(created), V(destroyed_at) and V(expunge_at).
      - A field without a value lists the VMs of which it is empty.
      - With V(state), O(states) lists all unless it is given too.
      - Hosts outside of the zones, pods and clusters given are not asked at all.
    type: dict
    default: {}
  strict:
    description:
      - If V(true), a host that cannot be reached, a VM that cannot be read, a name that is taken twice, and a template
        that fails are errors. Otherwise the first three are warnings, and the template is passed over.
      - Agents that there was no time to ask are a warning in both cases.
    type: bool
    default: false
seealso:
  - module: ablestack.kvm.ablestack_vm_info
  - plugin: ablestack.kvm.ablestack_guest_agent
    plugin_type: connection
"""

EXAMPLES = r"""
# ablestack.yml: the running VMs of the machine's own libvirt
plugin: ablestack.kvm.ablestack

---
# seoul.ablestack.yml: the running web and database servers of a zone, in the groups that people think in
plugin: ablestack.kvm.ablestack
catalog_file: catalog.yml
filters:
  zone: seoul
  labels:
    role: [web, db]
keyed_groups:
  - key: ablestack_zone # zone_seoul
    prefix: zone
  - key: ablestack_cluster # cluster_cluster1
    prefix: cluster
  - key: ablestack_host # host_kvm01
    prefix: host
  - key: ablestack_group # group_shop
    prefix: group
  - key: ablestack_template # template_debian12
    prefix: template
  - key: ablestack_compute_offering # offering_small
    prefix: offering
  - key: ablestack_nics | map(attribute='network') | unique | list # network_lan
    prefix: network
  - key: ablestack_affinity_groups # affinity_web
    prefix: affinity
  - key: ablestack_labels # label_role_web
    prefix: label
  - key: ablestack_state # state_Running
    prefix: state

---
# everything.ablestack.yml: VMs of all states, from a cache that is kept for five minutes
plugin: ablestack.kvm.ablestack
catalog_file: catalog.yml
states: []
include_unmanaged: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ablestack-inventory
cache_timeout: 300

---
# management.ablestack.yml: names with the zone in them, addresses of the management network, few variables
plugin: ablestack.kvm.ablestack
catalog:
  hosts:
    - name: kvm01
      uri: qemu+ssh://root@kvm01/system
      zone: seoul
hostnames: ["{{ ablestack_name }}.{{ ablestack_zone }}"]
hostvars: [name, host, labels]
address_sources: [lease, agent]
compose:
  ansible_host: (ablestack_nics | selectattr('network', 'equalto', 'management') | first).ip
  ansible_user: "'admin' if ablestack_template is match('ubuntu') else 'root'"
groups:
  databases: ablestack_labels.role | default('') == 'db'

---
# maintenance.ablestack.yml: for playbooks that take one VM of each anti-affinity group at a time. In the groups
# wave_1, wave_2 and so on, no two VMs stand in for each other, as long as they are named web-1, web-2 and so on:
#   ansible-playbook patch.yml --limit wave_1 && ansible-playbook patch.yml --limit wave_2
plugin: ablestack.kvm.ablestack
catalog_file: catalog.yml
keyed_groups:
  - key: ablestack_affinity_groups
    prefix: affinity
  - key: (ablestack_name | regex_search('[0-9]+$') or '0') | int | string
    prefix: wave

---
# isolated.ablestack.yml: guests without a network
plugin: ablestack.kvm.ablestack
catalog_file: catalog.yml
filters:
  networks: isolated
connection: guest_agent
"""

import os
from collections.abc import Iterable, Mapping
from time import time
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, invalid
from ansible_collections.ablestack.kvm.plugins.module_utils.face.checks import known_keys
from ansible_collections.ablestack.kvm.plugins.module_utils.face.inventory import Source, host_names

GROUP = "ablestack"
INCOMPLETE_SECONDS = 300
OPTIONS = (
    *("uri", "catalog", "states", "include_unmanaged", "address_sources", "connection", "hostvars", "filters"),
    *("hostnames", "compose", "groups", "keyed_groups", "strict"),
)


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Options in, one listing, hosts and groups out."""

    NAME = "ablestack.kvm.ablestack"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("ablestack.yml", "ablestack.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        try:
            known_keys(config, self.option_definitions, os.path.basename(path))
        except AblestackError as error:
            raise AnsibleParserError(error.sentence) from None
        options = {name: self.get_option(name) for name in OPTIONS}
        # as it is written: Ansible would make it absolute from the current folder
        options["catalog_file"] = config.get("catalog_file")
        if "states" not in config and "state" in (options["filters"] or {}):
            options["states"] = []  # the filter says which
        try:
            source = Source(options, os.path.dirname(os.path.abspath(path)), os.environ)
            self._add(source, self._answer(source, path, cache), options)
        except AblestackError as error:
            raise AnsibleParserError(error.sentence) from None

    def _answer(self, source: Source, path: str, cache: bool) -> dict[str, Any]:
        """The VMs and the warnings, from the cache where it knows, else from the hosts."""
        caching, key = self.get_option("cache"), self.get_cache_key(path)
        if caching and cache:
            kept = self._cache.get(key)
            if isinstance(kept, Mapping) and kept.get("asked") == source.asked and _is_fresh(kept):
                return dict(kept)
        outcome = source.read()
        left_out = list(outcome.result["left_out"])
        told = [text for text in outcome.warnings if text not in left_out]
        vms = outcome.result["vms"]
        answer = {"asked": source.asked, "at": time(), "vms": vms, "left_out": left_out, "told": told}
        if caching:
            self._cache[key] = answer
        return answer

    def _add(self, source: Source, answer: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        every = [unsafe(source.all_variables(vm)) for vm in answer["vms"]]
        chosen = [(self._name(options["hostnames"], variables), vm) for variables, vm in zip(every, answer["vms"])]
        names, clashes = host_names(chosen)
        for problem in (*answer["left_out"], *clashes):
            if options["strict"]:
                raise AnsibleParserError(problem)
            self.display.warning(problem)
        for text in answer["told"]:
            self.display.warning(text)
        self.inventory.add_group(GROUP)
        for name, variables in zip(names, every):
            host = self.inventory.add_host(unsafe(name), group=GROUP)
            # All at once: checked one by one, thirty variables of a thousand VMs would take as long as reading those.
            self.inventory.get_host(host).vars.update(source.host_variables(variables))
            self._construct(host, variables, options)

    def _construct(self, host: str, variables: dict[str, Any], options: Mapping[str, Any]) -> None:
        strict = options["strict"]
        if options["compose"]:
            self._set_composite_vars(options["compose"], variables, host, strict=strict)
        if options["groups"] or options["keyed_groups"]:
            variables = {**variables, **self.inventory.get_host(host).get_vars()}
            self._add_host_to_composed_groups(options["groups"], variables, host, strict, fetch_hostvars=False)
            self._add_host_to_keyed_groups(options["keyed_groups"], variables, host, strict, fetch_hostvars=False)

    def _name(self, preferences: Iterable[str], variables: Mapping[str, Any]) -> str:
        """The first preference that is not empty, else the VM's name."""
        for wanted in preferences:
            if "{{" in wanted or "{%" in wanted:
                name = self._rendered(wanted, variables)
            elif wanted in ("name", "display_name", "id"):
                name = variables[f"ablestack_{wanted}"]
            else:
                raise invalid(f"'{wanted}' in hostnames is no name", "it may be name, display_name, id or a template")
            if name:
                return str(name)
        return str(variables["ablestack_name"])

    def _rendered(self, template: str, variables: Mapping[str, Any]) -> str:
        self.templar.available_variables = variables
        try:
            return str(self.templar.template(template)).strip()
        except Exception as error:  # noqa: BLE001 - whatever a template can raise
            if self.get_option("strict"):
                raise AnsibleParserError(f"the template '{template}' in hostnames fails: {error}") from None
            return ""


def _is_fresh(kept: Mapping[str, Any]) -> bool:
    """An answer that lacks a host or a VM is soon asked for again: it may be back."""
    return not kept["left_out"] or time() < kept["at"] + INCOMPLETE_SECONDS


def unsafe(value: Any) -> Any:
    """Marks what comes from hosts and guests, so that no text in it is ever taken for a template.

    From ansible-core 2.19 on, only what is marked as trusted is one.
    """
    if hasattr(BaseInventoryPlugin, "trusted_by_default"):
        return value
    from ansible.utils.unsafe_proxy import wrap_var

    return wrap_var(value)
