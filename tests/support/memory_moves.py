# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves between hosts in memory: the port's Moves over the states of both."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.migration import (
    GuestNeeds,
    StateFile,
    Transfer,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import VolumeFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power, VmConfig

from .memory_calls import Calls, reads, writes
from .memory_state import MemoryDomain, MemoryPool, MemoryState, MemoryVolume


class MemoryMoves(Calls):
    """port.Moves. A call killed half way leaves what a daemon leaves that dies then: the domain on both hosts."""

    spec: HostSpec
    _domain: Callable[[str], MemoryDomain]
    _pool: Callable[[str], MemoryPool]

    @reads
    def guest_needs(self, vm_id: str) -> GuestNeeds:
        domain = self._domain(vm_id)
        return GuestNeeds("q35", domain.config.virt_type, "a processor" if domain.active else "")

    @reads
    def refuses_guest(self, needs: GuestNeeds) -> str:
        return self.state.lacks if needs.cpu else ""

    @reads
    def is_moving(self, vm_id: str) -> bool:
        domain = self.state.domains.get(vm_id)
        if domain is None or not domain.moves_for:
            return False
        domain.moves_for -= 1
        return True

    @writes
    def move(self, vm_id: str, transfer: Transfer) -> None:
        domain = self._domain(vm_id)
        if transfer.peer not in self.state.peers:
            raise AblestackError(Code.HOST_UNAVAILABLE, f"'{self.spec.name}' cannot reach {transfer.peer}")
        target = self.state.peers[transfer.peer]
        if domain.kept or domain.snapshots:
            raise AblestackError(Code.INVALID_STATE, "cannot migrate domain with snapshots")
        if transfer.live is not domain.active:
            raise AblestackError(Code.INVALID_STATE, "domain is not running" if transfer.live else "domain is running")
        if vm_id in target.domains:
            raise AblestackError(Code.ALREADY_EXISTS, "the domain is there already")
        arrived = replace(domain, autostart=False, guest=copy(domain.guest))
        if transfer.live:
            self._carry(domain, target, transfer)
            self._carry_state(domain.config, target)
        target.domains[vm_id] = arrived
        if domain.active:
            domain.power = Power.PAUSED
        self.interruption()
        del self.state.domains[vm_id]
        self.state.files.pop((vm_id, "tpm"), None)  # libvirt takes it along, or away

    def _carry(self, domain: MemoryDomain, target: MemoryState, transfer: Transfer) -> None:
        """Every disk is there for the guest on the other host; of those that are copied the content comes along."""
        for disk in (domain.live or domain.config).disks:
            if not disk.path:
                continue
            there, here = target.volume_at(disk.path), self.state.volume_at(disk.path)
            if there is None or here is None:
                raise AblestackError(Code.INTERNAL, f"cannot access storage file '{disk.path}'")
            if disk.target in transfer.copies:
                there.content = here.content
            elif there is not here and disk.kind == "disk":
                raise AblestackError(Code.INTERNAL, f"'{disk.path}' is another file there: the guest would be torn")

    def _carry_state(self, config: VmConfig, target: MemoryState) -> None:
        for key in state_keys(config):
            if key in self.state.files:
                target.files[key] = replace(self.state.files[key], changed=MemoryVolume().changed)

    @reads
    def fresh_volume(self, pool: str, name: str) -> VolumeFacts | None:
        found = self._pool(pool)
        return found.volume_facts(name) if name in found.volumes else None

    @reads
    def firmware_state(self, config: VmConfig, kinds: tuple[str, ...]) -> tuple[StateFile, ...]:
        return tuple(self.state.files[config.id, kind] for kind in kinds if (config.id, kind) in self.state.files)

    @writes
    def put_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        for file in files:
            self.state.files[file.folder, file.name] = replace(file, changed=MemoryVolume().changed)

    @writes
    def drop_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        for file in files:
            self.state.files.pop((file.folder, file.name), None)


def state_keys(config: VmConfig) -> list[tuple[str, str]]:
    """The files that a VM's firmware and TPM have once it ran."""
    return [(config.id, kind) for kind in config.boot_state]


def start_state(state: MemoryState, config: VmConfig) -> None:
    """What a first start makes of firmware and TPM."""
    for key in state_keys(config):
        state.files.setdefault(key, StateFile(*key, content=f"first {key}".encode(), changed=MemoryVolume().changed))


def forget_state(state: MemoryState, config: VmConfig, kinds: tuple[str, ...]) -> None:
    """What goes with the definition."""
    for kind in kinds:
        state.files.pop((config.id, kind), None)
