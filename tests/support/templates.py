# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Template tasks on a world in memory, as a module runs them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, VmConfig, VmRecord
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template import apply_template
from ansible_collections.ablestack.kvm.plugins.module_utils.face.template_options import template_spec

from .memory_host import MemoryHost
from .memory_state import MemoryDomain, MemoryPool, MemoryVolume, qcow2_bytes
from .worlds import Controller, World

IMAGE = qcow2_bytes(2 * 1024**3, b"an operating system" * 1000)
OTHER = qcow2_bytes(3 * 1024**3, b"another operating system" * 1000)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Done:
    """A finished run: its outcome, or the error it ended with; and the writes it made."""

    outcome: Outcome
    error: AblestackError | None
    controller: Controller

    @property
    def changed(self) -> bool:
        assert self.error is None, self.error.sentence
        return self.outcome.changed

    @property
    def template(self) -> Any:
        assert self.error is None, self.error.sentence
        return self.outcome.result["template"]

    @property
    def code(self) -> str:
        assert self.error is not None, "the task succeeded"
        return self.error.code.value


def run(world: World, check: bool = False, controller: Controller | None = None, **options: Any) -> Done:
    """One task with these options."""
    controller = controller or world.controller(check)
    try:
        with controller.infrastructure as infrastructure:
            return Done(apply_template(infrastructure, template_spec(options)), None, controller)
    except AblestackError as error:
        return Done(Outcome(), error, controller)


def contents(world: World) -> dict[str, dict[str, bytes]]:
    """Every volume's content, by host and pool/name."""
    return {
        host: {
            f"{pool.name}/{name}": volume.content
            for pool in state.pools.values()
            for name, volume in pool.volumes.items()
        }
        for host, state in world.states.items()
    }


def put_vm(host: MemoryHost, name: str, vm_id: str, template: str = "", root: str = "", **record: Any) -> MemoryDomain:
    """A VM of ours that is off; `root` is the path of its root disk, or pool/volume."""
    disk = DiskConfig("vda", root) if root.startswith("/") else DiskConfig("vda", "", source=root)
    disks = (disk,) if root else ()
    config = VmConfig(
        vm_id,
        name,
        VmRecord(name, template=template, **record),
        cpu=1,
        memory=512,
        max_cpu=1,
        max_memory=512,
        disks=disks,
    )
    host.state.domains[vm_id] = MemoryDomain(config)
    return host.state.domains[vm_id]


def put_overlay(pool: MemoryPool, name: str, backing: str) -> None:
    """A linked clone's volume."""
    volume = MemoryVolume(qcow2_bytes(1024**3, backing=backing))
    volume.probe()
    pool.volumes[name] = volume


def without_created(view: Any) -> Any:
    """What can be compared between a prediction and what came of it."""
    return {key: value for key, value in view.items() if key != "created"} if view else view
