# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pools of a host in memory: the port's Pools over a MemoryState."""

from __future__ import annotations

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import PoolState

from .memory_calls import Calls, reads, writes
from .memory_state import MemoryPool


class MemoryPools(Calls):
    """port.Pools."""

    spec: HostSpec

    @reads
    def pool_state(self, name: str) -> PoolState | None:
        found = self.state.pools.get(name)
        return PoolState(name, found.type, found.path, found.active, found.autostart) if found else None

    @writes
    def define_pool(self, name: str, path: str) -> None:
        if name in self.state.pools:
            raise AblestackError(Code.ALREADY_EXISTS, f"host '{self.spec.name}' has a pool '{name}' already")
        self.state.pools[name] = MemoryPool(name, path=path, active=False)

    @writes
    def start_pool(self, name: str) -> None:
        self.state.pools[name].active = True

    @writes
    def set_pool_autostart(self, name: str, on: bool) -> None:
        self.state.pools[name].autostart = on
