# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates: made Ready on every host that is to have them, or removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code
from ..model.naming import TEMPLATE_FORMATS, template_image
from ..model.outcome import Outcome
from ..model.plan_parts import Step
from ..model.resources import TemplateCopy
from ..model.template_spec import TemplateSpec
from ..model.template_view import template_view
from ..model.values import now_text
from ..plan import template as plans
from ..plan.template import Follow, OnHost, SourceFacts
from .infrastructure import Errors, Infrastructure, raise_first, those_down, tolerated
from .query import every_vm
from .template_copy import Origin, upload_image
from .template_hosts import as_mates_see, carry_out, least_room, on_host, sharing_groups
from .template_lookup import find_template, users_of, volumes_on
from .template_source import FileSource, open_source


def apply_template(infra: Infrastructure, spec: TemplateSpec) -> Outcome:
    """Brings the template into the state that `spec` wants; `template` in the result is as INTERFACE 4 has it."""
    spec.check()
    hosts = infra.selected(zone=spec.zone, hosts=spec.hosts)
    if spec.state == "absent":
        return _absent(infra, spec, hosts)
    if spec.state == "extracted":
        from .template_extract import extract_template

        return extract_template(infra, spec, hosts)
    if spec.source in ("vm", "volume"):
        from .template_disk import disk_origin

        return _present(infra, spec, hosts, lambda found: disk_origin(infra, spec, hosts, found))
    source = open_source(spec)
    try:
        return _present(infra, spec, hosts, lambda found: _file_origin(infra, spec, source, found))
    finally:
        if source:
            source.close()


def _file_origin(infra: Infrastructure, spec: TemplateSpec, source: FileSource | None, found: list[OnHost]) -> Origin:
    """What the file is, read as far as the decision or the work needs it."""
    if source is None:
        return Origin(SourceFacts())
    facts = source.facts()
    missing = any(not on.copy.ready for on in found)
    # A download takes place before any host is touched; a file is read early in check mode, to predict its checksum.
    early = source.is_local == infra.check
    if facts.exists and (plans.must_read(spec, found, facts) or (missing and early)):
        facts = source.read(lambda: least_room(infra, found))
    return Origin(facts, upload_image(source.chunks, source.text))


def _present(
    infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec], origin: Callable[[list[OnHost]], Origin]
) -> Outcome:
    found, lost = _look(infra, spec, hosts)
    from_here = origin(list(found.values()))
    # What stands on an image matters, and is looked for, only where that would be deleted.
    doomed = [name for name, on in found.items() if plans.would_delete(spec, on, from_here.facts)]
    found = _with_standing(infra, found, doomed)
    now = "" if infra.check else now_text()
    groups = sharing_groups(infra, found, from_here.first)
    plan = plans.plan_present(spec, found, from_here.facts, now, groups)
    for refusal in plan.refusals:
        raise refusal
    before = _view(found.values())
    copies: Iterable[TemplateCopy] = plan.predicted or ()
    steps, changed = plan.steps, plan.changed
    if steps and not infra.check:
        steps, changed = _carried_out(infra, steps, from_here, found)
        copies = [on.copy for on in _look(infra, spec, [infra.catalog.host(name) for name in found])[0].values()]
    after = _view([replace(found[copy.host], copy=copy) for copy in copies])
    warnings = (
        *plan.warnings,
        *tolerated(infra.catalog, lost, f"template '{spec.name}'", changed, "is not asked for templates"),
    )
    result = {"template": after, "actions": plans.actions(steps, found)}
    return Outcome(changed, _compared(before if changed else after), _compared(after), result, warnings)


def _absent(infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec]) -> Outcome:
    found, lost = _look(infra, spec, hosts)
    for name, error in lost.items():
        raise AblestackError(
            Code.HOST_UNAVAILABLE,
            f"host '{name}' cannot be asked whether it uses template '{spec.name}': {error.message}",
            "bring it back, leave it out of hosts, or take it out of the catalog",
            host=name,
        )
    found = _with_standing(infra, found, [name for name, on in found.items() if on.copy.volumes])
    plan = plans.plan_absent(found, sharing_groups(infra, found))
    for refusal in plan.refusals:
        raise refusal
    steps = plan.steps
    if steps and not infra.check:
        steps, _ours = _carried_out(infra, steps, Origin(SourceFacts()), found)
    result = {"template": {}, "actions": plans.actions(steps, found)}
    return Outcome(plan.changed, _compared(_view(found.values())), {}, result)


def _carried_out(
    infra: Infrastructure, steps: Iterable[Step], origin: Origin, found: Mapping[str, OnHost]
) -> tuple[tuple[Step, ...], bool]:
    """What was done, and whether by us; where any host failed, the error tells what was done on the others."""
    done, errors = carry_out(infra, steps, origin)
    raise_first(errors, actions=plans.actions(done, {name: on for name, on in found.items() if name not in errors}))
    return tuple(done), any(not isinstance(step, Follow) for step in done)


def _look(infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec]) -> tuple[dict[str, OnHost], Errors]:
    """The template on every host that can be reached; the others with their errors, unless there are only such."""
    specs = list(hosts)

    def look(host: Host) -> OnHost:
        on = on_host(host, find_template(host, spec.name))
        return replace(on, pool=host.pool(host.spec.templates)) if len(specs) > 1 else on

    found, errors = infra.on_hosts(look, specs)
    lost = those_down(found, errors)
    if infra.check:
        found = as_mates_see(found, sharing_groups(infra, found))
    return found, lost


def _with_standing(infra: Infrastructure, found: dict[str, OnHost], names: list[str]) -> dict[str, OnHost]:
    """The same, with what stands on the images of the named hosts."""
    if not names:
        return found
    specs = [infra.catalog.host(name) for name in names]
    looked, errors = infra.on_hosts(lambda host: _standing(host, found[host.spec.name]), specs)
    raise_first(errors)
    return {**found, **looked}


def _standing(host: Host, on: OnHost) -> OnHost:
    """The users by their stored definitions too, and what would break without the image, be it whole or not."""
    vms = every_vm(host)
    standing: list[str] = []
    for kind in TEMPLATE_FORMATS:
        image = template_image(on.copy.name, kind)
        volume = host.volume(on.copy.pool, image) if image in on.copy.volumes else None
        if volume:
            standing += volumes_on(host, volume.path)
            standing += users_of(vms, "", volume.pool, volume.path)
    return replace(on, used_by=users_of(vms, on.copy.name, on.copy.pool, on.copy.path), standing=tuple(standing))


def _view(hosts: Iterable[OnHost]) -> dict[str, object]:
    found = list(hosts)
    return template_view([on.copy for on in found], [vm for on in found for vm in on.used_by])


def _compared(view: dict[str, object]) -> dict[str, object]:
    """What the diff shows: a time says nothing there, and cannot be predicted."""
    return {key: value for key, value in view.items() if key != "created"}
