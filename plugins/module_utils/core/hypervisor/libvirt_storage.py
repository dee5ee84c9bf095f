# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage through libvirt: pools of files, and the volumes in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, Callable, TypeVar

from ..model.errors import AblestackError, Code, invalid
from ..model.resources import FILE_POOLS, FOLDER, PoolFacts, PoolState, VolumeFacts, VolumeSpec
from ..model.values import gib
from ..xml.host_mapping import new_folder_pool, new_volume, read_pool, read_volume
from .connection import Session
from .translate import code_of, libvirt

T = TypeVar("T")

PACKET = 262120
"""Bytes that fit into one message of libvirt's protocol; more is sent in several."""
BUSY_TIMEOUT = 60.0
"""Seconds to wait for somebody else's volume job to end, for a pool cannot be refreshed meanwhile."""
_QCOW2_MAGIC = b"QFI\xfb"


class LibvirtStorage(Session):
    """port.Storage and port.Pools. Handles are kept by name; a volume not found is looked for anew after a refresh."""

    _pools: dict[str, Any]
    _volumes: dict[tuple[str, str], Any]

    def pool(self, name: str, anew: bool = False) -> PoolFacts:
        handle = self._pool(name)
        with self._asks(f"read pool '{name}'"):
            if anew:  # libvirt does not see what others write and delete
                self._refresh(self._for_reading().storagePoolLookupByName(name))
            facts = read_pool(handle.XMLDesc(0))
        if facts.type not in FILE_POOLS:
            raise AblestackError(
                Code.UNSUPPORTED,
                f"pool '{name}' on host '{self.spec.name}' is of type {facts.type}",
                f"use a pool of files, of type {', '.join(FILE_POOLS)}",
            )
        return facts

    def _active_pools(self) -> dict[str, Any]:
        with self._asks("list its storage pools"):
            handles = self._connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        self._pools = {handle.name(): handle for handle in handles}
        return self._pools

    def _pool(self, name: str) -> Any:
        """The handle of an active pool: the list tells that it is, at the price of a look-up."""
        if name not in self._pools and name not in self._active_pools():
            self._refuse_pool(name)
        return self._pools[name]

    def _refuse_pool(self, name: str) -> None:
        with self._asks("list its storage pools"):
            known = sorted(handle.name() for handle in self._connection.listAllStoragePools(0))
        if name in known:
            raise AblestackError(
                Code.INVALID_STATE, f"pool '{name}' on host '{self.spec.name}' is not active", "start the pool"
            )
        raise AblestackError(
            Code.NOT_FOUND,
            f"host '{self.spec.name}' has no storage pool '{name}'",
            f"it has: {', '.join(known) or 'none'}",
        )

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        with self._asks(f"read volume '{name}' of pool '{pool}'"):
            return self._on_volume(pool, name, lambda handle: read_volume(handle.XMLDesc(0), pool))

    def volume_names(self, pool: str) -> tuple[str, ...]:
        handle = self._pool(pool)
        with self._asks(f"list the volumes of pool '{pool}'"):
            found = {volume.name(): volume for volume in handle.listAllVolumes(0)}
        self._volumes.update({(pool, name): volume for name, volume in found.items()})
        return tuple(sorted(found))

    def _on_volume(self, pool: str, name: str, work: Callable[[Any], T]) -> T | None:
        """What `work` makes of the volume's handle; None where there is no such volume, also after a refresh."""
        pool_handle = self._pool(pool)
        for refreshed in (False,) if self.read_only else (False, True):  # a refresh counts as a write
            if refreshed:
                self._refresh(pool_handle)
            try:
                if (pool, name) not in self._volumes:
                    self._volumes[pool, name] = pool_handle.storageVolLookupByName(name)
                return work(self._volumes[pool, name])
            except libvirt.libvirtError as error:
                # in a shared pool another host may have deleted the file, which libvirt's own list shows later
                gone = code_of(error, "SYSTEM_ERROR") and "No such file or directory" in str(error)
                if not (gone or code_of(error, "NO_STORAGE_VOL")):
                    raise
                self._volumes.pop((pool, name), None)
        return None

    def _on_existing(self, pool: str, name: str, work: Callable[[Any], T]) -> T:
        """The same for a volume that has to be there."""
        found: list[T] = []
        self._on_volume(pool, name, lambda handle: found.append(work(handle)))
        if not found:
            raise AblestackError(
                Code.NOT_FOUND,
                f"pool '{pool}' on host '{self.spec.name}' has no volume '{name}'",
                "ablestack_volume_info lists those there are",
                pool=pool,
                volume=name,
            )
        return found[0]

    @staticmethod
    def _refresh(pool_handle: Any) -> None:
        until = monotonic() + BUSY_TIMEOUT
        while True:
            try:
                pool_handle.refresh(0)
                return
            except libvirt.libvirtError as error:
                # said with no code of its own
                if "asynchronous jobs" not in str(error) or monotonic() > until:
                    raise
            sleep(0.1)

    def create_volume(self, volume: VolumeSpec) -> None:
        pool = self._pool(volume.pool)
        if volume.format == "raw":
            # It is made to be uploaded to, and a full disk must show now: libvirtd 11.3 crashes where it does then.
            volume = replace(volume, fat=True)
        full = volume.fat and volume.format == "qcow2" and not volume.backing
        flags = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA if full else 0
        self._make(volume, "create", lambda text: pool.createXML(text, flags))

    def clone_volume(self, volume: VolumeSpec, source: str) -> None:
        pool = self._pool(volume.pool)
        source_pool, _slash, source_name = source.partition("/")

        def clone(text: str) -> Any:
            return self._on_existing(source_pool, source_name, lambda handle: pool.createXMLFrom(text, handle, 0))

        self._make(volume, "clone", clone)
        self._grow_clone(volume)

    def _grow_clone(self, volume: VolumeSpec) -> None:
        """A qcow2 clone gets from libvirt its source's size, whatever was asked for."""
        made = self._volumes[volume.pool, volume.name]
        with self._asks(f"resize volume '{volume.name}' of pool '{volume.pool}'"):
            try:
                if made.info()[1] < volume.capacity:
                    made.resize(volume.capacity, 0)
            except libvirt.libvirtError:
                with suppress(libvirt.libvirtError):
                    made.delete(0)
                raise

    def _make(self, volume: VolumeSpec, verb: str, make: Callable[[str], Any]) -> None:
        with self._asks(f"{verb} volume '{volume.name}' in pool '{volume.pool}'"):
            try:
                self._volumes[volume.pool, volume.name] = make(new_volume(volume))
            except libvirt.libvirtError as error:
                # a file the pool had not seen yet is said to be an invalid operation
                taken = code_of(error, "STORAGE_VOL_EXIST") or (
                    code_of(error, "OPERATION_INVALID", "OPERATION_FAILED", "SYSTEM_ERROR")
                    and self._on_volume(volume.pool, volume.name, bool)
                )
                if not taken:
                    raise
                raise AblestackError(
                    Code.ALREADY_EXISTS,
                    f"pool '{volume.pool}' on host '{self.spec.name}' has a volume '{volume.name}' already",
                    "choose another name, or remove that volume if nothing needs it",
                    pool=volume.pool,
                    volume=volume.name,
                ) from None

    def resize_volume(self, pool: str, name: str, size: int) -> None:
        with self._asks(f"resize volume '{name}' of pool '{pool}'"):
            self._on_existing(pool, name, lambda handle: _grow(handle, f"volume '{name}' of pool '{pool}'", size))

    def delete_volume(self, pool: str, name: str) -> bool:
        with self._asks(f"delete volume '{name}' of pool '{pool}'"):
            done = self._on_volume(pool, name, lambda handle: handle.delete(0) == 0)
        self._volumes.pop((pool, name), None)
        return bool(done)

    def upload(self, pool: str, name: str, chunks: Iterable[bytes]) -> None:
        with self._asks(f"write volume '{name}' of pool '{pool}'"):
            stream = self._connection.newStream(0)
            self._on_existing(pool, name, lambda handle: handle.upload(stream, 0, 0, 0))
            try:
                head = b""
                for chunk in chunks:
                    head = (head + chunk[: len(_QCOW2_MAGIC)])[: len(_QCOW2_MAGIC)]
                    send(stream, chunk)
                stream.finish()
            except BaseException:
                with suppress(libvirt.libvirtError):
                    stream.abort()
                raise
            if head == _QCOW2_MAGIC:  # made as so many raw bytes: let libvirt see what they turned out to be
                self._refresh(self._pool(pool))

    def _readable(self, handle: Any) -> Any:
        """The same volume on a connection that may read its content."""
        return self._for_reading().storageVolLookupByKey(handle.key()) if self.read_only else handle

    def download(self, pool: str, name: str) -> Iterator[bytes]:
        with self._asks(f"read the content of volume '{name}' of pool '{pool}'"):
            stream = self._for_reading().newStream(0)
            self._on_existing(pool, name, lambda handle: self._readable(handle).download(stream, 0, 0, 0))
            try:
                while chunk := stream.recv(PACKET):
                    yield chunk
                stream.finish()  # says whether that was all of it
            except BaseException:
                with suppress(libvirt.libvirtError):
                    stream.abort()
                raise

    # the pools themselves

    def pool_state(self, name: str) -> PoolState | None:
        with self._asks(f"read pool '{name}'"):
            try:
                handle = self._connection.storagePoolLookupByName(name)
            except libvirt.libvirtError as error:
                if not code_of(error, "NO_STORAGE_POOL"):
                    raise
                return None
            facts = read_pool(handle.XMLDesc(0))
            return PoolState(name, facts.type, facts.path, bool(handle.isActive()), bool(handle.autostart()))

    def define_pool(self, name: str, path: str) -> None:
        # libvirt would take a definition of the same name for a change of the one that is there
        if self.pool_state(name) is not None:
            raise AblestackError(
                Code.ALREADY_EXISTS, f"host '{self.spec.name}' has a pool '{name}' already", "run the task again"
            )
        with self._asks(f"define pool '{name}'"):
            handle = self._connection.storagePoolDefineXML(new_folder_pool(name, path), 0)
            try:
                handle.build(0)  # for a folder: to make it where it is missing
            except libvirt.libvirtError:
                with suppress(libvirt.libvirtError):
                    handle.undefine()
                raise

    def start_pool(self, name: str) -> None:
        state = self.pool_state(name)
        if state is None:
            raise AblestackError(
                Code.NOT_FOUND, f"host '{self.spec.name}' has no storage pool '{name}'", "make it with ablestack_pool"
            )
        if state.active:
            return
        with self._asks(f"start pool '{name}'"):
            try:
                self._connection.storagePoolLookupByName(name).create(0)
            except libvirt.libvirtError as error:
                # never made here: it would hide that the disk it belongs on is not mounted
                if state.type != FOLDER or "No such file or directory" not in str(error):
                    raise
                raise AblestackError(
                    Code.NOT_FOUND,
                    f"the folder {state.path} of pool '{name}' is missing on host '{self.spec.name}'",
                    "mount the disk that it is on, or make the folder",
                ) from None

    def set_pool_autostart(self, name: str, on: bool) -> None:
        with self._asks(f"set the autostart of pool '{name}'"):
            self._connection.storagePoolLookupByName(name).setAutostart(on)


def _grow(handle: Any, what: str, size: int) -> None:
    refuse_to_shrink(what, handle.info()[1], size)
    handle.resize(size, 0)


def refuse_to_shrink(what: str, have: int, size: int) -> None:
    """InvalidInput where it has more: libvirt shrinks what a running guest has at one word, with all data beyond."""
    if have > size:
        raise invalid(
            f"{what} has {gib(have)} GiB and cannot shrink to {gib(size)} GiB",
            "disks only grow: ask for at least what it has",
        )


def send(stream: Any, chunk: bytes) -> None:
    """All of a chunk: libvirt may take less than it is given."""
    at = 0
    while at < len(chunk):
        at += stream.send(chunk[at : at + PACKET])
