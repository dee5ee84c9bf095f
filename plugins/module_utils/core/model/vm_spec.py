# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a VM: one field an option of `ablestack_vm`, UNSET where the user left it out."""

from __future__ import annotations

from dataclasses import dataclass, field

from .values import UNSET, Maybe

STATES = ("present", "started", "stopped", "restarted", "reinstalled", "destroyed", "recovered", "expunged")
AUTO = "auto"
"""As the address of a NIC: any free one of a network of ours, which then stays the NIC's."""
WAITS = ("none", "running", "agent", "ip", "ssh", "cloud_init")


@dataclass(frozen=True)
class DiskSpec:
    """One entry of `data_disks`; sizes in bytes, `device` is Mold's device id."""

    name: str
    offering: str = ""
    size: int | None = None
    min_iops: int | None = None
    max_iops: int | None = None
    pool: str = ""
    device: int | None = None


@dataclass(frozen=True)
class NicSpec:
    """One entry of `networks`; empty where the user leaves the choice to us."""

    network: str
    ip: str = ""
    mac: str = ""
    model: str = ""


@dataclass(frozen=True)
class VmSpec:
    """The options of one VM. Sizes: `root_disk_size` in bytes, memory in MiB, times in seconds."""

    name: str = ""
    id: str = ""
    state: str = "present"
    zone: Maybe[str] = UNSET
    pod: Maybe[str] = UNSET
    cluster: Maybe[str] = UNSET
    host: Maybe[str] = UNSET
    template: Maybe[str] = UNSET
    iso: Maybe[str] = UNSET
    root_disk_size: Maybe[int] = UNSET
    root_disk_offering: Maybe[str] = UNSET
    clone: str = "linked"
    compute_offering: Maybe[str] = UNSET
    cpu: Maybe[int] = UNSET
    memory: Maybe[int] = UNSET
    data_disks: Maybe[tuple[DiskSpec, ...]] = UNSET
    networks: Maybe[tuple[NicSpec, ...]] = UNSET
    ssh_key_pairs: Maybe[tuple[str, ...]] = UNSET
    ssh_public_keys: Maybe[tuple[str, ...]] = UNSET
    boot_type: Maybe[str] = UNSET
    boot_mode: Maybe[str] = UNSET
    tpm: Maybe[bool] = UNSET
    dynamic_scaling: Maybe[bool] = UNSET
    user_data: Maybe[str] = field(default=UNSET, repr=False)  # secret: in no error, in no log
    affinity_groups: Maybe[tuple[str, ...]] = UNSET
    display_name: Maybe[str] = UNSET
    group: Maybe[str] = UNSET
    labels: Maybe[tuple[tuple[str, str], ...]] = UNSET
    start: bool = True
    autostart: Maybe[bool] = UNSET
    protected: Maybe[bool] = UNSET
    attached_iso: Maybe[str] = UNSET
    forced: bool = False
    timeout: Maybe[int] = UNSET
    force_after_timeout: bool = False
    allow_restart: bool = False
    delete_data_disks: tuple[str, ...] | str = "none"
    expunge_delay: Maybe[int] = UNSET
    wait: str = "running"
    wait_timeout: int = 300

    @property
    def deploys(self) -> bool:
        """Whether a missing VM can be made from this: it names a template or an ISO, and no VM that has to be there."""
        return bool(self.template or self.iso) and not self.id
