# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a network: its range, gateway and DHCP range, checked, and chosen where they are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..model.errors import AblestackError, Code, invalid
from ..model.network_spec import NetworkSpec
from ..model.resources import NetworkFacts

MAX_LEASES = 65535
"""As many addresses as libvirt allows a DHCP range to have."""
_FIRST_LEASE6, _LEASES6 = 0x1000, 0x1000


@dataclass(frozen=True)
class Addresses:
    """What the wanted network's addresses are; empty where there is none."""

    cidr: str = ""
    gateway: str = ""
    dhcp_start: str = ""
    dhcp_end: str = ""
    cidr6: str = ""
    gateway6: str = ""


def addresses_of(spec: NetworkSpec, base: NetworkFacts | None) -> Addresses:
    """The addresses of a network with DHCP of ours. What is left out stays as in `base`, while the range does.

    Raises InvalidInput for whatever does not fit together.
    """
    cidr = spec.cidr or (base.cidr if base else "")
    if not cidr:
        raise invalid(f"network '{spec.name}' has no address range", "give cidr, such as 10.10.10.0/24")
    network = _network(cidr, "cidr")
    same = base is not None and base.cidr == str(network)
    gateway = _inside(spec.gateway or (base.gateway if base and same else ""), network, "gateway", network.first + 1)
    kept = base if same and base and not _comes_into_range(gateway, base) else None
    start, end = _range(spec, network, gateway, kept)
    cidr6, gateway6 = _second(spec, base, network.version)
    return Addresses(str(network), str(gateway), str(start), str(end), cidr6, gateway6)


def _comes_into_range(gateway: Any, base: NetworkFacts) -> bool:
    """Then the range has to give way. A gateway that was there before is served beside it, as somebody wished."""
    return str(gateway) != base.gateway and _within(gateway, base.dhcp_start, base.dhcp_end)


def described(spec: NetworkSpec, base: NetworkFacts | None) -> tuple[str, str]:
    """Range and gateway of a network whose addresses somebody else hands out: both may be unknown."""
    known = base.record if base and base.record else None
    cidr = known.cidr if known and not isinstance(spec.cidr, str) else spec.cidr or ""
    gateway = known.gateway if known and not isinstance(spec.gateway, str) else spec.gateway or ""
    if not cidr:
        if spec.gateway:
            raise invalid(f"network '{spec.name}' has a gateway and no address range", "give cidr too")
        return "", ""
    network = _network(cidr, "cidr")
    if not gateway or (not spec.gateway and _ip(gateway, "gateway") not in network):
        return str(network), ""
    return str(network), str(_inside(gateway, network, "gateway", 0))


def check_overlap(name: str, host: str, cidrs: Iterable[str], others: Iterable[tuple[str, str]]) -> None:
    """Conflict where one of the ranges overlaps one of `others`, pairs of a network's name and its range."""
    theirs = [(other, _network(cidr, "cidr", strict=False)) for other, cidr in others if cidr]
    for own in (_network(cidr, "cidr") for cidr in cidrs if cidr):
        for other, network in theirs:
            if own.version == network.version and own.first <= network.last and network.first <= own.last:
                raise AblestackError(
                    Code.CONFLICT,
                    f"{own} of network '{name}' overlaps {network} of network '{other}' on host '{host}'",
                    "choose another cidr",
                    network=other,
                    host=host,
                )


def check_host_address(ip: str, cidr: str, gateway: str, what: str) -> None:
    """InvalidInput unless it is an address that a guest of the network can have."""
    address = _inside(ip, _network(cidr, "cidr"), what, 0)
    if str(address) == gateway:
        raise invalid(f"{what} {ip} is the gateway's", "choose another address")


def order(ip: str) -> tuple[int, int]:
    """A key that sorts addresses as numbers."""
    address = _ip(ip, "address")
    return address.version, int(address)


def _library() -> Any:
    import netaddr

    return netaddr


def _ip(text: str, what: str) -> Any:
    netaddr = _library()
    try:
        return netaddr.IPAddress(text)
    except (netaddr.AddrFormatError, ValueError):
        raise invalid(f"{what} '{text}' is not an IP address", "write for example 10.10.10.1") from None


def _network(text: str, what: str, strict: bool = True) -> Any:
    """The range; a host's address with its prefix is refused, for it may be a slip in either."""
    netaddr = _library()
    try:
        found = netaddr.IPNetwork(text) if "/" in text else None
    except (netaddr.AddrFormatError, ValueError):
        found = None
    if found is None:
        raise invalid(f"{what} '{text}' is not an address range", "write for example 10.10.10.0/24")
    network = found.cidr
    if not strict:
        return network
    if found.ip != network.network:
        raise invalid(f"{what} '{text}' is a host's address with a prefix length", f"did you mean {network}?")
    address = network.network
    if address.is_loopback() or address.is_multicast() or address.is_link_local() or int(address) == 0:
        raise invalid(f"{what} '{network}' cannot be used by VMs", "choose a private range, such as 10.10.10.0/24")
    least, most = (8, 30) if network.version == 4 else (16, 120)
    if not least <= network.prefixlen <= most:
        raise invalid(
            f"{what} '{network}' has the prefix length {network.prefixlen}",
            f"it must be between {least} and {most}",
        )
    return network


def _inside(text: str, network: Any, what: str, default: int) -> Any:
    """An address of the range that a machine can have; `default` is its number where it is left out."""
    if not text:
        return _library().IPAddress(default, network.version)
    address = _ip(text, what)
    last = network.last - 1 if network.version == 4 else network.last
    if address.version != network.version or not network.first + 1 <= int(address) <= last:
        raise invalid(f"{what} {text} is no host address of {network}", "choose one in that range")
    return address


def _within(address: Any, start: str, end: str) -> bool:
    return bool(start and end) and _ip(start, "dhcp_start") <= address <= _ip(end, "dhcp_end")


def _range(spec: NetworkSpec, network: Any, gateway: Any, kept: NetworkFacts | None) -> tuple[Any, Any]:
    """First and last address that DHCP hands out."""
    first, last = network.first + 1, network.last - 1
    if network.version == 6 and network.size > _FIRST_LEASE6 + _LEASES6:
        first, last = network.first + _FIRST_LEASE6, network.first + _FIRST_LEASE6 + _LEASES6 - 1
    if int(gateway) == first:
        first += 1
    elif int(gateway) == last:
        last -= 1
    start = _inside(spec.dhcp_start or (kept.dhcp_start if kept else ""), network, "dhcp_start", first)
    most = min(max(last, int(start)), int(start) + MAX_LEASES - 1)
    end = _inside(spec.dhcp_end or (kept.dhcp_end if kept else ""), network, "dhcp_end", most)
    if start > end:
        raise invalid(f"dhcp_start {start} is above dhcp_end {end}", "give both, the lower one first")
    if int(end) - int(start) >= MAX_LEASES:
        raise invalid(f"the DHCP range {start} to {end} has more than {MAX_LEASES} addresses", "choose a smaller one")
    return start, end


def _second(spec: NetworkSpec, base: NetworkFacts | None, version: int) -> tuple[str, str]:
    """The IPv6 range beside one of IPv4, from which guests choose their addresses by themselves."""
    cidr = spec.ip6_cidr if isinstance(spec.ip6_cidr, str) else (base.cidr6 if base else "")
    if not cidr or version == 6:
        if spec.ip6_gateway or (cidr and spec.ip6_cidr):
            wrong = (
                "ip6_cidr is for a network that has a cidr of IPv4" if version == 6 else "ip6_gateway needs ip6_cidr"
            )
            raise invalid(f"network '{spec.name}': {wrong}", "add what is missing, or leave the IPv6 options out")
        return "", ""
    network = _network(cidr, "ip6_cidr")
    if network.version != 6 or network.prefixlen != 64:
        raise invalid(f"ip6_cidr '{cidr}' is not an IPv6 range of 64 bits", "write for example fd00:10:10::/64")
    same = base is not None and base.cidr6 == str(network)
    kept = base.gateway6 if base and same else ""
    gateway = _inside(spec.ip6_gateway or kept, network, "ip6_gateway", network.first + 1)
    return str(network), str(gateway)
