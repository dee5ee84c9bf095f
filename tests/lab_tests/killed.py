# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys a VM in a process that kills itself before a given step: what a power cut does to a controller."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
importlib.import_module("conftest")  # finds the collection

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import execute, vm
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import (
    Infrastructure,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec


def main(job: dict[str, Any]) -> None:
    """Counts the steps as they begin, and dies when the chosen one does."""
    begun = 0

    def dying(do: Any) -> Any:
        def run(host: Any, step: Any) -> Any:
            nonlocal begun
            begun += 1
            if begun == job["step"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(host, step)

        return run

    for kind, do in list(execute._DO.items()):
        execute._DO[kind] = dying(do)
    with Infrastructure(read_catalog(job["catalog"]), open_host) as infrastructure:
        vm.apply_vm(infrastructure, vm_spec(job["options"]))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
