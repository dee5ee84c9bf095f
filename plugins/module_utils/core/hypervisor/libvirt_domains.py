# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains through libvirt: listing, reading, defining, renaming, and our record in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from time import monotonic, sleep
from typing import Any, TypeVar

from ..model.errors import AblestackError, Code, answer_of
from ..model.vm import DomainRef, Hold, Power, Read, VmConfig, VmFacts, VmRecord
from ..xml.boot_mapping import nvram_holder
from ..xml.document import serialize
from ..xml.domain_mapping import apply, domain_of, new_domain, read_domain, read_live, read_shown
from ..xml.metadata_mapping import (
    HOLD_PREFIX,
    HOLDS,
    NAMESPACE,
    PREFIX,
    hold_element,
    hold_namespace,
    read_holds,
    record_element,
)
from .connection import Session
from .translate import code_of, libvirt

# What goes with a definition, newest last: a host that does not know the last refuses them all.
_UNDEFINE = ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA", "TPM")
_KEEP_STATE = ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "KEEP_NVRAM", "CHECKPOINTS_METADATA", "KEEP_TPM")


T = TypeVar("T")

_reading = Lock()
"""Python reads one document at a time anyway; threads that take it from each other half way cost a tenth more."""
_TAKING = 20.0  # seconds in which a snapshot that is just being taken gets its name


def snapshots_of(domain: Any) -> list[Any]:
    """The handles of a domain's snapshots, parents first.

    One that a daemon is still taking for a process that died has no name yet, and the listing fails for its sake.
    """
    until = monotonic() + _TAKING
    while True:
        try:
            return list(domain.listAllSnapshots(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL))
        except libvirt.libvirtError as error:
            if "must not be NULL" not in str(error) or monotonic() > until:
                raise
        sleep(0.2)


def power_of(state: int) -> Power:
    """What a domain state of libvirt's means; a blocked or sleeping domain has a QEMU process, so it runs."""
    return {
        libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
        libvirt.VIR_DOMAIN_SHUTDOWN: Power.SHUTDOWN,
        libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
        libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
    }.get(state, Power.RUNNING)


def _ask_all(refs: Sequence[DomainRef], ask: Callable[[DomainRef], T]) -> list[T | AblestackError]:
    """Once the host no longer answers that holds for all: each further call might take its time to fail."""
    answers: list[T | AblestackError] = []
    for ref in refs:
        answer = answer_of(ask, ref)
        if isinstance(answer, AblestackError) and answer.code is Code.HOST_UNAVAILABLE:
            return [answer for _ref in refs]
        answers.append(answer)
    return answers


def _read_all(
    refs: Sequence[DomainRef], ask: Callable[[DomainRef], T], read: Callable[[DomainRef, T], VmFacts]
) -> list[Read]:
    """What `read` makes of what `ask` gets from libvirt, for each; errors in their places.

    All are asked for before the first is read: to go to and fro costs a sixth more, of each for itself, and threads
    would take Python from each other with every call.
    """
    answers = _ask_all(refs, ask)
    found: list[Read] = []
    with _reading:
        for ref, answer in zip(refs, answers):
            if isinstance(answer, AblestackError):
                found.append(answer)
            else:
                found.append(answer_of(read, ref, answer))
    return found


def _sure(found: Read) -> VmFacts:
    if isinstance(found, AblestackError):
        raise found
    return found


class LibvirtDomains(Session):
    """The definitions' half of port.Domains."""

    def domains(self, fresh: bool = False) -> tuple[DomainRef, ...]:
        with self._asks("list its domains"):
            self._saved, self._alone = None, set()
            rows = self._connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
        return tuple(self._ref(domain, stats["state.state"]) for domain, stats in rows)

    def _ref(self, domain: Any, state: int) -> DomainRef:
        vm_id, power = self._keep(domain), power_of(state)
        self._running[vm_id] = power is not Power.OFF
        return DomainRef(vm_id, self._names[vm_id], power)

    def domain(self, vm_id: str) -> DomainRef | None:
        return self._row(lambda: self._domain(vm_id))

    def domain_named(self, domain_name: str) -> DomainRef | None:
        return self._row(lambda: self._domains[self._keep(self._connection.lookupByName(domain_name))])

    def _row(self, look_up: Callable[[], Any]) -> DomainRef | None:
        try:
            with self._asks("look for a domain"):
                domain = look_up()
                vm_id, power = domain.UUIDString(), power_of(domain.state()[0])
        except AblestackError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise
        self._running[vm_id] = power is not Power.OFF
        self._alone.add(vm_id)
        return DomainRef(vm_id, self._names[vm_id], power)

    def vm(self, ref: DomainRef) -> VmFacts:
        return _sure(*self.vms((ref,)))

    def glance(self, ref: DomainRef) -> VmFacts:
        return _sure(*self.glances((ref,)))

    def vms(self, refs: Sequence[DomainRef]) -> list[Read]:
        return [self._with_memory(vm) for vm in _read_all(refs, self._both_definitions, self._whole)]

    def glances(self, refs: Sequence[DomainRef]) -> list[Read]:
        return _read_all(refs, self._shown_definition, self._glanced)

    def _both_definitions(self, ref: DomainRef) -> tuple[str, str]:
        """The stored one, and the running one of a domain that runs."""
        domain = self._domain(ref.id)
        with self._asks(f"read the definition of {self._vm(ref.id)}"):
            stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            return stored, domain.XMLDesc(0) if ref.power is not Power.OFF else ""

    def _shown_definition(self, ref: DomainRef) -> str:
        domain = self._domain(ref.id)
        with self._asks(f"read the definition of {self._vm(ref.id)}"):
            text: str = domain.XMLDesc(0)
        return text

    def _whole(self, ref: DomainRef, texts: tuple[str, str]) -> VmFacts:
        stored, running = texts
        config = read_domain(stored)
        live = read_live(running, config) if running else None
        # It may have stopped since it was listed.
        power = Power.OFF if live is None and ref.power is not Power.CRASHED else ref.power
        self._names[ref.id] = config.domain_name
        holds = read_holds(domain_of(stored)) if HOLDS in stored else ()
        return VmFacts(host=self.spec, power=power, config=config, live=live, holds=holds)

    def _glanced(self, ref: DomainRef, text: str) -> VmFacts:
        config, runs = read_shown(text)
        power = ref.power
        if runs is (power in (Power.OFF, Power.CRASHED)):  # it started or stopped since it was listed
            power = Power.RUNNING if runs else Power.OFF
        return VmFacts(host=self.spec, power=power, config=config, live=config if runs else None)

    def _with_memory(self, found: Read) -> Read:
        """Of a VM that is off also whether its host keeps its memory."""
        if isinstance(found, AblestackError) or found.power is not Power.OFF or found.record is None:
            return found
        saved = answer_of(self._is_saved, found.id)
        if isinstance(saved, AblestackError):
            return saved
        return replace(found, saved=True) if saved else found

    def _is_saved(self, vm_id: str) -> bool:
        """Whether a domain that is off goes on from saved memory: asked of all at once where all were listed."""
        with self._asks(f"look for saved memory of {self._vm(vm_id)}"):
            if vm_id in self._alone:
                return bool(self._domain(vm_id).hasManagedSaveImage())
            saved = self._saved
            if saved is None:
                found = self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
                saved = self._saved = frozenset(domain.UUIDString() for domain in found)
        return vm_id in saved

    def snapshots(self, vm_id: str) -> tuple[str, ...]:
        domain = self._domain(vm_id)
        with self._asks(f"list the snapshots of {self._vm(vm_id)}"):
            return tuple(snapshot.getName() for snapshot in snapshots_of(domain))

    def define(self, config: VmConfig) -> None:
        text = new_domain(config).text
        with self._asks(f"define VM '{config.domain_name}'"):
            try:
                # Not validated: reading its schema costs libvirt 25 ms for each VM, and tests validate what we emit.
                domain = self._connection.defineXMLFlags(text, 0)
            except libvirt.libvirtError as error:
                if code_of(error, "OPERATION_FAILED"):  # also said of much else
                    self._refuse_taken(config.domain_name)
                raise
        self._running.setdefault(self._keep(domain), False)

    def redefine(self, before: VmConfig, after: VmConfig) -> None:
        domain = self._domain(after.id)
        # SECURE, or a console's password would be lost on the way
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        with self._asks(f"change the definition of {self._vm(after.id)}"):
            document = domain_of(domain.XMLDesc(flags))
            apply(document, before, after)
            self._connection.defineXMLFlags(document.text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def set_record(self, vm_id: str, record: VmRecord) -> None:
        text = serialize(record_element(record))
        stored, running = libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE
        with self._asks(f"keep the record of {self._vm(vm_id)}"):
            if self._running.get(vm_id, True):
                try:
                    self._set_metadata(vm_id, text, stored | running)
                    return
                except libvirt.libvirtError as error:
                    if not code_of(error, "OPERATION_INVALID"):  # it does not run
                        raise
            self._set_metadata(vm_id, text, stored)

    def _set_metadata(self, vm_id: str, text: str, flags: int) -> None:
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        self._domain(vm_id).setMetadata(kind, text, PREFIX, NAMESPACE, flags)

    def hold(self, vm_id: str, ours: Hold) -> tuple[Hold, ...]:
        token, text = ours.owner.token, serialize(hold_element(ours))
        kind, stored = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        with self._asks(f"note who works on {self._vm(vm_id)}"):
            self._domain(vm_id).setMetadata(kind, text, HOLD_PREFIX, hold_namespace(token), stored)
            noted = read_holds(domain_of(self._domain(vm_id).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
        return tuple(other for other in noted if other.owner.token != token)

    def let_go(self, vm_id: str, token: str) -> None:
        kind, stored = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        with self._asks(f"end the work on {self._vm(vm_id)}"):
            self._domain(vm_id).setMetadata(kind, None, None, hold_namespace(token), stored)

    def rename(self, vm_id: str, domain_name: str) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"rename {self._vm(vm_id)} to '{domain_name}'"):
            try:
                domain.rename(domain_name, 0)
            except libvirt.libvirtError as error:
                # libvirt calls a taken name and a running domain the same
                if not code_of(error, "OPERATION_INVALID", "OPERATION_FAILED", "INVALID_ARG"):
                    raise
                self._refuse_taken(domain_name)
                raise
        self._names[vm_id] = domain_name

    def _refuse_taken(self, domain_name: str) -> None:
        """AlreadyExists when a domain has the name: of two that claim a VM by one name, the second learns it here."""
        try:
            holder = self._connection.lookupByName(domain_name).UUIDString()
        except libvirt.libvirtError as error:
            if code_of(error, "NO_DOMAIN"):
                return
            raise
        raise AblestackError(
            Code.ALREADY_EXISTS,
            f"the name '{domain_name}' is taken on host '{self.spec.name}'",
            f"domain {holder} has it",
            host=self.spec.name,
            id=holder,
        )

    def undefine(self, vm_id: str, boot_left: tuple[str, ...] = (), keep_state: bool = False) -> None:
        try:
            domain = self._domain(vm_id)
        except AblestackError as error:
            if error.code is Code.NOT_FOUND:
                return
            raise
        if self._power_is_on(vm_id):
            # libvirt would drop the definition and let the guest run on, found by nobody after its end
            raise AblestackError(
                Code.INVALID_STATE, f"{self._vm(vm_id)} runs, so its definition stays", "stop it first"
            )
        with self._asks(f"remove the definition of {self._vm(vm_id)}"):
            if boot_left:
                self._take_along(domain, boot_left)
            self._undefine(domain, _KEEP_STATE if keep_state else _UNDEFINE)
        self._forget(vm_id)

    def _take_along(self, domain: Any, boot_left: tuple[str, ...]) -> None:
        """What removing the definition would leave behind, since the definition no longer names it."""
        document = domain_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))
        config = read_domain(document.text)
        for left in boot_left:
            if left != "tpm":
                self._undefine(self._connection.defineXML(nvram_holder(config, left).text), _UNDEFINE)
        if "tpm" in boot_left:
            apply(document, config, replace(config, tpm=True))
            self._connection.defineXML(document.text)

    @staticmethod
    def _undefine(domain: Any, names: tuple[str, ...]) -> None:
        flags = [getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{name}", 0) for name in names]
        while True:
            try:
                domain.undefineFlags(sum(flags))
                return
            except libvirt.libvirtError as error:
                if code_of(error, "NO_DOMAIN"):
                    return
                # a host older than this binding, which names the flags it does not know
                if not code_of(error, "INVALID_ARG") or len(flags) <= 2:
                    raise
            flags.pop()

    def set_autostart(self, vm_id: str, on: bool) -> None:
        domain = self._domain(vm_id)
        with self._asks(f"set whether {self._vm(vm_id)} starts with the host"):
            domain.setAutostart(1 if on else 0)
