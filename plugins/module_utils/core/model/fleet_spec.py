# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a fleet: its VMs, and how far a run may go."""

from __future__ import annotations

from dataclasses import dataclass, field

from .vm_spec import VmSpec


@dataclass(frozen=True)
class FleetSpec:
    """The options of `ablestack_vm_fleet`. `removal` is how a VM is destroyed that `prune` finds; it has no name.

    `parallel` 0: as many at once as the hosts take. `max_failures` None: however many fail, the rest is done.
    """

    vms: tuple[VmSpec, ...]
    group: str = ""
    prune: bool = False
    parallel: int = 0
    max_failures: int | None = None
    removal: VmSpec = field(default_factory=lambda: VmSpec(state="destroyed"))
