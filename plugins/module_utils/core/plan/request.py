# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan for one VM is made from: everything read or drawn beforehand, so that planning itself is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.catalog import Catalog
from ..model.resources import HostFacts, NetworkFacts, PoolFacts, Template, VolumeFacts
from ..model.vm import Owner, VmFacts
from ..model.vm_spec import VmSpec


@dataclass(frozen=True)
class Fresh:
    """What is drawn anew for a run: the id and MACs of a VM to be made, the time, and who we are.

    A VM that exists has its own id here, and no MACs.
    """

    id: str
    macs: tuple[str, ...]
    now: str
    owner: Owner | None = None


@dataclass(frozen=True)
class Digests:
    """Keyed digests of the wanted secrets, comparable with those in the record; empty where not given."""

    user_data: str = ""
    key_pairs: str = ""
    public_keys: str = ""
    keys: str = ""  # of both together, for records of before


@dataclass(frozen=True)
class Site:
    """The host chosen for a new VM, with all the definition needs from it. `networks` are by name."""

    host: HostFacts
    pool: PoolFacts
    template: Template | None = None
    template_path: str = ""
    iso: Template | None = None
    iso_path: str = ""
    networks: Mapping[str, NetworkFacts] = field(default_factory=dict)
    pools: Mapping[str, PoolFacts] = field(default_factory=dict)
    own: Mapping[str, VolumeFacts] = field(default_factory=dict)  # the VM's, where a plan has to know, by pool/name
    volumes: Mapping[str, int] = field(default_factory=dict)  # sizes of free data disks that exist, by pool/name
    lenders: Mapping[str, VmFacts] = field(default_factory=dict)  # destroyed VMs that still list such a disk
    addresses_taken: Mapping[str, str] = field(default_factory=dict)  # MAC, or address_key -> who has it
    snapshots: tuple[str, ...] = ()  # libvirt's, of a VM that exists


@dataclass(frozen=True)
class VmRequest:
    """One VM's plan input. `existing` holds the name; `destroyed` once did, newest first.

    Where the VM is wanted by its id, `namesake` is another that has the name.
    """

    spec: VmSpec
    catalog: Catalog
    fresh: Fresh
    existing: VmFacts | None = None
    destroyed: tuple[VmFacts, ...] = ()
    namesake: VmFacts | None = None
    site: Site | None = None
    home: Site | None = None  # the host of a VM that exists, as far as a change needs it
    digests: Digests = Digests()
