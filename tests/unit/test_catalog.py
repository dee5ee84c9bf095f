# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading catalogs: what is wrong is said with its place and the nearest key; no input ends in anything else."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog, host_name_of
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.face.connection import catalog_of

WHOLE: dict[str, Any] = {
    "hosts": [
        {
            "name": "kvm01",
            "uri": "qemu+ssh://root@kvm01/system",
            "zone": "seoul",
            "pod": "pod1",
            "cluster": "cluster1",
            "tags": ["ssd"],
            "state": "enabled",
            "pool": "fast",
            "template_pool": "images",
            "shared_pools": ["images"],
            "virt_type": "kvm",
            "cpu_mode": "host-model",
        }
    ],
    "compute_offerings": {
        "small": {"cpu": 1, "memory": 1024},
        "medium": {
            "cpu": 2,
            "memory": "4GiB",
            "max_cpu": 8,
            "max_memory": "16GiB",
            "host_tags": ["ssd"],
            "dynamic_scaling": True,
        },
        "custom": {"custom": True, "min_cpu": 1, "max_cpu": 16, "min_memory": 512, "max_memory": "64GiB"},
    },
    "disk_offerings": {
        "data20": {"size": 20},
        "fast": {"size": 50, "min_iops": 500, "max_iops": 5000, "pool": "nvme", "provisioning": "thin"},
        "custom": {"custom": True},
    },
    "ssh_key_pairs": {"ops": "ssh-ed25519 AAAAC3Nza ops@example"},
    "affinity_groups": {"web": {"type": "host-anti-affinity"}},
    "settings": {
        "cpu_overprovisioning": 1.0,
        "memory_overprovisioning": 1.0,
        "capacity_threshold": 0.85,
        "allocation": "least-used",
        "expunge_delay": 86400,
        "max_vm_snapshots": 10,
        "stop_timeout": 120,
        "max_data_disks": 6,
        "allow_unreachable": True,
    },
}


def test_every_key_of_the_contract_is_read() -> None:
    catalog = read_catalog(WHOLE)
    assert catalog.host("kvm01").templates == "images"
    assert catalog.compute_offering("medium").max_memory == 16 * 1024
    assert catalog.disk_offering("data20").size == 20 * 1024**3
    assert catalog.affinity_group("web").type == "host-anti-affinity"
    assert catalog.settings.stop_timeout == 120
    assert catalog.settings.allow_unreachable is True
    assert read_catalog({"hosts": WHOLE["hosts"]}).settings.allow_unreachable is False
    assert catalog.host("kvm01").zone == "seoul"
    assert catalog.host("kvm01").shared_pools == ("images",)


def test_all_but_hosts_is_optional() -> None:
    host = read_catalog({"hosts": [{"name": "a", "uri": "qemu:///system"}]}).host("a")
    assert (host.zone, host.pool, host.templates, host.state) == ("default", "default", "default", "enabled")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["host"], [], ["'host'", "the catalog", "'hosts'"]),
        (["hosts", 0, "ury"], "x", ["'ury'", "hosts[0]", "'uri'"]),
        (["hosts", 0, "state"], "enable", ["hosts[0].state", "enabled, disabled, maintenance"]),
        (["hosts", 0, "uri"], "kvm01", ["hosts[0].uri", "qemu+ssh://"]),
        (["hosts"], [], ["no hosts"]),
        (["hosts"], None, ["no hosts"]),
        (["hosts"], {"kvm01": "qemu:///system"}, ["no hosts"]),
        (["hosts", 0], "kvm01", ["hosts[0]", "mapping", "str"]),
        (["hosts", 0, "name"], "", ["hosts[0].name", "text"]),
        (["hosts", 0, "name"], None, ["hosts[0]", "'name'"]),
        (["hosts", 0, "name"], 1, ["hosts[0].name", "'1'"]),
        (["hosts", 0, "uri"], None, ["hosts[0]", "'uri'"]),
        (["hosts", 0, "tags"], 5, ["hosts[0].tags", "list"]),
        (["hosts", 0, "tags"], ["ssd", 5], ["hosts[0].tags", "'5'"]),
        (["hosts", 0, "shared_pools"], {"default": True}, ["hosts[0].shared_pools", "list"]),
        (["hosts", 0, "virt_type"], "xen", ["hosts[0].virt_type", "auto, kvm, qemu"]),
        (["compute_offerings"], ["small"], ["compute_offerings", "mapping", "list"]),
        (["compute_offerings", "small"], 1, ["compute_offerings.small", "mapping", "int"]),
        (["compute_offerings", "small", "memory"], None, ["compute_offerings.small", "both cpu and memory"]),
        (["compute_offerings", "small", "memory"], "1 kg", ["compute_offerings.small.memory", "1 kg"]),
        (["compute_offerings", "small", "cpu"], "many", ["compute_offerings.small.cpu", "many"]),
        (["compute_offerings", "small", "cpu"], True, ["compute_offerings.small.cpu", "number"]),
        (["compute_offerings", "medium", "dynamic_scaling"], "perhaps", ["medium.dynamic_scaling", "true nor false"]),
        (["compute_offerings", "medium", "max_memory"], 512, ["memory", "compute_offerings.medium", "order"]),
        (["compute_offerings", "small", "memroy"], 1, ["'memroy'", "compute_offerings.small", "'memory'"]),
        (["compute_offerings", "small", "cpu"], 0, ["compute_offerings.small.cpu", "'0'"]),
        (["compute_offerings", "small", "custom"], True, ["compute_offerings.small", "custom"]),
        (["compute_offerings", "custom", "min_cpu"], 99, ["cpu", "compute_offerings.custom", "order"]),
        (["disk_offerings", "data20", "size"], "20 XB", ["disk_offerings.data20.size", "20 XB"]),
        (["disk_offerings", "data20", "size"], None, ["disk_offerings.data20", "custom"]),
        (["disk_offerings", "custom", "size"], 5, ["disk_offerings.custom", "either"]),
        (["disk_offerings", "fast", "min_iops"], 9000, ["iops", "disk_offerings.fast", "order"]),
        (["disk_offerings", "fast", "provisioning"], "thick", ["disk_offerings.fast.provisioning", "thin, fat"]),
        (["disk_offerings", "fast", "pool"], "", ["disk_offerings.fast.pool", "text"]),
        (["ssh_key_pairs", "ops"], "AAAA", ["ssh_key_pairs.ops", "ssh-ed25519"]),
        (["ssh_key_pairs", "ops"], ["ssh-ed25519 AAAA"], ["ssh_key_pairs.ops", "ssh-ed25519"]),
        (["affinity_groups", "web", "type"], None, ["affinity_groups.web", "'type'", "host-affinity"]),
        (["affinity_groups", "web", "type"], "apart", ["affinity_groups.web.type", "host-anti-affinity"]),
        (["settings", "allocation"], "best", ["settings.allocation", "least-used"]),
        (["settings"], ["stop_timeout"], ["settings", "mapping", "list"]),
        (["settings", "cpu_overprovisioning"], 0, ["settings.cpu_overprovisioning", "greater than zero"]),
        (["settings", "memory_overprovisioning"], "inf", ["settings.memory_overprovisioning", "'inf'"]),
        (["settings", "expunge_delay"], -1, ["settings.expunge_delay", "whole number of seconds"]),
        (["settings", "expunge_delay"], 10**13, ["settings.expunge_delay", "out of range", "100 years"]),
        (["settings", "stop_timeout"], 10**400, ["settings.stop_timeout", "'100000000000…'", "out of range"]),
        (["settings", "capacity_threshold"], 10**400, ["settings.capacity_threshold", "out of range"]),
        (["compute_offerings", "small", "cpu"], 10**400, ["compute_offerings.small.cpu", "out of range"]),
        (["settings", "stop_timeout"], 1.5, ["settings.stop_timeout", "'1.5'"]),
        (["settings", "max_data_disks"], 0, ["settings.max_data_disks", "greater than zero"]),
        (["settings", "capacity_threshold"], 85, ["capacity_threshold", "0.85"]),
        (["settings", "stop_timout"], 1, ["'stop_timout'", "settings", "'stop_timeout'"]),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_key(path: list[Any], value: Any, words: list[str]) -> None:
    data = copy.deepcopy(WHOLE)
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(AblestackError) as error:
        read_catalog(data)
    assert error.value.code is Code.INVALID_INPUT
    assert [word for word in words if word not in error.value.sentence] == []


def places(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of a catalog whose keys are fixed, and how an error names it."""
    yield "the catalog", data
    yield "hosts[0]", data["hosts"][0]
    yield "settings", data["settings"]
    for section in ("compute_offerings", "disk_offerings", "affinity_groups"):
        for name, entry in data[section].items():
            yield f"{section}.{name}", entry


@pytest.mark.parametrize(("where", "key"), [(place, key) for place, entry in places(WHOLE) for key in entry])
@pytest.mark.parametrize("from_file", [False, True])
def test_every_key_is_the_nearest_to_its_misspelling(where: str, key: str, from_file: bool, tmp_path: Path) -> None:
    data = copy.deepcopy(WHOLE)
    entry = dict(places(data))[where]
    entry[key + key[-1]] = entry.pop(key)
    (tmp_path / "catalog.yml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    given: dict[str, Any] = {"catalog_file": str(tmp_path / "catalog.yml")} if from_file else {"catalog": data}
    with pytest.raises(AblestackError) as error:
        catalog_of(given, {})
    assert f"unknown key '{key}{key[-1]}' in {where}: did you mean '{key}'?" in error.value.sentence


def test_a_private_key_in_the_catalog_is_refused_without_being_repeated() -> None:
    data = {**WHOLE, "ssh_key_pairs": {"ops": "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n"}}
    with pytest.raises(AblestackError) as error:
        read_catalog(data)
    assert "c2VjcmV0" not in error.value.sentence


def test_two_hosts_of_one_name_are_refused() -> None:
    with pytest.raises(AblestackError, match="more than once"):
        read_catalog({**WHOLE, "hosts": WHOLE["hosts"] * 2})


def test_two_names_of_one_host_are_refused() -> None:
    hosts = [{"name": name, "uri": "qemu+ssh://root@kvm01/system"} for name in ("kvm01", "kvm02")]
    with pytest.raises(AblestackError) as error:
        read_catalog({"hosts": hosts})
    assert error.value.code.value == "InvalidInput"
    assert "hosts 'kvm01' and 'kvm02' of the catalog have the same uri" in error.value.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = st.sampled_from(sorted(WHOLE))
EXAMPLES = settings(max_examples=int(os.environ.get("ABLESTACK_FUZZ", "100")), suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(data=anything)
def test_whatever_a_catalog_is_it_is_read_or_refused(data: Any, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    refused_or_read(data)


@EXAMPLES
@given(section=sections, data=anything)
def test_whatever_a_section_is_it_is_read_or_refused(section: str, data: Any, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    refused_or_read({**WHOLE, section: data})


@EXAMPLES
@given(section=sections, key=st.text(max_size=8), data=anything)
def test_whatever_an_entry_is_it_is_read_or_refused(
    section: str, key: str, data: Any, fuzz_case: Callable[[], None]
) -> None:
    fuzz_case()
    if section == "hosts":
        refused_or_read({**WHOLE, "hosts": [{**WHOLE["hosts"][0], key: data}]})
    else:
        refused_or_read({**WHOLE, section: {**WHOLE[section], key: data}})


def refused_or_read(data: Any) -> None:
    error: AblestackError | None = None
    try:
        assert isinstance(read_catalog(data), Catalog)
    except AblestackError as refused:
        error = refused
    assert error is None or (error.code is Code.INVALID_INPUT and error.sentence.isprintable())


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("qemu:///system", "localhost"),
        ("qemu+ssh://root@kvm01.example:2222/system", "kvm01.example"),
        ("qemu+tls://kvm02/system", "kvm02"),
        ("qemu+ssh://root@[fd00::1]:22/system", "fd00::1"),
        ("qemu+unix:///system?socket=/run/libvirt/libvirt-sock", "localhost"),
    ],
)
def test_a_uri_gives_its_host_a_name(uri: str, name: str) -> None:
    assert host_name_of(uri) == name
