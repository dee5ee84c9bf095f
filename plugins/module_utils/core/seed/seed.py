# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NoCloud seed: an ISO image with the documents cloud-init reads at a guest's first boot, and back again.

The documents are JSON, which is YAML too: no YAML library is needed, and whatever a text holds, it is quoted. User data
goes in unchanged, so it may be of any form cloud-init knows; keys travel in the meta-data and not in the user data.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

from ..model.errors import AblestackError, Code
from ..model.seed_content import SeedContent, SeedNic
from .iso_time import fix_times

LABEL = "cidata"
# ISO 9660's own names are short; guests see the Rock Ridge or Joliet ones.
_FILES = {"meta-data": "/META_DAT.;1", "user-data": "/USER_DAT.;1", "network-config": "/NETWORK_.;1"}
_GATEWAYS = "ablestack-gateways"
_PAIRS = "ablestack-key-pairs"  # how many of the keys are those of the catalog's key pairs
_READABLE_BY_ROOT = 0o100400
# What JSON may leave as it is and YAML's reader refuses or takes for a line break.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def build_seed(content: SeedContent) -> bytes:
    """The image; equal contents make equal bytes. Raises Unsupported where pycdlib is not installed."""
    image = _pycdlib().PyCdlib()
    image.new(interchange_level=3, sys_ident="LINUX", vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, document in _documents(content).items():
        image.add_fp(
            io.BytesIO(document),
            len(document),
            _FILES[name],
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=_READABLE_BY_ROOT,
        )
    out = io.BytesIO()
    image.write_fp(out)
    image.close()
    return fix_times(out.getvalue())


def read_seed(image: bytes) -> SeedContent:
    """The content of an image that build_seed made. Raises InvalidState for any other, Unsupported without pycdlib."""
    library = _pycdlib()
    opened = library.PyCdlib()
    try:
        opened.open_fp(io.BytesIO(image))
        files = {name: _file(opened, name) for name in _names(opened)}
        opened.close()
        meta = json.loads(files["meta-data"])
        network = json.loads(files.get("network-config") or "{}")
        keys, pairs = tuple(meta.get("public-keys", ())), meta.get(_PAIRS, None)
        return SeedContent(
            instance_id=meta["instance-id"],
            hostname=meta["local-hostname"],
            pair_keys=None if keys and pairs is None else keys[:pairs],
            public_keys=keys[pairs or 0 :],
            nics=tuple(_nic(entry, meta.get(_GATEWAYS, {})) for entry in network.get("ethernets", {}).values()),
            user_data=files["user-data"].decode(),
        )
    except (library.pycdlibexception.PyCdlibException, ValueError, KeyError, TypeError, AttributeError) as error:
        # nothing of the error's text: it may quote the content
        raise AblestackError(
            Code.INVALID_STATE,
            "the VM's seed image is not readable",
            "give user_data and SSH keys to have it made anew",
        ) from error


def _documents(content: SeedContent) -> dict[str, bytes]:
    meta: dict[str, Any] = {"instance-id": content.instance_id, "local-hostname": content.hostname}
    keys = (*(content.pair_keys or ()), *content.public_keys)
    if keys:
        # cloud-init gives these to the image's default user
        meta["public-keys"] = list(keys)
    if keys and content.pair_keys is not None:
        meta[_PAIRS] = len(content.pair_keys)
    spare = {nic.mac: nic.gateway for nic in content.nics[1:] if nic.gateway}
    if spare:
        # For read_seed alone: guests get no route by these, but the seed of a VM remembers them.
        meta[_GATEWAYS] = spare
    documents = {"meta-data": _json(meta), "user-data": content.user_data.encode()}
    if content.nics:
        # Without this document cloud-init runs DHCP on one NIC of its choice.
        ethernets = {f"eth{index}": _ethernet(nic, index) for index, nic in enumerate(content.nics)}
        documents["network-config"] = _json({"version": 2, "ethernets": ethernets})
    return documents


def _ethernet(nic: SeedNic, index: int) -> dict[str, Any]:
    """A NIC in netplan's words, found by its MAC: guests name their NICs as they like.

    The default route is the first one's, the default NIC; what DHCP says to the others counts less.
    """
    entry: dict[str, Any] = {"match": {"macaddress": nic.mac}, "dhcp4": not nic.address}
    if nic.address:
        entry["addresses"] = [nic.address]
    elif index:
        entry["dhcp4-overrides"] = {"route-metric": 100 * (index + 1)}
    if nic.gateway and not index:
        # not `default` and not gateway4: old renderers do not know the one, new ones warn of the other
        entry["routes"] = [{"to": "::/0" if ":" in nic.gateway else "0.0.0.0/0", "via": nic.gateway}]
    if nic.dns:
        entry["nameservers"] = {"addresses": list(nic.dns)}
    return entry


def _nic(entry: Any, gateways: Any) -> SeedNic:
    mac = entry["match"]["macaddress"]
    return SeedNic(
        mac=mac,
        address=next(iter(entry.get("addresses", ())), ""),
        gateway=next((route["via"] for route in entry.get("routes", ())), gateways.get(mac, "")),
        dns=tuple(entry.get("nameservers", {}).get("addresses", ())),
    )


def _json(document: Any) -> bytes:
    """JSON that every YAML reader reads alike: escapes of pairs of surrogates are JSON's alone."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match.group()):04x}", text).encode() + b"\n"


def _names(image: Any) -> list[str]:
    found = (child.rock_ridge.name() for child in image.list_children(rr_path="/") if child.rock_ridge)
    return [name.decode() for name in found if name.decode() in _FILES]


def _file(image: Any, name: str) -> bytes:
    out = io.BytesIO()
    image.get_file_from_iso_fp(out, rr_path=f"/{name}")
    return out.getvalue()


def _pycdlib() -> Any:
    try:
        import pycdlib
    except ImportError as error:
        raise AblestackError(
            Code.UNSUPPORTED,
            "the Python library pycdlib, which makes a VM's cloud-init seed, is not installed where this module runs",
            "install it there (Debian: python3-pycdlib; else: pip install pycdlib)",
        ) from error
    return pycdlib
