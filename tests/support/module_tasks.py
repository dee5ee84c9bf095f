# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module as what it is made of: its options, what Ansible checks of them, and the work it does on a world."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete, Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.face import runner

from .worlds import World

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
PACKAGE = "ansible_collections.ablestack.kvm.plugins.modules"


@dataclass(frozen=True)
class Task:
    """What came of one task: an error, or an outcome; what Ansible itself refuses is InvalidInput too."""

    outcome: Outcome
    error: AblestackError | None
    writes: list[str]


@dataclass(frozen=True)
class ModuleUnderTest:
    """`options` is its argument specification; `rules` what AnsibleModule was given beside it."""

    name: str
    options: Mapping[str, Any]
    prepare: runner.Prepare
    reads_only: bool
    rules: Mapping[str, Any]

    def run(self, world: World, params: Mapping[str, Any], check: bool = False) -> Task:
        """One task of a new process with these parameters, as the runner does it; unexpected exceptions rise."""
        checked = ArgumentSpecValidator(dict(self.options), **self.rules).validate(dict(params))
        if checked.error_messages:
            return Task(Outcome(), AblestackError(Code.INVALID_INPUT, "; ".join(checked.error_messages)), [])
        values = {key: checked.validated_parameters.get(key) for key in self.options}
        controller = world.controller(check and not self.reads_only)
        outcome, error = Outcome(), None
        try:
            work = self.prepare(values)
            with controller.infrastructure as infrastructure:
                outcome = work(infrastructure)
        except Incomplete as failure:
            outcome, error = failure.outcome, failure
        except AblestackError as failure:
            error = failure
        outcome = runner._checked(outcome)
        return Task(outcome, error, controller.writes)


def all_modules() -> dict[str, ModuleUnderTest]:
    """By name. A module is asked by letting its `main` run as far as the runner."""
    found = {}
    for path in sorted(MODULES.glob("ablestack_*.py")):
        module = importlib.import_module(f"{PACKAGE}.{path.stem}")
        with mock.patch.object(module, "run") as run:
            module.main()
        options, prepare = run.call_args.args
        rules = dict(run.call_args.kwargs)
        reads_only = rules.pop("reads_only", False)
        found[path.stem] = ModuleUnderTest(path.stem, options, prepare, reads_only, rules)
    return found
