# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for a template to be as wanted on each of its hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Union

from ..model.errors import AblestackError, Code, invalid
from ..model.image import ImageFacts
from ..model.plan_parts import Plan, Step
from ..model.resources import PoolFacts, Template, TemplateCopy
from ..model.template_spec import TemplateSpec

Copies = tuple[TemplateCopy, ...]
Groups = Iterable[tuple[str, ...]]
"""Hosts by name whose storage is one, as far as their pools tell; the first of a group does the work for all."""


@dataclass(frozen=True)
class CopyImage(Step):
    """Brings the image to the host, and then its descriptor. The template's checksum is empty until that is done.

    `replaces` is what is Ready there and goes.
    """

    host: str
    template: Template
    replaces: TemplateCopy | None = None


@dataclass(frozen=True)
class WriteDescriptor(Step):
    """Changes what is said of the template; its image stays as it is."""

    host: str
    before: Template
    template: Template


@dataclass(frozen=True)
class RemoveTemplate(Step):
    """Deletes the template's volumes, the descriptor first."""

    host: str
    copy: TemplateCopy


Act = Union[CopyImage, WriteDescriptor, RemoveTemplate]


@dataclass(frozen=True)
class Follow(Step):
    """Nothing, where the leader's step shows in the storage that the hosts share; the host's own step where not."""

    host: str
    leader: str
    step: Act


@dataclass(frozen=True)
class SourceFacts:
    """What is known of the source. `text` is how a descriptor names it; `checksum` is empty until it was read."""

    text: str = ""
    exists: bool = True
    mtime: int = 0
    image: ImageFacts | None = None
    checksum: str = ""


@dataclass(frozen=True)
class OnHost:
    """A template on one host, and the names of VMs that are made from it.

    `standing` is what would break without its image, whole or not: volumes as pool/name, and domains. `pool` is the
    one it lies in, where several hosts were asked.
    """

    copy: TemplateCopy
    used_by: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    pool: PoolFacts | None = None


def same_image(spec: TemplateSpec, template: Template, source: SourceFacts) -> bool | None:
    """Whether the template holds the wanted image; None where only reading the source can tell."""
    if spec.checksum and spec.checksum in (template.checksum, template.verified):
        return True
    if source.checksum:
        return source.checksum == template.checksum
    if str(spec.checksum or "").startswith("sha256:"):
        return False
    if spec.source in ("", "vm", "volume"):
        return not spec.checksum and source.text in ("", template.source)
    if not source.exists:
        return None if spec.checksum else True
    if spec.src:
        stamp = (template.source, template.source_mtime, template.file_size)
        file_size = source.image.file_size if source.image else 0
        return True if stamp == (source.text, source.mtime, file_size) and not spec.checksum else None
    return True if template.source == source.text and not spec.checksum else None


def must_read(spec: TemplateSpec, hosts: Iterable[OnHost], source: SourceFacts) -> bool:
    """Whether the source has to be read as a whole before anything can be decided.

    Before an image is replaced, too: the new one is known to be good before the old one is deleted.
    """
    if spec.source not in ("src", "url") or source.checksum:
        return False
    answers = [same_image(spec, on.copy.template, source) for on in hosts if on.copy.ready and on.copy.template]
    return None in answers or (spec.forced and False in answers)


def would_delete(spec: TemplateSpec, on: OnHost, source: SourceFacts) -> bool:
    """Whether the image there would go, so that it matters what stands on it."""
    if spec.state == "absent":
        return bool(on.copy.volumes)
    template = on.copy.template
    if on.copy.ready and template:
        return spec.forced and same_image(spec, template, source) is False
    return bool(on.copy.volumes)


def plan_present(
    spec: TemplateSpec, hosts: Mapping[str, OnHost], source: SourceFacts, now: str, groups: Groups = ()
) -> Plan[Copies]:
    """The template is Ready on these hosts (by name), with the wanted image and description."""
    steps: list[Act] = []
    refusals: list[AblestackError] = []
    predicted: list[TemplateCopy] = []
    known = [on.copy.template for on in hosts.values() if on.copy.template]
    for name, on in hosts.items():
        same = same_image(spec, on.copy.template, source) if on.copy.ready and on.copy.template else False
        if on.copy.ready and on.copy.template and same:
            wanted = replace(on.copy.template, **spec.described)
            refusals += _unsuitable(spec, wanted)
            if wanted != on.copy.template:
                steps.append(WriteDescriptor(name, on.copy.template, wanted))
        else:
            refusals += _obstacles(spec, on, source)
            wanted = _made(spec, known[0] if known else None, source, now)
            refusals += _unsuitable(spec, wanted)
            steps.append(CopyImage(name, wanted, replaces=on.copy if on.copy.ready else None))
        predicted.append(replace(on.copy, template=wanted, ready=True, reason=""))
    warnings = []
    if not source.exists and not any(isinstance(step, CopyImage) for step in steps):
        warnings.append(f"{source.text} is not there; template '{spec.name}' is Ready without it")
    return Plan(
        steps=_once(steps, groups), refusals=tuple(refusals), predicted=tuple(predicted), warnings=tuple(warnings)
    )


def plan_absent(hosts: Mapping[str, OnHost], groups: Groups = ()) -> Plan[Copies]:
    """Nothing of the template is left on these hosts."""
    steps = [RemoveTemplate(name, on.copy) for name, on in hosts.items() if on.copy.volumes]
    refusals = [error for on in hosts.values() if on.copy.volumes for error in in_use(on)]
    return Plan(steps=_once(steps, groups), refusals=tuple(refusals), predicted=())


def _once(steps: Iterable[Act], groups: Groups) -> tuple[Step, ...]:
    """The same with one host of each group at work, where all of them need the same.

    A host that is as wanted, or needs something else, shows that it does not share what the others have.
    """
    own = {step.host: step for step in steps}
    leaders: dict[str, str] = {}
    for leader, *others in groups:
        if leader in own and all(type(own.get(name)) is type(own[leader]) for name in others):
            leaders.update(dict.fromkeys(others, leader))
    return tuple(Follow(name, leaders[name], step) if name in leaders else step for name, step in own.items())


def actions(steps: Iterable[Step], hosts: Mapping[str, OnHost]) -> list[dict[str, str]]:
    """What the steps are on each host, in words; `shared_with` is the host that did it for another."""
    by_host = {getattr(step, "host", ""): step for step in steps}
    return [{"host": name, **_action(by_host.get(name), on.copy)} for name, on in hosts.items()]


def _action(step: Step | None, copy: TemplateCopy) -> dict[str, str]:
    if isinstance(step, Follow):
        return {"action": "shared", "shared_with": step.leader}
    word = "none"
    if isinstance(step, CopyImage):
        word = "replaced" if copy.ready else "repaired" if copy.volumes else "copied"
    elif isinstance(step, WriteDescriptor):
        word = "described"
    elif isinstance(step, RemoveTemplate):
        word = "removed"
    return {"action": word, "shared_with": ""}


def in_use(on: OnHost) -> list[AblestackError]:
    """The refusal to delete an image that something needs: a list of none or one.

    A VM's origin counts where the template is Ready. What lies there of an incomplete one matters only to what stands
    on it.
    """
    vms = on.used_by if on.copy.ready else ()
    if not (vms or on.standing):
        return []
    users = ", ".join(f"VM '{name}'" for name in vms) or ", ".join(f"'{name}'" for name in on.standing)
    return [
        AblestackError(
            Code.IN_USE,
            f"template '{on.copy.name}' on host '{on.copy.host}' is in use by {users}",
            "expunge what uses it first, or give a new image another name",
            host=on.copy.host,
            vms=list(vms),
            volumes=list(on.standing),
        )
    ]


def _obstacles(spec: TemplateSpec, on: OnHost, source: SourceFacts) -> list[AblestackError]:
    """Why the image cannot be brought to that host."""
    name, host = spec.name, on.copy.host
    if on.copy.ready and not spec.forced:
        return in_use(on) or [
            AblestackError(
                Code.CONFLICT,
                f"template '{name}' on host '{host}' holds another image than the wanted one",
                "set 'forced: true' to replace it, or give the new image another name",
                host=host,
            )
        ]
    if used := in_use(on):
        return used
    if not spec.source:
        why = "is not complete" if on.copy.volumes else "is missing"
        hint = "say where its image comes from: src, url, vm or volume"
        return [AblestackError(Code.NOT_FOUND, f"template '{name}' {why} on host '{host}'", hint, host=host)]
    if not source.exists:
        return [invalid(f"{source.text} does not exist", "src is a path on the machine where the module runs")]
    return []


def _unsuitable(spec: TemplateSpec, template: Template) -> list[AblestackError]:
    if spec.format and template.format and spec.format != template.format:
        return [
            invalid(f"template '{spec.name}' is {template.format}, not {spec.format}", "correct or leave out format")
        ]
    if (template.boot_type, template.boot_mode) == ("bios", "secure"):
        return [invalid("secure boot needs UEFI", "set boot_type: uefi, or boot_mode: legacy")]
    return []


def _made(spec: TemplateSpec, like: Template | None, source: SourceFacts, now: str) -> Template:
    """The template a copy makes; what is not given is as another copy of it has it."""
    base = like or Template(spec.name, "", 0, 0, "", display_text=spec.name)
    image = source.image
    checksum = source.checksum
    if not checksum and str(spec.checksum or "").startswith("sha256:"):
        checksum = str(spec.checksum)
    same = bool(like and checksum and like.checksum == checksum)
    return replace(
        replace(base, **spec.described),
        format=image.format if image else str(spec.format or ""),
        size=image.size if image else 0,
        file_size=image.file_size if image else 0,
        checksum=checksum,
        verified=str(spec.checksum or ""),
        source=source.text,
        source_mtime=source.mtime,
        created=like.created if like and same else now,
    )
