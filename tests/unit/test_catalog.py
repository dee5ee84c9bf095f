# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading catalogs: what is wrong is said with its place and the nearest key; no input ends in anything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import Catalog, host_name_of
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog_reader import read_catalog
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code

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
    },
}


def test_every_key_of_the_contract_is_read() -> None:
    catalog = read_catalog(WHOLE)
    assert catalog.host("kvm01").templates == "images"
    assert catalog.compute_offering("medium").max_memory == 16 * 1024
    assert catalog.disk_offering("data20").size == 20 * 1024**3
    assert catalog.affinity_group("web").type == "host-anti-affinity"
    assert catalog.settings.stop_timeout == 120
    assert catalog.host("kvm01").zone == "seoul"


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
        (["compute_offerings", "small", "memroy"], 1, ["'memroy'", "compute_offerings.small", "'memory'"]),
        (["compute_offerings", "small", "cpu"], 0, ["compute_offerings.small.cpu", "'0'"]),
        (["compute_offerings", "small", "custom"], True, ["compute_offerings.small", "custom"]),
        (["compute_offerings", "custom", "min_cpu"], 99, ["cpu", "compute_offerings.custom", "order"]),
        (["disk_offerings", "data20", "size"], "20 XB", ["disk_offerings.data20.size", "20 XB"]),
        (["affinity_groups", "web", "type"], "apart", ["affinity_groups.web.type", "host-anti-affinity"]),
        (["settings", "allocation"], "best", ["settings.allocation", "least-used"]),
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


def test_a_private_key_in_the_catalog_is_refused_without_being_repeated() -> None:
    data = {**WHOLE, "ssh_key_pairs": {"ops": "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n"}}
    with pytest.raises(AblestackError) as error:
        read_catalog(data)
    assert "c2VjcmV0" not in error.value.sentence


def test_two_hosts_of_one_name_are_refused() -> None:
    with pytest.raises(AblestackError, match="more than once"):
        read_catalog({**WHOLE, "hosts": WHOLE["hosts"] * 2})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = st.sampled_from(sorted(WHOLE))


@given(anything)
def test_whatever_a_catalog_is_it_is_read_or_refused(data: Any) -> None:
    refused_or_read(data)


@given(sections, anything)
def test_whatever_a_section_is_it_is_read_or_refused(section: str, data: Any) -> None:
    refused_or_read({**WHOLE, section: data})


@given(sections, st.text(max_size=8), anything)
def test_whatever_an_entry_is_it_is_read_or_refused(section: str, key: str, data: Any) -> None:
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
