# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's errors in our words: by their code, at the call, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..model.errors import AblestackError, Code

try:
    import libvirt
except ImportError:  # told when a host is opened
    libvirt: Any = None  # type: ignore[no-redef]

__all__ = ["code_of", "libvirt", "translate", "translated"]

# By name, since an older binding lacks the newer ones.
_CODES = {
    "NO_DOMAIN": (Code.NOT_FOUND, "the domain is gone"),
    "NO_DOMAIN_SNAPSHOT": (Code.NOT_FOUND, "the snapshot is gone"),
    "NO_STORAGE_POOL": (Code.NOT_FOUND, "the storage pool is gone"),
    "NO_STORAGE_VOL": (Code.NOT_FOUND, "the volume is gone"),
    "NO_NETWORK": (Code.NOT_FOUND, "the network is gone"),
    "STORAGE_VOL_EXIST": (Code.ALREADY_EXISTS, "a volume of that name is there already"),
    "DOM_EXIST": (Code.ALREADY_EXISTS, "a domain of that name is there already"),
    "OPERATION_INVALID": (Code.INVALID_STATE, ""),
    "RESOURCE_BUSY": (Code.CONFLICT, "something else uses it; try again later"),
    "OPERATION_TIMEOUT": (Code.CONFLICT, "another operation holds it; try again later"),
    "OPERATION_ABORTED": (Code.CONFLICT, "somebody else ended the operation"),
    "AGENT_UNRESPONSIVE": (Code.AGENT_UNAVAILABLE, "check that the guest has booted and its agent runs"),
    "AGENT_UNSYNCED": (Code.AGENT_UNAVAILABLE, "the guest agent does not answer in time"),
    "AGENT_COMMAND_TIMEOUT": (Code.AGENT_UNAVAILABLE, "the guest agent does not answer in time"),
    "AGENT_COMMAND_FAILED": (Code.AGENT_UNAVAILABLE, ""),
    "AUTH_FAILED": (Code.HOST_UNAVAILABLE, "check the credentials of the connection"),
    "AUTH_CANCELLED": (Code.HOST_UNAVAILABLE, "check the credentials of the connection"),
    "AUTH_UNAVAILABLE": (Code.HOST_UNAVAILABLE, "check the credentials of the connection"),
    "ACCESS_DENIED": (Code.HOST_UNAVAILABLE, "the user of the connection may not do this"),
    "NO_CONNECT": (Code.HOST_UNAVAILABLE, "the connection is broken"),
    "RPC": (Code.HOST_UNAVAILABLE, "the connection is broken"),
    "GNUTLS_ERROR": (Code.HOST_UNAVAILABLE, "the connection is broken"),
    "OPERATION_DENIED": (Code.INTERNAL, "the connection is read-only"),
    "NO_SUPPORT": (Code.UNSUPPORTED, ""),
    "CONFIG_UNSUPPORTED": (Code.UNSUPPORTED, ""),
    "OPERATION_UNSUPPORTED": (Code.UNSUPPORTED, ""),
    "ARGUMENT_UNSUPPORTED": (Code.UNSUPPORTED, ""),
}
# libvirt has no code for these: they come as the text of whatever program met them.
_TEXTS = {
    "No space left on device": (Code.INSUFFICIENT_CAPACITY, "free some space, or use another pool"),
    # so QEMU says of whatever keeps it from writing a guest's memory, a full disk as well
    "Error while writing VM state: Input/output error": (
        Code.INSUFFICIENT_CAPACITY,
        "free some space in the pool of the root disk; where it has enough, see in the host's log whether a disk fails",
    ),
    "Disk quota exceeded": (Code.INSUFFICIENT_CAPACITY, "free some space, or use another pool"),
    "Network is already in use by interface": (
        Code.CONFLICT,
        "an interface of the host has addresses of its range: choose another cidr; error.details.libvirt names it",
    ),
    "Cannot allocate memory": (Code.INSUFFICIENT_CAPACITY, "the host has not enough free memory"),
    "Could not access KVM kernel module": (
        Code.UNSUPPORTED,
        "QEMU may not open the host's /dev/kvm: it must be there and belong to root:kvm with mode 0660, in a container"
        " too; or set virt_type: qemu for this host in the catalog, for software emulation",
    ),
    "Unable to access credentials": (
        Code.UNSUPPORTED,
        "a move by qemu+tls needs QEMU's own certificates in /etc/pki/qemu on both hosts; put them there, or give the"
        " hosts a migration_uri with qemu+ssh",
    ),
}
_TRANSPORT = ("VIR_FROM_RPC", "VIR_FROM_REMOTE")  # the error was made on our side of the connection
_RAW_LENGTH = 1000


def code_of(error: Any, *names: str) -> bool:
    """Whether a libvirtError has one of the codes, given without VIR_ERR_."""
    known = (getattr(libvirt, f"VIR_ERR_{name}", None) for name in names)
    return error.get_error_code() in {number for number in known if number is not None}


def translate(error: Any, doing: str, host: str) -> AblestackError:
    """Our error for a libvirtError met while `doing` (an infinitive such as "start VM 'web'")."""
    raw = str(error.get_error_message() or error)[:_RAW_LENGTH]
    code, hint = _meaning(error, raw)
    return AblestackError(
        code,
        f"host '{host}' could not {doing}",
        hint or f"libvirt says: {raw.splitlines()[0][:200] if raw else 'nothing'}",
        host=host,
        libvirt=raw,
        libvirt_code=error.get_error_code(),
    )


def _meaning(error: Any, raw: str) -> tuple[Code, str]:
    for text, meaning in _TEXTS.items():
        if text in raw:
            return meaning
    if error.get_error_domain() in {getattr(libvirt, name, None) for name in _TRANSPORT}:
        return Code.HOST_UNAVAILABLE, "the connection is broken"
    for name, meaning in _CODES.items():
        if code_of(error, name):
            return meaning
    return Code.INTERNAL, ""


@contextmanager
def translated(doing: str, host: str) -> Iterator[None]:
    """Raises AblestackError for every libvirtError inside."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, doing, host) from None
