# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents what every module promises: check mode, diff, idempotence, where it runs, and its action group."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/ablestack.kvm.ablestack) in C(module_defaults) to set the connection once for all modules.
    support: full
    membership:
      - ablestack.kvm.ablestack
  check_mode:
    description: Can run in check mode and say what it would do, without changing anything.
    support: full
  diff_mode:
    description: Returns what it changed, or would change in check mode, when run with C(--diff).
    support: full
  idempotent:
    description: Run again with the same options, it changes nothing and says so.
    support: full
  platform:
    description: Where it runs. The KVM hosts are reached through libvirt only, from any machine with libvirt-python.
    platforms: posix
    support: full
"""

    # for modules that only read
    INFO = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/ablestack.kvm.ablestack) in C(module_defaults) to set the connection once for all modules.
    support: full
    membership:
      - ablestack.kvm.ablestack
  check_mode:
    description: Can run in check mode and say what it would do, without changing anything.
    support: full
    details:
      - This module never changes anything, so check mode makes no difference.
  diff_mode:
    description: Returns what it changed, or would change in check mode, when run with C(--diff).
    support: N/A
    details:
      - This module never changes anything.
  idempotent:
    description: Run again with the same options, it changes nothing and says so.
    support: full
    details:
      - This module never changes anything.
  platform:
    description: Where it runs. The KVM hosts are reached through libvirt only, from any machine with libvirt-python.
    platforms: posix
    support: full
"""
