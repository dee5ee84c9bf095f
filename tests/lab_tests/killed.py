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
UTILS = "ansible_collections.ablestack.kvm.plugins.module_utils"


def ours(module: str, name: str) -> Any:
    """Something of the collection, importable only now that it is found."""
    return getattr(importlib.import_module(f"{UTILS}.{module}"), name)


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

    steps = ours("core.usecase.execute", "_DO")
    for kind, do in list(steps.items()):
        steps[kind] = dying(do)
    catalog = ours("core.model.catalog_reader", "read_catalog")(job["catalog"])
    connect = ours("core.hypervisor.connection", "open_host")
    with ours("core.usecase.infrastructure", "Infrastructure")(catalog, connect) as infrastructure:
        ours("core.usecase.vm", "apply_vm")(infrastructure, ours("face.convert", "vm_spec")(job["options"]))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
