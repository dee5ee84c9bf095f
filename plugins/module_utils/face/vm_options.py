# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_vm`'s own options, one a line, in the order of the deploy wizard."""

from __future__ import annotations

from typing import Any

from ..core.model.vm_spec import STATES, WAITS

STATE_ALIASES = {"absent": "destroyed"}
CLONES = ("linked", "full")
BOOT_TYPES = ("bios", "uefi")
BOOT_MODES = ("legacy", "secure")

DISK_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "disk_offering": {"type": "str"},
    "size": {"type": "str"},
    "min_iops": {"type": "int"},
    "max_iops": {"type": "int"},
    "pool": {"type": "str"},
    "device": {"type": "int"},
}

VM_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "id": {"type": "str"},
    "state": {"type": "str", "default": "present", "choices": [*STATES, *STATE_ALIASES]},
    # 1 where
    "zone": {"type": "str"},
    "pod": {"type": "str"},
    "cluster": {"type": "str"},
    "host": {"type": "str"},
    # 2 template or ISO
    "template": {"type": "str"},
    "iso": {"type": "str"},
    "root_disk_size": {"type": "str"},
    "clone": {"type": "str", "default": "linked", "choices": [*CLONES]},
    # 3 compute offering
    "compute_offering": {"type": "str"},
    "cpu": {"type": "int"},
    "memory": {"type": "str"},
    "root_disk_offering": {"type": "str"},
    # 4 data disks
    "data_disks": {"type": "list", "elements": "dict", "options": DISK_OPTIONS},
    # 5 networks: names or dicts, hence raw
    "networks": {"type": "list", "elements": "raw"},
    # 6 SSH keys: public ones, which are no secret
    "ssh_key_pairs": {"type": "list", "elements": "str", "no_log": False},
    "ssh_public_keys": {"type": "list", "elements": "str", "no_log": False},
    # 7 advanced mode
    "boot_type": {"type": "str", "choices": [*BOOT_TYPES]},
    "boot_mode": {"type": "str", "choices": [*BOOT_MODES]},
    "tpm": {"type": "bool"},
    "dynamic_scaling": {"type": "bool"},
    "user_data": {"type": "str", "no_log": True},
    "affinity_groups": {"type": "list", "elements": "str"},
    # 8 details
    "display_name": {"type": "str"},
    "group": {"type": "str"},
    "labels": {"type": "dict"},
    "start": {"type": "bool", "default": True},
    "autostart": {"type": "bool"},
    "protected": {"type": "bool"},
    # afterwards
    "attached_iso": {"type": "str"},
    "forced": {"type": "bool", "default": False},
    "timeout": {"type": "int"},
    "force_after_timeout": {"type": "bool", "default": False},
    "allow_restart": {"type": "bool", "default": False},
    # a word or a list, hence raw
    "delete_data_disks": {"type": "raw", "default": "none"},
    "expunge_delay": {"type": "int"},
    "wait": {"type": "str", "default": "running", "choices": [*WAITS]},
    "wait_timeout": {"type": "int", "default": 300},
}
