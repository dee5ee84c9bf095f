# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task of a race, in a process of its own: says that it is ready, begins when it is sent a line, tells its end.

A process that is started anew, not a fork: a fork has the locks of the threads of libvirt's client without the threads.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
importlib.import_module("conftest")  # finds the collection


def main(job: dict[str, Any]) -> None:
    """`job` has catalog, module and options; prints changed, unchanged, or the code of the error."""
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
    from support.tasks import Task
    from support.worlds import Controller

    controller = Controller(Infrastructure(read_catalog(job["catalog"]), open_host), {})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("changed" if Task(job["module"], job["options"]).run(controller).changed else "unchanged")
    except AblestackError as error:
        print(f"{error.code.value}: {error.sentence}", file=sys.stderr, flush=True)  # shown where the test fails
        print(error.code.value)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
