# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps a plan is made of: one small verb each, carried out in usecase/execute.py."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.naming import VmNames
from ..model.plan_parts import Step
from ..model.resources import Reservation, VolumeSpec
from ..model.seed_content import SeedContent
from ..model.vm import DiskConfig, NicConfig, Phase, VmConfig, VmRecord


@dataclass(frozen=True)
class DefineVm(Step):
    """Writes the definition, marked as being deployed: from here on the name is taken and the rest can be resumed."""

    config: VmConfig


@dataclass(frozen=True)
class RedefineVm(Step):
    """Edits the stored definition."""

    before: VmConfig
    after: VmConfig


@dataclass(frozen=True)
class UndefineVm(Step):
    """Removes the definition: the last step of an expunge. `boot_left` goes with it (see VmRecord)."""

    vm_id: str
    boot_left: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetRecord(Step):
    """Replaces our record in the domain's metadata."""

    vm_id: str
    record: VmRecord


@dataclass(frozen=True)
class Rename(Step):
    """Gives the domain another name."""

    vm_id: str
    domain_name: str


@dataclass(frozen=True)
class Claim(Step):
    """Takes a destroyed VM for this process: an atomic rename, then a look whether it still is in `phase`."""

    vm_id: str
    domain_name: str
    phase: Phase
    record: VmRecord


@dataclass(frozen=True)
class SetAutostart(Step):
    """Whether the host starts it at boot."""

    vm_id: str
    on: bool


@dataclass(frozen=True)
class CreateVolume(Step):
    """Makes a volume."""

    volume: VolumeSpec


@dataclass(frozen=True)
class CloneVolume(Step):
    """Makes an independent copy of the volume `source` of pool `source_pool`."""

    volume: VolumeSpec
    source_pool: str
    source: str


@dataclass(frozen=True)
class GrowVolume(Step):
    """Grows the volume of a VM that is off, in bytes."""

    pool: str
    volume: str
    size: int


@dataclass(frozen=True)
class ResizeDisk(Step):
    """Grows a disk of a running VM, in bytes; the guest sees it at once."""

    vm_id: str
    target: str
    size: int


@dataclass(frozen=True)
class DeleteVolume(Step):
    """Deletes one volume; gone already is fine."""

    pool: str
    volume: str


@dataclass(frozen=True)
class DeleteOwnVolumes(Step):
    """Deletes every volume of the pool that lives and dies with the VM of those names."""

    pool: str
    names: VmNames


@dataclass(frozen=True)
class WriteSeed(Step):
    """Makes the cloud-init seed anew, so that a running guest keeps the one it has open.

    `keep` names the fields of the content that are taken over from the present seed; `keep_nics` the MACs of NICs
    whose part is. `pair_keys` tell the keys of key pairs in an old seed from the others.
    """

    pool: str
    volume: str
    content: SeedContent
    keep: tuple[str, ...] = ()
    keep_nics: tuple[str, ...] = ()
    pair_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reserve(Step):
    """Gives a MAC its fixed address in a network of ours; `before` is what somebody reserved for it by hand."""

    network: str
    reservation: Reservation
    before: Reservation | None = None


@dataclass(frozen=True)
class Release(Step):
    """Frees the reservation of a MAC."""

    network: str
    mac: str


@dataclass(frozen=True)
class NameReservation(Step):
    """Gives the reservation of a MAC this name in the network's DNS, none where it is empty.

    One that is gone is made again only to be named; in a network that is not ours there is none.
    """

    network: str
    reservation: Reservation


@dataclass(frozen=True)
class Start(Step):
    """Boots it."""

    vm_id: str


@dataclass(frozen=True)
class DropSaved(Step):
    """Gives up the memory that the host keeps of a VM that is off."""

    vm_id: str


@dataclass(frozen=True)
class Resume(Step):
    """Lets a paused VM go on."""

    vm_id: str


@dataclass(frozen=True)
class Shutdown(Step):
    """Asks the guest to go down and waits `timeout` seconds; then it is an error, or the power is cut."""

    vm_id: str
    timeout: int
    force_after: bool = False


@dataclass(frozen=True)
class PowerOff(Step):
    """Cuts the power."""

    vm_id: str


@dataclass(frozen=True)
class Reboot(Step):
    """Asks the guest to reboot and sees that it did, within `timeout` seconds."""

    vm_id: str
    timeout: int
    force_after: bool = False


@dataclass(frozen=True)
class Reset(Step):
    """Presses the reset button."""

    vm_id: str


@dataclass(frozen=True)
class AttachDisk(Step):
    """Plugs a disk into the running guest."""

    vm_id: str
    disk: DiskConfig


@dataclass(frozen=True)
class DetachDisk(Step):
    """Unplugs a disk from the running guest, which has `timeout` seconds to let it go."""

    vm_id: str
    disk: DiskConfig
    timeout: int


@dataclass(frozen=True)
class TuneDisk(Step):
    """Sets the IOPS limit of a disk of the running guest."""

    vm_id: str
    disk: DiskConfig


@dataclass(frozen=True)
class ChangeMedia(Step):
    """Inserts into or ejects from the running guest's CD drive; `force` opens one that the guest has locked."""

    vm_id: str
    drive: DiskConfig
    force: bool = False


@dataclass(frozen=True)
class AttachNic(Step):
    """Plugs a NIC into the running guest."""

    vm_id: str
    nic: NicConfig


@dataclass(frozen=True)
class DetachNic(Step):
    """Unplugs a NIC from the running guest, which has `timeout` seconds to let it go."""

    vm_id: str
    nic: NicConfig
    timeout: int


@dataclass(frozen=True)
class UpdateNic(Step):
    """Connects a NIC of the running guest to another network."""

    vm_id: str
    nic: NicConfig


@dataclass(frozen=True)
class SetCpus(Step):
    """Gives the running guest that many processors, more than it has."""

    vm_id: str
    cpus: int


@dataclass(frozen=True)
class SetMemory(Step):
    """Gives the running guest that much memory (MiB), more than it has."""

    vm_id: str
    memory: int
