# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection plugin ablestack_guest_agent: a guest without a network, through its QEMU guest agent."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ablestack_guest_agent
short_description: Reach a guest through its QEMU guest agent
version_added: 0.1.0
author:
  - ABLESTACK contributors (@ablecloud-team)
description:
  - Runs commands in a running virtual machine (VM) and copies files to and from it, through libvirt and the QEMU guest
    agent. The guest needs no network, no SSH server and no password.
  - The guest agent must allow C(guest-exec), C(guest-file-open), C(guest-file-read), C(guest-file-write) and
    C(guest-file-close). Some distributions forbid them in its configuration (C(/etc/sysconfig/qemu-ga) or
    C(/etc/qemu/qemu-ga.conf)).
  - Commands run as the user of the agent, which is root. An agent that does not answer within ten seconds makes the
    host unreachable.
  - The inventory plugin P(ablestack.kvm.ablestack#inventory) sets all that is needed with its option
    C(connection=guest_agent).
requirements:
  - libvirt-python >= 7.0 on the controller
options:
  uri:
    description: Libvirt URI of the VM's host.
    type: str
    default: qemu:///system
    vars:
      - name: ablestack_uri
      - name: ansible_ablestack_uri
  vm:
    description: The VM, by its name or its UUID.
    type: str
    vars:
      - name: inventory_hostname
      - name: ablestack_id
      - name: ansible_ablestack_vm
  command_timeout:
    description:
      - Seconds that one command, or the copying of one file, may take. A guest that claims to be still at it after that
        is given up.
    type: int
    default: 3600
    vars:
      - name: ansible_ablestack_command_timeout
seealso:
  - plugin: ablestack.kvm.ablestack
    plugin_type: inventory
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import is_uuid
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.locate import locate
from ansible_collections.ablestack.kvm.plugins.module_utils.face.connection import checked_uri, open_hosts

PIECE = 256 * 1024
AT_HOME = '[ -n "$HOME" ] || export HOME="$(eval echo "~$(id -un)")"; exec /bin/sh -c "$0"'
"""Runs a command with a home: an agent that systemd started has none, and Ansible keeps its files below `~`."""
UNREACHABLE = (Code.HOST_UNAVAILABLE, Code.AGENT_UNAVAILABLE, Code.NOT_FOUND, Code.INVALID_STATE)


class Connection(ConnectionBase):
    """One guest; the host is connected with the first command."""

    transport = "ablestack.kvm.ablestack_guest_agent"
    has_pipelining = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shell_of_guest: Any = None
        self._open = ExitStack()

    def _connect(self) -> Connection:
        if self._shell_of_guest is None:
            with told():
                catalog = Catalog.of_uri(checked_uri(self.get_option("uri")))
                infrastructure = self._open.enter_context(Infrastructure(catalog, open_hosts(False)))
                vm_id = self._vm_id(infrastructure)
                timeout = self.get_option("command_timeout")
                self._shell_of_guest = infrastructure.host(catalog.hosts[0].name).guest_shell(vm_id, timeout)
            self._connected = True
        return self

    def _vm_id(self, infrastructure: Infrastructure) -> str:
        name = str(self.get_option("vm"))
        if is_uuid(name):
            return name
        found = locate(infrastructure, name)
        found.require_all_hosts(name)
        if found.existing is None:
            raise AblestackError(Code.NOT_FOUND, f"there is no VM '{name}'", "say which by ansible_ablestack_vm")
        return found.existing.id

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        with told():
            words = ("/bin/sh", "-c", AT_HOME, str(cmd))
            answer: tuple[int, bytes, bytes] = self._shell_of_guest.run(words, in_data or b"")
        return answer

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"there is no file {in_path}")
        with told(), open(in_path, "rb") as file:
            self._shell_of_guest.write(str(out_path), pieces(file))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        with told(), open(out_path, "wb") as file:
            for chunk in self._shell_of_guest.read(str(in_path)):
                file.write(chunk)

    def reset(self) -> None:
        self.close()
        self._connect()

    def close(self) -> None:
        self._shell_of_guest = None
        self._connected = False
        self._open.close()


class told:  # noqa: N801 - it is used as a function
    """Errors of ours as Ansible's: a guest that cannot be reached, else a failure."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, AblestackError):
            kind = AnsibleConnectionFailure if error.code in UNREACHABLE else AnsibleError
            raise kind(error.sentence) from None


def pieces(file: Any) -> Iterator[bytes]:
    """A file's content, a little at a time."""
    while chunk := file.read(PIECE):
        yield chunk
