# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pools of different hosts are one storage, by what their definitions say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.resources import PoolFacts
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.storage import Place, groups_sharing, pool_marks
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.host_mapping import read_pool

NAS = "<host name='nas1'/>"
KINDS = {
    "netfs": (f"{NAS}<dir path='/export/vm'/><format type='nfs'/>", "nas1 /export/vm"),
    "gluster": ("<host name='g1'/><dir path='/'/><name>vol</name>", "g1 vol"),
    "rbd": ("<host name='mon2' port='6789'/><host name='MON1'/><name>images</name>", "mon1,mon2 images"),
    "iscsi": (f"{NAS}<device path='iqn.2026-01.example:vm'/>", "nas1 iqn.2026-01.example:vm"),
    "dir": ("", ""),
    "fs": ("<device path='/dev/sdb1'/>", ""),
    "logical": ("<name>vg</name>", ""),
}


def document(kind: str, source: str) -> str:
    return f"<pool type='{kind}'><name>p</name><uuid>u</uuid><source>{source}</source></pool>"


@pytest.mark.parametrize("kind", KINDS)
def test_network_storage_says_where_it_is(kind: str) -> None:
    source, expected = KINDS[kind]
    assert read_pool(document(kind, source)).source == expected


def test_the_same_source_in_other_words_is_the_same() -> None:
    slash = read_pool(document("netfs", f"{NAS}<dir path='/export/vm/'/>"))
    order = read_pool(document("rbd", "<host name='mon1'/><host name='mon2'/><name>images</name>"))
    assert (slash.source, order.source) == (KINDS["netfs"][1], KINDS["rbd"][1])


def place(host: str, pool: str = "default", uuid: str = "", source: str = "", shared: tuple[str, ...] = ()) -> Place:
    spec = HostSpec(host, f"test://{host}/", shared_pools=shared)
    return spec, PoolFacts(pool, uuid or f"{host}-{pool}", "netfs" if source else "dir", "/p", 1, 1, source)


def groups(*places: Place) -> list[list[str]]:
    return [[f"{host.name}/{pool.name}" for host, pool in group] for group in groups_sharing(places)]


def test_local_pools_are_alone() -> None:
    assert groups(place("a"), place("b"), place("a", "other")) == [["a/default"], ["b/default"], ["a/other"]]


def test_one_source_one_uuid_or_the_catalog_makes_one_storage() -> None:
    assert groups(place("a", "x", source="nas /e"), place("b", "y", source="nas /e")) == [["a/x", "b/y"]]
    assert groups(place("a", uuid="u"), place("b"), place("c", uuid="u")) == [["a/default", "c/default"], ["b/default"]]
    gfs = ("gfs",)
    assert groups(place("a", "gfs", shared=gfs), place("b", "gfs"), place("c", "gfs", shared=gfs)) == [
        ["a/gfs", "c/gfs"],
        ["b/gfs"],
    ]


def test_of_one_source_in_two_pools_of_one_host_there_are_two_members() -> None:
    assert groups(place("a", "x", source="nas /e"), place("a", "y", source="nas /e")) == [["a/x", "a/y"]]


places = st.lists(
    st.builds(
        place,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["default", "gfs"]),
        st.sampled_from(["", "u1", "u2"]),
        st.sampled_from(["", "nas /1", "nas /2"]),
        st.sampled_from([(), ("gfs",), ("gfs", "default")]),
    ),
    max_size=8,
)


@given(places)
def test_every_place_is_in_one_group_with_all_that_have_a_mark_in_common(found: list[Place]) -> None:
    grouped = groups_sharing(found)
    assert sorted(id(place) for group in grouped for place in group) == sorted(map(id, found))
    marks = [frozenset().union(*map(pool_marks, group)) for group in grouped]
    assert all(not (one & other) for at, one in enumerate(marks) for other in marks[at + 1 :])
    firsts = [found.index(group[0]) for group in grouped]
    assert firsts == sorted(firsts)
