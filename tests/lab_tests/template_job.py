# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what ablestack_template does, in a process that a test can kill or start twice; tells what it sent."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
importlib.import_module("conftest")  # finds the collection


def main(job: dict[str, Any]) -> None:
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_storage import LibvirtStorage
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.template import apply_template
    from ansible_collections.ablestack.kvm.plugins.module_utils.face.template_options import template_spec

    sent = []
    upload = LibvirtStorage.upload

    def counting(self: Any, pool: str, name: str, chunks: Any) -> None:
        sent.append(name)
        upload(self, pool, name, chunks)

    LibvirtStorage.upload = counting  # type: ignore[method-assign]
    with Infrastructure(read_catalog(job["catalog"]), open_host) as infrastructure:
        try:
            outcome = apply_template(infrastructure, template_spec(job["options"]))
        except AblestackError as error:
            sys.exit(f"{error.sentence} {dict(error.details)}")
    print(json.dumps({**outcome.result, "uploads": sum(not name.endswith(".json") for name in sent)}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
