# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of ablestack_vm, and by meta/runtime.yml of every module that has none of its own."""

from __future__ import annotations

from ansible_collections.ablestack.kvm.plugins.plugin_utils.installed import InstalledAction


class ActionModule(InstalledAction):
    """Runs the module that the task names."""
