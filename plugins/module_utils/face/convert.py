# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of one VM to its specification: every check that needs neither the catalog nor a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.model.errors import AblestackError, invalid
from ..core.model.values import (
    CENTURY,
    check_file_stem,
    check_mac,
    check_public_key,
    check_vm_name,
    disk_bytes,
    memory_mib,
)
from ..core.model.vm_spec import AUTO, STATES, WAITS, DiskSpec, NicSpec, VmSpec
from .checks import (
    Check,
    address,
    distinct,
    filled,
    flag,
    known_keys,
    labels,
    many,
    mapping,
    no_repeats,
    number,
    one_of,
    short_text,
    text,
    vm_id,
)
from .vm_options import BOOT_MODES, BOOT_TYPES, CLONES, STATE_ALIASES

MAX_USER_DATA = 32 * 1024  # bytes; Mold: the limit of an HTTP POST's user data
NIC_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci", "pcnet")
_NIC_KEYS = ("name", "ip", "mac", "model")


Checked = dict[str, tuple[Any, Any]]
"""By option the last value that was checked, and what became of it."""


def vm_spec(options: Mapping[str, Any], place: str = "", checked: Checked | None = None) -> VmSpec:
    """The specification that an `ablestack_vm` task, or an entry of a fleet, describes.

    An option that is None or absent counts as left out. `place` ("vms[3]") tells entries apart in errors, and `checked`
    spares them the checks of what they share. Raises InvalidInput.
    """
    try:
        return _vm_spec(mapping(options, "a VM"), {} if checked is None else checked)
    except AblestackError as error:
        if not place:
            raise
        raise AblestackError(error.code, f"{place}: {error.message}", error.hint, **error.details) from error


def _vm_spec(options: Mapping[str, Any], checked: Checked) -> VmSpec:
    known_keys(options, _CHECKS)
    spec = VmSpec(**{key: _value(key, value, checked) for key, value in options.items() if value is not None})
    if not (spec.name or spec.id):
        raise invalid("neither name nor id is given", "say which VM is meant")
    if spec.template and spec.iso:
        raise invalid("template and iso exclude each other", "name the one to deploy from")
    if spec.boot_type == "bios" and spec.boot_mode == "secure":
        raise invalid("secure boot needs UEFI", "set boot_type: uefi, or boot_mode: legacy")
    return spec


def _value(key: str, value: Any, checked: Checked) -> Any:
    known = checked.get(key)
    if known is None or known[0] is not value:
        known = checked[key] = (value, _CHECKS[key](value, key))
    return known[1]


def _vm_name(value: Any, _what: str) -> str:
    return check_vm_name(value)


def _stem(value: Any, what: str) -> str:
    return check_file_stem(text(value, what), what)


def _stem_or_none(value: Any, what: str) -> str:
    return _stem(value, what) if text(value, what) else ""


def _disk(value: Any, what: str) -> DiskSpec:
    """One entry of data_disks; options that are not given are empty."""
    entry = {key: item for key, item in mapping(value, what).items() if item is not None}
    known_keys(entry, _DISK_CHECKS, what)
    if "name" not in entry:
        raise invalid(f"{what} has no name", "name every data disk: its volume is found by it")
    # in errors a disk is better known by its name than by its place
    place = f"{what} '{entry['name']}'"
    values = {key: check(entry[key], f"{key} of {place}") for key, check in _DISK_CHECKS.items() if key in entry}
    values["offering"] = values.pop("disk_offering", "")
    disk = DiskSpec(**values)
    if disk.min_iops and disk.max_iops and disk.min_iops > disk.max_iops:
        raise invalid(f"{place} has min_iops above max_iops", "it must be min_iops <= max_iops")
    return disk


def _disks(value: Any, what: str) -> tuple[DiskSpec, ...]:
    disks = many(_disk)(value, what)
    no_repeats((disk.name for disk in disks), "data disk")
    no_repeats((disk.device for disk in disks if disk.device is not None), "device of a data disk")
    return disks


def device_id(value: Any, what: str) -> int:
    """The device id of a data disk."""
    device: int = number(1, 23)(value, what)
    if device == 3:
        raise invalid(f"{what} is 3, which is the CD drive's", "choose another, or leave it out")
    return device


def _nic(value: Any, what: str) -> NicSpec:
    """One entry of networks: a name, or a dict."""
    given = {"name": value} if isinstance(value, str) else mapping(value, what)
    entry = {key: item for key, item in given.items() if item is not None}
    known_keys(entry, _NIC_KEYS, what)
    if "name" not in entry:
        raise invalid(f"{what} has no name", "name the network of every NIC")
    mac = text(entry.get("mac", ""), f"mac of {what}")
    model = entry.get("model", "")
    return NicSpec(
        network=filled(entry["name"], f"name of {what}"),
        ip=AUTO if entry.get("ip") == AUTO else address(entry.get("ip", ""), f"ip of {what}"),
        mac=check_mac(mac) if mac else "",
        model=one_of(NIC_MODELS)(model, f"model of {what}") if model else "",
    )


def _nics(value: Any, what: str) -> tuple[NicSpec, ...]:
    nics = many(_nic)(value, what)
    if not nics:
        raise invalid("networks is an empty list", "a VM has at least one network: name it, or leave networks out")
    no_repeats((nic.mac for nic in nics if nic.mac), "MAC address")
    no_repeats((f"{nic.ip} in {nic.network}" for nic in nics if nic.ip not in ("", AUTO)), "address")
    return nics


def _user_data(value: Any, _what: str) -> str:
    """Text for cloud-init, unchanged; an error shows nothing of it."""
    if not isinstance(value, str):
        raise invalid(f"user_data must be a text, not {type(value).__name__}", "write it as a block: 'user_data: |'")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise invalid("user_data is not UTF-8 text", "put binary content into it as base64") from None
    if size > MAX_USER_DATA:
        raise invalid(f"user_data has {size} bytes", f"at most {MAX_USER_DATA} (32 KiB) are possible")
    return value


def _delete_data_disks(value: Any, what: str) -> tuple[str, ...] | str:
    if isinstance(value, str):
        if value not in ("none", "all"):
            raise invalid(f"{what} '{value}' is neither none nor all", f"for one disk write a list: [{value}]")
        return value
    names = distinct(_stem)(value, what)
    return names or "none"


def _mib(value: Any, what: str) -> int:
    return memory_mib(value, what)


def _bytes(value: Any, what: str) -> int:
    return disk_bytes(value, what)


_DISK_CHECKS: Mapping[str, Check] = {
    "name": _stem,
    "disk_offering": text,
    "size": _bytes,
    "min_iops": number(0),
    "max_iops": number(0),
    "pool": text,
    "device": device_id,
}
_CHECKS: Mapping[str, Check] = {
    "name": _vm_name,
    "id": vm_id,
    "state": one_of(STATES, STATE_ALIASES),
    "zone": filled,
    "pod": filled,
    "cluster": filled,
    "host": filled,
    "template": _stem,
    "iso": _stem,
    "root_disk_size": _bytes,
    "root_disk_offering": filled,
    "clone": one_of(CLONES),
    "compute_offering": filled,
    "cpu": number(1, 4096),
    "memory": _mib,
    "data_disks": _disks,
    "networks": _nics,
    "ssh_key_pairs": distinct(filled),
    "ssh_public_keys": distinct(check_public_key),
    "boot_type": one_of(BOOT_TYPES),
    "boot_mode": one_of(BOOT_MODES),
    "tpm": flag,
    "dynamic_scaling": flag,
    "user_data": _user_data,
    "affinity_groups": distinct(filled),
    "display_name": short_text,
    "group": short_text,
    "labels": labels,
    "start": flag,
    "autostart": flag,
    "protected": flag,
    "attached_iso": _stem_or_none,
    "forced": flag,
    "timeout": number(1),
    "force_after_timeout": flag,
    "allow_restart": flag,
    "delete_data_disks": _delete_data_disks,
    "expunge_delay": number(0, CENTURY),
    "wait": one_of(WAITS),
    "wait_timeout": number(1),
}
