# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template as results show it (INTERFACE 4): what its copies on the hosts come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .resources import Template, TemplateCopy
from .values import UNKNOWN, gib


def template_view(copies: Iterable[TemplateCopy], used_by: Iterable[str] = ()) -> dict[str, Any]:
    """One template from its copies, absent ones among them; empty where no host has anything of it.

    It is Ready when no copy is NotReady. What the descriptors say is shown as the first host says it.
    """
    found = [copy for copy in copies if copy.ready or copy.volumes]
    if not found:
        return {}
    ready = [copy for copy in found if copy.ready]
    template = next((copy.template for copy in (*ready, *found) if copy.template), None)
    problems = {copy.host: copy.reason for copy in found if not copy.ready}
    for copy in ready:
        if template and copy.template and copy.template.checksum != template.checksum:
            problems[copy.host] = f"holds another image than host '{ready[0].host}'"
    return {
        "name": found[0].name,
        **(_described(template) if template else dict.fromkeys(_NOTHING_KNOWN)),
        "state": "Ready" if len(ready) == len(found) else "NotReady",
        "hosts": [copy.host for copy in ready],
        "problems": [{"host": host, "reason": reason} for host, reason in problems.items()],
        "used_by": sorted(set(used_by)),
    }


def _described(template: Template) -> dict[str, Any]:
    """The part a descriptor tells."""
    return {
        "display_text": template.display_text,
        "format": template.format or UNKNOWN,
        "size_gib": gib(template.size) if template.size else UNKNOWN,
        "checksum": template.checksum or UNKNOWN,
        "os_type": template.os_type,
        "boot_type": template.boot_type,
        "boot_mode": template.boot_mode,
        "ssh_key_enabled": template.ssh_key_enabled,
        "dynamic_scaling": template.dynamic_scaling,
        "featured": template.featured,
        "labels": dict(template.labels),
        "source": template.source,
        "created": template.created or UNKNOWN,
    }


_NOTHING_KNOWN = tuple(_described(Template("", "", 0, 0, "")))
