# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists hosts for people and playbooks: size, load, abilities, pools; it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.host_view import host_view
from ..model.outcome import Outcome
from ..model.resources import HostFacts
from ..model.storage import groups_sharing
from ..model.values import UNSET, Maybe
from ..model.vm import VmFacts
from .infrastructure import Infrastructure
from .query import read_vms


def list_hosts(
    infra: Infrastructure,
    names: tuple[str, ...] = (),
    zone: Maybe[str] = UNSET,
    pod: Maybe[str] = UNSET,
    cluster: Maybe[str] = UNSET,
    states: tuple[str, ...] = (),
) -> Outcome:
    """Result: `hosts`, in the order of the catalog, and `unreachable`, a sentence for every host that was not.

    Raises HostUnavailable where none could be reached. Which pools hosts share is known of the listed hosts only.
    """
    chosen = infra.selected(zone, pod, cluster, names)
    specs = tuple(spec for spec in chosen if not states or spec.state in states)
    found, errors = infra.on_hosts(_on_host, specs)
    unreachable = {name: error.sentence for name, error in errors.items()}
    if unreachable and not found:
        sentences = "; ".join(sentence.rstrip(".") for sentence in unreachable.values())
        raise AblestackError(Code.HOST_UNAVAILABLE, sentences, "see that libvirt runs there, and that its uri is right")
    sharing = _sharing([facts for facts, _vms, _warnings in found.values()])
    settings = infra.catalog.settings
    hosts = [host_view(facts, vms, settings, sharing[name]) for name, (facts, vms, _warnings) in found.items()]
    warnings = tuple(warning for _facts, _vms, on_host in found.values() for warning in on_host)
    warnings += tuple(f"host '{name}' was left out: {text}" for name, text in unreachable.items())
    return Outcome(result={"hosts": hosts, "unreachable": unreachable}, warnings=warnings)


def _on_host(host: Host) -> tuple[HostFacts, list[VmFacts], list[str]]:
    vms, warnings = read_vms(host, host.domains(), host.glances)
    return host.details(), vms, warnings


def _sharing(hosts: Iterable[HostFacts]) -> dict[str, dict[str, tuple[str, ...]]]:
    """By host and pool the other hosts that have the same storage."""
    hosts = list(hosts)
    shared: dict[str, dict[str, tuple[str, ...]]] = {facts.spec.name: {} for facts in hosts}
    for group in groups_sharing((facts.spec, pool) for facts in hosts for pool in facts.pools.values()):
        for host, pool in group:
            others = dict.fromkeys(other.name for other, _pool in group if other.name != host.name)
            shared[host.name][pool.name] = tuple(others)
    return shared
