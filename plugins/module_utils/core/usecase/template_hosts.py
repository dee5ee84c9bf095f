# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template's plan on its hosts: on all at once, and of those that share storage on one for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..hypervisor.port import Host
from ..model.errors import AblestackError
from ..model.naming import template_of
from ..model.plan_parts import Step
from ..model.resources import TemplateCopy
from ..model.storage import Room, groups_sharing
from ..plan.template import Act, CopyImage, Follow, OnHost, RemoveTemplate, WriteDescriptor, in_use
from .holding import volumes_of
from .infrastructure import Infrastructure
from .query import every_vm, read_vms
from .template_copy import Origin, bring_template, remove_template, rewrite_descriptor
from .template_lookup import find_template, users_of

Groups = tuple[tuple[str, ...], ...]


def on_host(host: Host, copy: TemplateCopy, doomed: bool = False) -> OnHost:
    """The copy, and who uses it there.

    Before it is deleted, all definitions count, and what living processes note in them; each has to be readable.
    """
    if not doomed:
        return OnHost(copy, users_of(read_vms(host, host.domains(), host.glances)[0], copy.name, copy.pool, copy.path))
    vms = every_vm(host)
    images = {f"{copy.pool}/{volume}" for volume in copy.volumes}
    noted = {vm.name for vm in vms if images & volumes_of(vm)}
    return OnHost(copy, tuple(sorted(noted.union(users_of(vms, copy.name, copy.pool, copy.path)))))


def sharing_groups(infra: Infrastructure, found: Mapping[str, OnHost], first: str = "") -> Groups:
    """The hosts that share the storage of their template pools; `first` leads its group."""
    places = [(infra.catalog.host(name), on.pool) for name, on in found.items() if on.pool]
    named = (tuple(spec.name for spec, _pool in group) for group in groups_sharing(places))
    groups = tuple(group for group in named if len(group) > 1)
    return tuple((first, *(name for name in group if name != first)) if first in group else group for group in groups)


def least_room(infra: Infrastructure, found: Iterable[OnHost]) -> Room:
    """For an image on every one of these hosts: in the fullest pool, where what there is of it now would go."""
    copies = {on.copy.host: on.copy for on in found}
    rooms, errors = infra.on_hosts(
        lambda host: _room(host, copies[host.spec.name]), [infra.catalog.host(name) for name in copies]
    )
    for error in errors.values():
        raise error
    return min(rooms.values(), key=lambda room: room.free)


def _room(host: Host, copy: TemplateCopy) -> Room:
    pool = host.pool(host.spec.templates, True)  # libvirt tells the room that it saw when it last worked there
    images = [host.volume(pool.name, name) for name in copy.volumes if template_of(name)]
    sizes = [max(image.allocation, image.file_size) for image in images if image]
    return Room(pool.available + sum(sizes), f"pool '{pool.name}' on host '{host.spec.name}'")


def as_mates_see(found: Mapping[str, OnHost], groups: Groups) -> dict[str, OnHost]:
    """What a host finds that can look anew at the storage it shares; a read-only connection cannot."""
    seen = dict(found)
    for group in groups:
        ready = next((found[name].copy for name in group if found[name].copy.ready), None)
        for name in group:
            copy = found[name].copy
            if ready and not copy.volumes:
                seen[name] = replace(found[name], copy=replace(ready, host=copy.host, pool=copy.pool))
    return seen


def carry_out(
    infra: Infrastructure, plan: Iterable[Step], origin: Origin
) -> tuple[list[Step], dict[str, AblestackError]]:
    """Each host's step: the origin's first, then all at once, then those that share what is done by now.

    Returns what was done, without what others have done meanwhile, and the errors by host. A host that shares nothing
    after all has a step of its own there.
    """
    steps = {step.host: step for step in plan if isinstance(step, (CopyImage, WriteDescriptor, RemoveTemplate, Follow))}
    following = [name for name, step in steps.items() if isinstance(step, Follow)]
    first = [origin.first] if origin.first in steps else []
    rest = [name for name in steps if name not in (*first, *following)]
    done: list[Step] = []
    errors: dict[str, AblestackError] = {}
    for names in (first, rest, following):
        if names and origin.first not in errors:
            specs = [infra.catalog.host(name) for name in names]
            did, failed = infra.on_hosts(lambda host: _one(infra, host, steps, origin), specs)
            done += [step for step in did.values() if step]
            errors.update(failed)
    return done, errors


def _one(infra: Infrastructure, host: Host, steps: Mapping[str, Act | Follow], origin: Origin) -> Step | None:
    """Carries out the host's step; returns what was done, None where somebody else was faster."""
    step = steps[host.spec.name]
    if isinstance(step, Follow):
        if _shows(infra, host, step):
            return step
        step = step.step
    if isinstance(step, WriteDescriptor):
        rewrite_descriptor(host, step.before, step.template)
    elif isinstance(step, CopyImage):
        again = _still_unused(infra, _going(step, steps.values()))
        if not (origin.make and bring_template(host, step.template, origin.make, bool(step.replaces), again)):
            return None
    elif isinstance(step, RemoveTemplate):
        remove_template(host, step.copy, _still_unused(infra, _going(step, steps.values())))
    return step


def _shows(infra: Infrastructure, host: Host, step: Follow) -> bool:
    """Whether what the leader did is seen from this host."""
    if isinstance(step.step, RemoveTemplate):
        return not find_template(host, step.step.copy.name).volumes
    name = step.step.template.name
    here, there = find_template(host, name), find_template(infra.host(step.leader), name)
    return here.ready and there.ready and here.template == there.template


def _going(step: Act, steps: Iterable[Step]) -> dict[str, TemplateCopy]:
    """What goes by the step: by host, as each host of the same storage sees it."""
    followers = [other for other in steps if isinstance(other, Follow) and other.leader == step.host]
    copies: dict[str, TemplateCopy] = {}
    for act in (step, *(other.step for other in followers)):
        copy = act.copy if isinstance(act, RemoveTemplate) else act.replaces if isinstance(act, CopyImage) else None
        if copy:
            copies[act.host] = copy
    return copies


def _still_unused(infra: Infrastructure, copies: Mapping[str, TemplateCopy]) -> Callable[[], None]:
    """A check: a VM is defined before its disk is made, so the definitions tell of every newcomer."""

    def check() -> None:
        specs = [infra.catalog.host(name) for name in copies]
        found, errors = infra.on_hosts(lambda host: on_host(host, copies[host.spec.name], doomed=True), specs)
        for error in (*errors.values(), *(refusal for on in found.values() for refusal in in_use(on))):
            raise error

    return check
