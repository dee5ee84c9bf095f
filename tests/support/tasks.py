# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of every module on a world in memory, each a value that can be kept in a table and run by any controller."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.expunge import expunge_due
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.migrate import apply_migrate
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.network import apply_network
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.pool import apply_pool
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot import apply_snapshot
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.start_elsewhere import apply_vm_on_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template import apply_template
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.volume import apply_volume
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.migrate_options import migrate_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.network_options import network_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.pool_options import pool_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.snapshot_options import snapshot_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.template_options import template_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.volume_options import volume_spec

from .worlds import Controller, World

Options = dict[str, Any]


def _expunge_due(infrastructure: Infrastructure, _options: Options) -> Outcome:
    return expunge_due(infrastructure, datetime.now(timezone.utc) + timedelta(days=30))


_RUN: dict[str, Callable[[Infrastructure, Options], Outcome]] = {
    "vm": lambda infrastructure, options: apply_vm_on_host(infrastructure, vm_spec({"wait": "none", **options})),
    "migrate": lambda infrastructure, options: apply_migrate(infrastructure, migrate_spec(options)),
    "snapshot": lambda infrastructure, options: apply_snapshot(infrastructure, snapshot_spec(options)),
    "template": lambda infrastructure, options: apply_template(infrastructure, template_spec(options)),
    "network": lambda infrastructure, options: apply_network(infrastructure, network_spec(options)),
    "pool": lambda infrastructure, options: apply_pool(infrastructure, pool_spec(options)),
    "volume": lambda infrastructure, options: apply_volume(infrastructure, volume_spec(options)),
    "fleet": lambda infrastructure, options: apply_fleet(infrastructure, fleet_spec(options)),
    "expunge": _expunge_due,
}


@dataclass(frozen=True)
class Task:
    """One task: a module by its short name, and its options as a playbook has them."""

    module: str
    options: Options

    def run(self, controller: Controller) -> Outcome:
        """As the module does it; raises AblestackError."""
        with controller.infrastructure as infrastructure:
            return _RUN[self.module](infrastructure, self.options)


def refused(world: World, task: Task) -> AblestackError:
    """The error of a task that is refused, in check mode and in a run alike, with nothing written."""
    errors = []
    for check in (True, False):
        controller = world.controller(check)
        try:
            task.run(controller)
        except AblestackError as error:
            errors.append(error)
        else:
            raise AssertionError(f"{task} is not refused where check is {check}")
        assert controller.writes == []
    assert errors[0].code is errors[1].code
    return errors[1]


def vm(name: str = "", **options: Any) -> Task:
    return Task("vm", {**({"name": name} if name else {}), **options})


def migrate(host: str, **options: Any) -> Task:
    return Task("migrate", {"name": "web1", "host": host, **options})


def snapshot(name: str, state: str = "present", **options: Any) -> Task:
    return Task("snapshot", {"vm": "web1", **({"name": name} if name else {}), "state": state, **options})


def template(name: str, **options: Any) -> Task:
    return Task("template", {"name": name, **options})


def network(name: str, **options: Any) -> Task:
    return Task("network", {"name": name, **options})


def pool(name: str, **options: Any) -> Task:
    return Task("pool", {"name": name, **options})


def volume(name: str, **options: Any) -> Task:
    return Task("volume", {"name": name, **options})


def fleet(*names: Any, **options: Any) -> Task:
    return Task("fleet", {"vms": [{"name": one} if isinstance(one, str) else one for one in names], **options})
