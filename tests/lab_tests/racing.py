# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys a VM in a process that waits for another one at the moment of the definition, and tells what came of it."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
importlib.import_module("conftest")  # finds the collection


def main(job: dict[str, Any]) -> None:
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_domains import LibvirtDomains
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
    from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import vm_spec

    define, met = LibvirtDomains.define, False

    def meeting(self: Any, config: Any) -> None:
        """Both have found the name free when either goes on."""
        nonlocal met
        if not met:
            met = True
            Path(job["folder"], job["me"]).touch()
            end = time.monotonic() + 60
            while not Path(job["folder"], job["other"]).exists():
                if time.monotonic() > end:
                    sys.exit("the other one did not come")
                time.sleep(0.005)
        define(self, config)

    LibvirtDomains.define = meeting  # type: ignore[method-assign]
    with Infrastructure(read_catalog(job["catalog"]), open_host) as infrastructure:
        try:
            apply_vm(infrastructure, vm_spec(job["options"]))
            print("done")
        except AblestackError as error:
            print(error.code.value)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
