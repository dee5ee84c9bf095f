# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task on a snapshot in a process of its own, which kills itself soon after it has begun a call of the host.

The job has the task's options, `catalog`, and either `kill` and `delay` (the call, seconds), or neither: then it says
that it is ready, and begins when it is sent a line; it then waits for others as long as a busy machine needs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from threading import Timer
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
importlib.import_module("conftest")  # finds the collection


def main(job: dict[str, Any]) -> None:
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase import holding, snapshot
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure
    from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.snapshot import apply_snapshot
    from ansible_collections.ablestack.kvm.plugins.module_utils.face.snapshot_options import snapshot_spec

    call, delay = job.pop("kill", ""), job.pop("delay", 0)

    def opened(spec: Any) -> Any:
        host = open_host(spec)
        if not call:
            return host
        do = getattr(host, call)

        def dying(*arguments: Any, **more: Any) -> Any:
            Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            return do(*arguments, **more)

        setattr(host, call, dying)
        return host

    with Infrastructure(read_catalog(job.pop("catalog")), opened) as infrastructure:
        if not call:
            snapshot._PATIENCE = holding._PATIENCE = 300.0
            infrastructure.host(infrastructure.catalog.hosts[0].name)
            print("ready", flush=True)
            sys.stdin.readline()
        apply_snapshot(infrastructure, snapshot_spec(job))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
