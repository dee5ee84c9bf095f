# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as people and playbooks see it: the `vm` value of results (INTERFACE 2), and what of it a diff shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .catalog import HostSpec
from .values import UNKNOWN, gib
from .vm import DiskRecord, VmConfig, VmFacts, VmRecord

_NOT_IN_DIFF = ("uri", "ip_address", "managed", "created", "destroyed_at", "expunge_at", "id")


def vm_view(vm: VmFacts) -> dict[str, Any]:
    """The VM with every field of INTERFACE 2; sizes in GiB, memory in MiB, times as UTC text."""
    config = vm.live if vm.live and vm.is_active else vm.config
    record = vm.record or VmRecord(name=vm.config.domain_name)
    nics = _nics(vm, config, record)
    mark = record.mark
    destroyed = not vm.exists
    return {
        "id": vm.id,
        "name": vm.name,
        "display_name": record.display_name or vm.name,
        "group": record.group,
        "labels": dict(record.labels),
        "state": vm.state,
        **_where(vm.host),
        "template": record.template,
        "iso": _inserted(record),
        "compute_offering": record.compute_offering,
        "cpu": config.cpu,
        "memory": config.memory,
        "boot_type": config.boot_type,
        "boot_mode": config.boot_mode,
        "tpm": config.tpm,
        "dynamic_scaling": record.dynamic_scaling,
        "disks": _disks(config, record),
        "nics": nics,
        "ip_address": nics[0]["ip"] if nics else "",
        "ssh_key_pairs": list(record.ssh_key_pairs),
        "affinity_groups": list(record.affinity_groups),
        "snapshots": list(record.snapshots),
        "protected": record.protected,
        "autostart": record.autostart,
        "created": record.created,
        "destroyed_at": mark.since if destroyed else "",
        "expunge_at": mark.expunge_at if destroyed else "",
        "managed": vm.record is not None,
    }


def _where(host: HostSpec) -> dict[str, Any]:
    return {"zone": host.zone, "pod": host.pod, "cluster": host.cluster, "host": host.name, "uri": host.uri}


def _inserted(record: VmRecord) -> str:
    """The ISO in the CD drive; the record's own `iso` is what it was deployed from."""
    drive = record.disk("iso")
    return drive.name if drive else record.iso


def _disks(config: VmConfig, record: VmRecord) -> list[dict[str, Any]]:
    """Root and data disks; the seed is ours and the CD drive is not a disk of the VM's."""
    recorded = {disk.target: disk for disk in record.disks}
    disks = []
    for position, disk in enumerate(disk for disk in config.disks if disk.kind == "disk"):
        known = recorded.get(disk.target) or DiskRecord(
            name=disk.target,
            role="data" if position else "root",
            device=position,
            target=disk.target,
            pool="",
            volume="",
        )
        disks.append(
            {
                "name": known.name,
                "role": known.role,
                "device": known.device,
                "target": disk.target,
                "pool": known.pool,
                "volume": known.volume or disk.path or disk.source,
                "size_gib": gib(known.size),
                "format": disk.format,
                "offering": known.offering,
                "min_iops": known.min_iops,
                "max_iops": disk.max_iops,
            }
        )
    return sorted(disks, key=lambda disk: int(disk["device"]))


def _nics(vm: VmFacts, config: VmConfig, record: VmRecord) -> list[dict[str, Any]]:
    wanted = {nic.mac: nic.ip for nic in record.nics}
    order = list(wanted)  # a running definition has them as they were plugged in
    nics = []
    in_order = sorted(config.nics, key=lambda nic: order.index(nic.mac) if nic.mac in wanted else len(order))
    for position, nic in enumerate(in_order):
        found = vm.addresses.get(nic.mac, ())
        nics.append(
            {
                "network": nic.network,
                "mac": nic.mac,
                "ip": wanted.get(nic.mac) or main_address(found),
                "ip_addresses": list(found),
                "default": position == 0,
                "model": nic.model,
            }
        )
    return nics


def main_address(addresses: tuple[str, ...]) -> str:
    """The one to connect to: the first IPv4 address, else the first."""
    return next((ip for ip in addresses if ":" not in ip), addresses[0] if addresses else "")


def diff_view(vm: VmFacts | None, drawn: tuple[str, ...] = ()) -> dict[str, Any]:
    """The part of the view a diff shows: what is configured, not what time and chance add.

    `drawn` are values drawn for this run (id, MACs): they read as UNKNOWN, so that check mode and run agree.
    """
    if vm is None:
        return {}
    view = vm_view(vm)
    asked = {nic.mac: nic.ip for nic in vm.record.nics} if vm.record else {}
    for nic in view["nics"]:
        del nic["ip_addresses"]
        nic["ip"] = asked.get(nic["mac"], "")
    if vm.record:
        view["user_data"] = _digest_note(vm.record.user_data_digest, drawn)
        view["ssh_keys"] = _digest_note(vm.record.keys_digest or vm.record.key_pairs_digest, drawn)
        view["ssh_public_keys"] = _digest_note(vm.record.public_keys_digest, drawn)
    shown = {key: value for key, value in view.items() if key not in _NOT_IN_DIFF}
    masked: dict[str, Any] = _masked(shown, drawn)
    return masked


def _digest_note(digest: str, drawn: tuple[str, ...]) -> str:
    """A secret's place in a diff: its digest tells that it changed and nothing else; of a new VM not even that."""
    if not digest:
        return ""
    return "given" if drawn else f"digest {digest[:12]}"


def _masked(value: Any, drawn: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(item, drawn) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, drawn) for item in value]
    if isinstance(value, str) and any(text in value for text in drawn):
        return UNKNOWN
    return value


def restart_required(vm: VmFacts) -> bool:
    """Whether the running definition lags behind the stored one, so that only a stop and start brings them together."""
    live = vm.live
    if live is None or not vm.is_active or live == vm.config:
        return False
    return _essence(live) != _essence(vm.config)


def _essence(config: VmConfig) -> dict[str, Any]:
    return {
        "cpu": (config.cpu, config.max_cpu),
        "memory": (config.memory, config.max_memory > config.memory),  # odd sizes round the maximum otherwise
        "seed": config.seeds,
        "boot": (config.boot_type, config.boot_mode, config.tpm),
        "disks": sorted(disk.target for disk in config.disks),
        "nics": sorted(nic.mac for nic in config.nics),
    }
