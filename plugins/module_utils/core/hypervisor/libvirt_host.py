# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connected KVM host: the port through libvirt, put together, and the host's own facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

from ..model.catalog import HostSpec
from ..model.resources import HostFacts
from ..xml.host_mapping import read_abilities, read_pool
from .connection import close_connection
from .libvirt_devices import LibvirtDevices
from .libvirt_domains import LibvirtDomains
from .libvirt_moves import LibvirtMoves
from .libvirt_networks import LibvirtNetworks
from .libvirt_power import Events
from .libvirt_snapshots import LibvirtSnapshots
from .translate import code_of, libvirt

MACHINE = "q35"


class LibvirtHost(LibvirtDomains, LibvirtDevices, LibvirtSnapshots, LibvirtNetworks, LibvirtMoves):
    """port.Host."""

    def __init__(self, spec: HostSpec, connection: Any, read_only: bool, open_reader: Callable[[], Any]) -> None:
        super().__init__(spec, connection, read_only, open_reader)
        self._events = Events(connection)
        self._pools = {}
        self._volumes = {}
        self._abilities: HostFacts | None = None
        self._facts: HostFacts | None = None
        self._facts_lock = Lock()
        self._closed = False

    def abilities(self) -> HostFacts:
        with self._facts_lock:
            if self._abilities is None:
                self._abilities = self._read_abilities()
            return self._abilities

    def _read_abilities(self) -> HostFacts:
        """Of the way of running guests that the host itself prefers; nothing where its driver cannot tell."""
        nothing = HostFacts(spec=self.spec, cpus=0, memory=0, machine=MACHINE)
        with self._asks("tell what it can do"):
            try:
                text = self._for_reading().getDomainCapabilities(None, None, MACHINE, None, 0)
            except libvirt.libvirtError as error:
                if code_of(error, "NO_SUPPORT"):
                    return nothing
                raise
        found = read_abilities(text)
        return replace(nothing, virt_types=found.virt_types, firmware=found.firmware, tpm=found.tpm)

    def facts(self, fresh: bool = False) -> HostFacts:
        with self._facts_lock:
            if self._facts is not None and not fresh:
                return self._facts
        facts = self._read_facts()
        with self._facts_lock:
            self._facts = facts
        return facts

    def _read_facts(self) -> HostFacts:
        with self._asks("tell what it is"):
            _arch, memory, cpus = self._connection.getInfo()[:3]
            stats = libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON
            flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            # a busy guest is counted by its definition instead of being waited for
            flags |= libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            running = [row for _domain, row in self._connection.getAllDomainStats(stats, flags)]
        return HostFacts(
            spec=self.spec,
            cpus=cpus,
            memory=memory,
            used_cpus=sum(row.get("vcpu.current", 0) for row in running),
            # what a guest has, without the room it may grow into
            used_memory=sum(row.get("balloon.current", row.get("balloon.maximum", 0)) for row in running) // 1024,
            running=len(running),
        )

    def details(self) -> HostFacts:
        facts, abilities = self.facts(), self.abilities()
        with self._asks("tell its versions and pools"):
            versions = self._connection.getLibVersion(), self._connection.getVersion()
            pools = [read_pool(handle.XMLDesc(0)) for handle in self._active_pools().values()]
        return replace(
            facts,
            virt_types=abilities.virt_types,
            firmware=abilities.firmware,
            tpm=abilities.tpm,
            libvirt_version=_version(versions[0]),
            hypervisor_version=_version(versions[1]),
            pools={pool.name: pool for pool in pools},
            networks=self.networks(),
        )

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._events.close()
        for connection in (self._connection, self._reader):
            if connection is not None:
                close_connection(connection)


def _version(number: int) -> str:
    """A version as people write it: libvirt counts in millions and thousands."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
