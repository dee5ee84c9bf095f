# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specification of `ablestack_volume`'s own options, and the specification they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.model.data_volume import STATES, DataVolumeSpec
from ..core.model.values import check_file_stem, disk_bytes
from .checks import Check, filled, number, one_of
from .convert import device_id

VOLUME_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "present", "choices": [*STATES]},
    "vm": {"type": "str"},
    "size": {"type": "str"},
    "disk_offering": {"type": "str"},
    "min_iops": {"type": "int"},
    "max_iops": {"type": "int"},
    "device": {"type": "int"},
    "pool": {"type": "str"},
    "host": {"type": "str"},
}


def volume_spec(options: Mapping[str, Any]) -> DataVolumeSpec:
    """The specification that an `ablestack_volume` task describes; None counts as left out. Raises InvalidInput.

    A volume that is to be there for a VM is to be attached to it.
    """
    given = {key: value for key, value in options.items() if value is not None}
    spec = DataVolumeSpec(**{key: _CHECKS[key](value, key) for key, value in given.items()})
    if spec.state == "present" and spec.vm:
        spec = replace(spec, state="attached")
    spec.check()
    return spec


_CHECKS: Mapping[str, Check] = {
    "name": lambda value, what: check_file_stem(value, "volume"),
    "state": one_of(STATES),
    "vm": filled,
    "size": disk_bytes,
    "disk_offering": filled,
    "min_iops": number(0),
    "max_iops": number(0),
    "device": device_id,
    "pool": filled,
    "host": filled,
}
