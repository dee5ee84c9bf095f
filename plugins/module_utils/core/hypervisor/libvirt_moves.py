# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves through libvirt: peer-to-peer migration, and what goes along that libvirt leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ..model.migration import GuestNeeds, StateFile, Transfer
from ..model.resources import VolumeFacts, VolumeSpec
from ..model.vm import VmConfig
from ..xml.boot_mapping import nvram_path
from ..xml.host_mapping import PASSTHROUGH, guest_needs, host_processor, new_folder_pool, new_volume, read_volume
from .libvirt_storage import PACKET, LibvirtStorage, send
from .translate import code_of, libvirt

_TPM_FOLDER = "/var/lib/libvirt/swtpm"
_ARCHITECTURE = "x86_64"


class LibvirtMoves(LibvirtStorage):
    """port.Moves."""

    def guest_needs(self, vm_id: str) -> GuestNeeds:
        domain = self._domain(vm_id)
        with self._asks(f"read what {self._vm(vm_id)} needs"):
            needs = guest_needs(domain.XMLDesc(0))
            if needs.cpu == PASSTHROUGH:
                needs = replace(needs, cpu=host_processor(self._connection.getCapabilities()))
        return needs

    def refuses_guest(self, needs: GuestNeeds) -> str:
        reader = self._for_reading()
        with self._asks("tell what it can run"):
            try:
                where = (None, _ARCHITECTURE, needs.machine, needs.virt_type)
                reader.getDomainCapabilities(*where, 0)
                if needs.cpu:
                    # with the flag libvirt says what is missing, and not only that something is
                    reader.compareHypervisorCPU(*where, needs.cpu, libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
            except libvirt.libvirtError as error:
                # an older libvirt has no code for a model or a feature that it has never heard of
                unheard_of = code_of(error, "INTERNAL_ERROR") and "Unknown CPU" in str(error)
                if not (unheard_of or code_of(error, "INVALID_ARG", "CPU_INCOMPATIBLE", "CONFIG_UNSUPPORTED")):
                    raise
                return str(error.get_error_message())
        return ""

    def is_moving(self, vm_id: str) -> bool:
        with self._asks(f"look at the jobs of {self._vm(vm_id)}"):
            try:
                stats = self._connection.lookupByUUIDString(vm_id).jobStats()
            except libvirt.libvirtError as error:
                if not code_of(error, "NO_DOMAIN", "OPERATION_INVALID", "OPERATION_UNSUPPORTED"):
                    raise
                return False
        going = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        return bool(stats.get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE and stats.get("operation") == going)

    def move(self, vm_id: str, transfer: Transfer) -> None:
        domain = self._domain(vm_id)
        flags = libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        parameters: dict[str, Any] = {}
        if not transfer.live:
            flags |= libvirt.VIR_MIGRATE_OFFLINE
        else:
            flags |= libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_AUTO_CONVERGE | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
            # libvirt knows shared storage by the kind of its file system alone. Here both hosts were asked about the
            # very files, which tells more; and QEMU drops its caches of them by itself.
            flags |= libvirt.VIR_MIGRATE_UNSAFE
            if "+tls:" in transfer.peer:
                flags |= libvirt.VIR_MIGRATE_TLS
        if transfer.copies:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_INC
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(transfer.copies)
        with self._asks(f"hand over {self._vm(vm_id)} to {transfer.peer}"):
            domain.migrateToURI3(transfer.peer, parameters, flags)
        self._forget(vm_id)

    def fresh_volume(self, pool: str, name: str) -> VolumeFacts | None:
        self._pool(pool)  # says what is wrong with it
        with self._asks(f"look for volume '{name}' in pool '{pool}'"):
            handle = self._for_reading().storagePoolLookupByName(pool)
            self._refresh(handle)
            try:
                return read_volume(handle.storageVolLookupByName(name).XMLDesc(0), pool)
            except libvirt.libvirtError as error:
                if code_of(error, "NO_STORAGE_VOL"):
                    return None
                raise

    # Firmware variables and TPM state have no call of their own in libvirt. They lie in folders of its own on every
    # host, and a folder can be a pool for as long as it takes.

    def firmware_state(self, config: VmConfig, kinds: tuple[str, ...]) -> tuple[StateFile, ...]:
        files = []
        for folder, wanted in _state_folders(config, kinds):
            with self._folder(config, folder, make=False) as pool:
                for volume in pool.listAllVolumes(0) if pool else ():
                    name = volume.name()
                    if wanted in ("", name) and not name.startswith("."):
                        changed = read_volume(volume.XMLDesc(0), "").changed
                        files.append(StateFile(folder, name, self._content(volume), changed))
        return tuple(files)

    def _content(self, volume: Any) -> bytes:
        stream = self._for_reading().newStream(0)
        volume.download(stream, 0, 0, 0)
        content = b""
        try:
            while chunk := stream.recv(PACKET):
                content += chunk
        except BaseException:
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise
        stream.finish()
        return content

    def put_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        for file in files:
            with self._folder(config, file.folder, make=True) as pool:
                with suppress(libvirt.libvirtError):
                    pool.storageVolLookupByName(file.name).delete(0)
                volume = pool.createXML(new_volume(VolumeSpec("", file.name, len(file.content), "raw", fat=True)), 0)
                stream = self._connection.newStream(0)
                volume.upload(stream, 0, 0, 0)
                try:
                    send(stream, file.content)
                    stream.finish()
                except BaseException:
                    with suppress(libvirt.libvirtError):
                        stream.abort()
                    raise

    def drop_firmware_state(self, config: VmConfig, files: tuple[StateFile, ...]) -> None:
        for file in files:
            with self._folder(config, file.folder, make=False) as pool:
                try:
                    if pool:
                        pool.storageVolLookupByName(file.name).delete(0)
                except libvirt.libvirtError as error:
                    if not code_of(error, "NO_STORAGE_VOL"):
                        raise

    @contextmanager
    def _folder(self, config: VmConfig, folder: str, make: bool) -> Iterator[Any]:
        """A folder of the host as a pool that is gone afterwards; None where there is no such folder."""
        reader = self._for_reading()
        pool, ours = None, False
        with self._asks(f"look into {folder}"):
            try:
                pool = reader.storagePoolLookupByTargetPath(folder)
                self._refresh(pool)
            except libvirt.libvirtError as error:
                if not code_of(error, "NO_STORAGE_POOL"):
                    raise
            if pool is None:
                text = new_folder_pool(f"ablestack-state-{config.id}", folder)
                flags = libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD if make else 0
                try:
                    pool, ours = reader.storagePoolCreateXML(text, flags), True
                except libvirt.libvirtError as error:
                    if make or "No such file or directory" not in str(error):
                        raise
            try:
                yield pool
            finally:
                if pool and ours:
                    with suppress(libvirt.libvirtError):
                        pool.destroy()


def _state_folders(config: VmConfig, kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The folders of that state, and the file there that it is: empty where all are."""
    for kind in kinds:
        if kind == "tpm":
            yield f"{_TPM_FOLDER}/{config.id}/tpm2", ""
        else:
            folder, _slash, name = nvram_path(replace(config, boot_mode=kind)).rpartition("/")
            yield folder, name
