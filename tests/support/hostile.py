# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategies for what people and attackers write into options: near misses, nonsense, and malice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

NASTY = (
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "-rf",
    "--help",
    "$(reboot)",
    "`id`",
    "a;b",
    "'\"",
    "<a/>",
    "]]>",
    "&lol;",
    "{{ 7 * 7 }}",
    "%s%n",
    "a\x00b",
    "a\nb",
    "\x1b[31m",
    "\u202eabc",
    "\ud800",
    "가상머신",
    "e\u0301",
    "K" * 300,
    "0",
    "-1",
    "1e999",
    "NaN",
    "true",
    "null",
    "999999999999999999999",
)
# What a site under test (support/sites.py) knows, in and out of place, and sound values of every kind of option.
KNOWN: dict[str, tuple[Any, ...]] = {
    "name": (
        "web1",
        "web2",
        "gone",
        "spare",
        "mine",
        "foreign",
        "lan",
        "default",
        "tiny",
        "disc",
        "new1",
        "blue",
        "s1",
    ),
    "vm": ("web1", "web2", "web2", "web2", "gone", "foreign"),
    "vms": ("web1", "web2", "foreign"),
    "template": ("tiny",),
    "iso": ("disc",),
    "attached_iso": ("disc", ""),
    "compute_offering": ("small", "small", "medium", "custom", "tagged"),
    "disk_offering": ("data1", "data2", "custom"),
    "root_disk_offering": ("data1", "custom"),
    "zone": ("default",),
    "pod": ("default",),
    "cluster": ("default",),
    "host": ("kvm01", "kvm02"),
    "hosts": ("kvm01", "kvm02"),
    "pool": ("default",),
    "affinity_groups": ("apart", "together"),
    "ssh_key_pairs": ("ops",),
    "ssh_public_keys": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x",),
    "user_data": ("#cloud-config\n{}\n",),
    "size": ("1", "2GiB", "10"),
    "root_disk_size": ("1", "2GiB"),
    "memory": ("512", "1GiB"),
    "cidr": ("10.20.0.0/24", "10.30.0.0/16"),
    "ip6_cidr": ("fd00:20::/64",),
    "gateway": ("10.20.0.1", "10.30.0.1"),
    "dhcp_start": ("10.20.0.100",),
    "dhcp_end": ("10.20.0.199",),
    "dns_servers": ("9.9.9.9",),
    "names": ("db.example.test",),
    "domain": ("example.test",),
    "ip": ("10.10.10.20", "auto"),
    "mac": ("52:54:00:00:00:01", "52:54:00:00:00:02"),
    "src": ("/nonexistent/image.qcow2",),
    # no server: what one answers tomorrow, check mode cannot tell
    "url": ("file:///etc/passwd",),
    "dest": ("/nonexistent/out",),
    "checksum": ("sha256:" + "0" * 64,),
    "group": ("blue",),
    "delete_data_disks": ("none", "all", ["mine"]),
    "bridge": ("br0",),
    "volume": ("default/loose",),
}
SPOILED: dict[str, tuple[Any, ...]] = {
    "cidr": ("10.10.10.0/24", "192.168.122.0/24", "10.0.0.0/33", "fd00::/64", "0.0.0.0/0"),
    "gateway": ("10.10.10.1", "::1"),
    "dhcp_start": ("10.20.0.255",),
    "dhcp_end": ("10.20.0.2",),
    "ip": ("10.10.10.1", "192.168.122.50", "::", "300.1.1.1"),
    "mac": ("52:54:00:00:00:0", "ff:ff:ff:ff:ff:ff"),
    "src": ("/dev/zero", "/", "relative"),
    "url": ("gopher://x", "http://"),
    "dest": ("/", "relative/x"),
    "checksum": ("md5:0", "sha256:xyz"),
    "size": ("0", "-1", "9999TiB", "1.5"),
    "memory": ("0", "9999GiB"),
    "template": ("disc",),
    "iso": ("tiny",),
    "bridge": ("virbr0",),
}
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**65), 2**65),
        st.floats(allow_nan=True),
        st.text(max_size=20),
        st.sampled_from(NASTY),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.sampled_from((1, 2, 4))


def values(name: str, option: Mapping[str, Any], wild: float = 0.3) -> st.SearchStrategy[Any]:
    """Values for one option of an argument specification; about `wild` of them have nothing to do with it."""
    tame = _tame(name, option)
    if not wild:
        return tame
    mad = st.one_of(JSON, st.sampled_from(NASTY), st.sampled_from(SPOILED.get(name, ("nosuch",))))
    return st.floats(0, 1).flatmap(lambda dice: mad if dice < wild else tame)


def _tame(name: str, option: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    kind = option.get("type", "str")
    if option.get("choices"):
        return st.sampled_from(option["choices"])
    if kind == "list":
        inner = {"type": option.get("elements", "str"), "options": option.get("options")}
        one = _nic() if name == "networks" else _tame(name, inner)
        return st.lists(one, max_size=3)
    if kind == "dict":
        if option.get("options"):
            return options_of(option["options"])
        if name in ("vms", "defaults"):
            return st.deferred(lambda: options_of(_vm_options()))
        return st.dictionaries(st.sampled_from(("tier", "team")), st.sampled_from(("db", "", "web")), max_size=2)
    if kind == "bool":
        return st.booleans()
    if kind == "int":
        # never so long that a test would wait for it
        return st.sampled_from((0, 1, 2)) if name.endswith("timeout") else NUMBERS
    return st.sampled_from(KNOWN.get(name, ("word", "two words", "x")))


def _nic() -> st.SearchStrategy[Any]:
    entry = {"name": {"type": "str"}, "ip": {"type": "str"}, "mac": {"type": "str"}}
    name = st.sampled_from(("default", "lan"))
    return name | st.builds(lambda name, more: {**more, "name": name}, name, options_of(entry))


def _vm_options() -> Mapping[str, Any]:
    from ansible_collections.ablestack.kvm.plugins.module_utils.face.vm_options import VM_OPTIONS

    return VM_OPTIONS


def options_of(spec: Mapping[str, Any], wild: float = 0.0) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters for an argument specification: what is required, and some of the rest."""
    required = {name: values(name, option, wild) for name, option in spec.items() if option.get("required")}
    optional = {name: values(name, option, wild) for name, option in spec.items() if not option.get("required")}
    some = st.lists(st.sampled_from(sorted(optional)), max_size=5, unique=True) if optional else st.just([])
    chosen = some.flatmap(lambda names: st.fixed_dictionaries({name: optional[name] for name in names}))
    # most tasks name what they mean
    named = chosen.flatmap(
        lambda picked: (
            st.just(picked)
            if "name" not in optional or "name" in picked
            else st.one_of(st.just(picked), optional["name"].map(lambda name: {**picked, "name": name}))
        )
    )
    return st.tuples(st.fixed_dictionaries(required), named).map(lambda parts: {**parts[0], **parts[1]})
