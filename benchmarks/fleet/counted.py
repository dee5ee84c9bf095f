# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one fleet task costs beside time, in a process of its own: round trips to the host, and memory.

counted.py < ARGUMENTS      the arguments of ablestack_vm_fleet as JSON; prints {"trips": ..., "kib": ...}
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

sys.path[:0] = [os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")[0], str(Path(__file__).parents[2] / "tests")]

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.connection import open_host  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.fleet import apply_fleet  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.infrastructure import Infrastructure  # noqa: E402
from ansible_collections.ablestack.kvm.plugins.module_utils.face.fleet_options import fleet_spec  # noqa: E402
from support.round_trips import counted_round_trips  # noqa: E402


def main() -> None:
    given = json.load(sys.stdin)
    with counted_round_trips() as trips, Infrastructure(read_catalog(given.pop("catalog")), open_host) as infra:
        apply_fleet(infra, fleet_spec(given))
    print(json.dumps({"trips": len(trips), "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


if __name__ == "__main__":
    main()
