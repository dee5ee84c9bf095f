# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that somebody moves or removes while a task is at work on it: that is a Conflict, and no VM that never was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.vm import VmFacts
from .infrastructure import Infrastructure


def staying(infra: Infrastructure, vm: VmFacts | None) -> AbstractContextManager[None]:
    """Conflict in place of NotFound, where the VM that was found, if any was, is on its host no more."""
    return staying_on(infra.host(vm.host.name), vm) if vm else nullcontext()


@contextmanager
def staying_on(host: Host, vm: VmFacts) -> Iterator[None]:
    """The same at work with one host."""
    try:
        yield
    except AblestackError as error:
        if error.code is Code.NOT_FOUND and host.domain(vm.id) is None:
            raise has_left(vm, **error.details) from error
        raise


def has_left(vm: VmFacts, **details: Any) -> AblestackError:
    """Said then."""
    return AblestackError(
        Code.CONFLICT,
        f"VM '{vm.name}' is on host '{vm.host.name}' no more: somebody else moved or removed it meanwhile",
        "run the task again: it looks for the VM on all hosts",
        **{**details, "id": vm.id},
    )
