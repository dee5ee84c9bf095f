# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds VMs by name or id on all hosts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import vm_name_of
from ..model.vm import VmFacts
from .infrastructure import Infrastructure


@dataclass(frozen=True)
class Located:
    """What was found of one VM name or id. `destroyed` is newest first; `unreachable` are the hosts not asked."""

    existing: VmFacts | None = None
    destroyed: tuple[VmFacts, ...] = ()
    unreachable: Mapping[str, AblestackError] = field(default_factory=dict)

    def require_all_hosts(self, what: str) -> None:
        """Raises HostUnavailable unless every host was asked: a host that is down may have the VM."""
        for name, error in self.unreachable.items():
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"host '{name}' cannot be asked whether it has VM '{what}': {error.message}",
                "bring the host back, or take it out of the catalog",
                host=name,
            )


def locate(infra: Infrastructure, name: str, vm_id: str = "") -> Located:
    """The VM of that name or id, and the destroyed ones of that name.

    Raises Conflict where several hosts have a VM of that name, InvalidInput where name and id do not fit together.
    """
    found, unreachable = infra.on_hosts(lambda host: _on_host(host, name, vm_id))
    vms = [vm for on_host in found.values() for vm in on_host]
    if vm_id:
        chosen = next((vm for vm in vms if vm.id == vm_id), None)
        if chosen and not name and len(infra.catalog.hosts) > 1:
            # Only now the name is known, and other hosts may have VMs of that name too.
            return locate(infra, chosen.name, vm_id)
        if chosen and name and chosen.name.lower() != name.lower():
            raise invalid(f"the VM with id {vm_id} is named '{chosen.name}', not '{name}'", "give one of the two")
        existing = [vm for vm in vms if vm.exists and (chosen is None or not chosen.exists or vm is chosen)]
        gone = [chosen] if chosen and not chosen.exists else []
    else:
        existing = [vm for vm in vms if vm.exists]
        gone = [vm for vm in vms if not vm.exists]
    if len(existing) > 1:
        places = ", ".join(sorted(f"{vm.host.name} ({vm.id})" for vm in existing))
        raise AblestackError(
            Code.CONFLICT,
            f"there is more than one VM '{existing[0].name}': on {places}",
            "say which one by its id, and destroy or rename the other",
        )
    gone.sort(key=lambda vm: (vm.record.mark.since if vm.record else "", vm.id), reverse=True)
    return Located(existing[0] if existing else None, tuple(gone), unreachable)


def _on_host(host: Host, name: str, vm_id: str) -> list[VmFacts]:
    refs = host.domains()
    wanted = name.lower()
    if vm_id and not wanted:
        wanted = next((vm_name_of(ref.domain_name) for ref in refs if ref.id == vm_id), "")
    return [host.vm(ref) for ref in refs if ref.id == vm_id or (wanted and vm_name_of(ref.domain_name) == wanted)]
