# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrates a VM in a process that kills itself right before or after the VM is handed over."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from killed import ours


def main(job: dict[str, Any]) -> None:
    """Dies at the one step that only the hosts can do."""
    verbs = ours("core.usecase.moving", "_DO")
    hand_over = ours("core.plan.migrate", "HandOver")
    do = verbs[hand_over]

    def dying(infra: Any, host: Any, step: Any) -> None:
        if job["when"] == "after":
            do(infra, host, step)
        os.kill(os.getpid(), signal.SIGKILL)

    verbs[hand_over] = dying
    catalog = ours("core.model.catalog_reader", "read_catalog")(job["catalog"])
    connect = ours("core.hypervisor.connection", "open_host")
    with ours("core.usecase.infrastructure", "Infrastructure")(catalog, connect) as infrastructure:
        ours("core.usecase.migrate", "apply_migrate")(
            infrastructure, ours("face.migrate_options", "migrate_spec")(job["options"])
        )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
