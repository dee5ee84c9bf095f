# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists networks for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from ..model.errors import AblestackError, Code
from ..model.network_view import network_view
from ..model.outcome import Outcome
from ..model.values import UNSET, Maybe
from .infrastructure import Infrastructure
from .network_lookup import networks_on


def list_networks(
    infra: Infrastructure,
    names: tuple[str, ...] = (),
    zone: Maybe[str] = UNSET,
    hosts: tuple[str, ...] = (),
    unmanaged: bool = False,
) -> Outcome:
    """Result: `networks`, sorted by name, and `unreachable`, a sentence for every host that could not be asked.

    Networks of one name on several hosts are one, unless only some of them are ours. Raises HostUnavailable where no
    host could be asked.
    """
    specs = infra.selected(zone=zone, hosts=hosts)
    found, errors = infra.on_hosts(lambda host: networks_on(host, names), specs)
    unreachable = {name: error.sentence for name, error in errors.items()}
    if not found:
        sentences = "; ".join(sentence.rstrip(".") for sentence in unreachable.values())
        raise AblestackError(Code.HOST_UNAVAILABLE, sentences, "no host could be asked for its networks")
    rows = [row for on_host in found.values() for row in on_host if row.state]
    keys = {(row.state.name, not row.state.stored.managed) for row in rows if row.state}
    networks = [
        network_view(row for row in rows if row.state and (row.state.name, not row.state.stored.managed) == key)
        for key in sorted(keys)
        if unmanaged or not key[1]
    ]
    warnings = tuple(f"host '{name}' was left out: {text}" for name, text in unreachable.items())
    return Outcome(result={"networks": networks, "unreachable": unreachable}, warnings=warnings)
