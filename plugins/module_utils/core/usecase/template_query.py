# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists templates for people and playbooks, from all hosts at once; it changes nothing."""

from __future__ import annotations

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.outcome import Outcome
from ..model.resources import TemplateCopy
from ..model.template_view import template_view
from .infrastructure import Infrastructure
from .query import read_vms
from .template_lookup import find_template, list_templates, users_of

Rows = list[tuple[TemplateCopy, tuple[str, ...]]]


def list_all_templates(
    infra: Infrastructure, names: tuple[str, ...] = (), zone: str = "", hosts: tuple[str, ...] = ()
) -> Outcome:
    """Result: `templates`, sorted by name, and `unreachable_hosts`, a sentence for every host that could not be asked.

    Raises HostUnavailable where no host could be.
    """
    specs = infra.selected(zone=zone, hosts=hosts)
    found, errors = infra.on_hosts(lambda host: _on_host(host, names), specs)
    unreachable = {name: error.sentence for name, error in errors.items()}
    if not found:
        sentences = "; ".join(sentence.rstrip(".") for sentence in unreachable.values())
        raise AblestackError(Code.HOST_UNAVAILABLE, sentences, "no host could be asked for its templates")
    rows = [row for on_host, _unreadable in found.values() for row in on_host]
    templates = []
    for name in sorted({copy.name for copy, _users in rows}):
        copies = [(copy, users) for copy, users in rows if copy.name == name]
        view = template_view([copy for copy, _users in copies], [vm for _copy, users in copies for vm in users])
        templates += [view] if view else []
    warnings = tuple(warning for _rows, unreadable in found.values() for warning in unreadable)
    warnings += tuple(f"host '{name}' was left out: {text}" for name, text in unreachable.items())
    return Outcome(result={"templates": templates, "unreachable_hosts": unreachable}, warnings=warnings)


def _on_host(host: Host, names: tuple[str, ...]) -> tuple[Rows, list[str]]:
    """The copies with who uses them, and what could not be read."""
    copies = [find_template(host, name) for name in names] if names else list(list_templates(host))
    refs = host.domains() if any(copy.volumes for copy in copies) else ()
    vms, unreadable = read_vms(host, refs, host.glances)
    return [(copy, users_of(vms, copy.name, copy.pool, copy.path)) for copy in copies], unreadable
