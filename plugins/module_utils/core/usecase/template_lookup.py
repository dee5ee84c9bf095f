# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds templates on a host, and what uses them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import (
    TEMPLATE_FORMATS,
    template_descriptor,
    template_image,
    template_of,
    template_volumes,
)
from ..model.resources import Template, TemplateCopy
from ..model.template_descriptor import MAX_SIZE, decode_descriptor
from ..model.vm import VmFacts

_PATIENCE = 30.0  # seconds to wait for a process that has claimed a template
_PAUSE = 0.2  # seconds between two looks at such a template


def require_still_ready(host: Host, template: Template) -> None:
    """Conflict where the template that was found is gone, or another by now.

    To be asked once a definition of the host's tells of it. Who deletes one makes it unready first, and then looks at
    all definitions: so he either sees ours, and makes it Ready again, or deletes it, and that is seen here.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        copy = find_template(host, template.name)
        now = copy.template if copy.ready else None
        if now and (now.checksum, now.format, now.file_size) == (
            template.checksum,
            template.format,
            template.file_size,
        ):
            return
        if now or not copy.volumes or time.monotonic() > deadline:
            raise AblestackError(
                Code.CONFLICT,
                f"template '{template.name}' on host '{host.spec.name}' was deleted or replaced meanwhile",
                "run the task again",
            )
        time.sleep(_PAUSE)


def find_template(host: Host, name: str) -> TemplateCopy:
    """The template on that host, Ready or not; one that is absent has no volumes.

    Two look-ups and the descriptor's content where it is Ready. Unsupported where a newer version of ours wrote it.
    """
    try:
        return _described(host, name, None)
    except AblestackError as error:
        if error.code is not Code.NOT_FOUND or error.details.get("volume") != template_descriptor(name):
            raise
    # The miss has refreshed the pool, so this listing is fresh.
    pool = host.spec.templates
    known = host.volume_names(pool)
    volumes = tuple(volume for volume in template_volumes(name) if volume in known)
    reason = "its image is not complete" if volumes else f"there is no template '{name}' on host '{host.spec.name}'"
    return TemplateCopy(host.spec.name, pool, "", None, ready=False, reason=reason, name=name, volumes=volumes)


def list_templates(host: Host) -> tuple[TemplateCopy, ...]:
    """All templates of that host by name; what cannot be read is shown as NotReady with the reason."""
    pool = host.spec.templates
    known = host.volume_names(pool)
    names = sorted({template_of(volume) for volume in known} - {""})
    copies = []
    for name in names:
        volumes = tuple(volume for volume in template_volumes(name) if volume in known)
        try:
            if volumes[0] == template_descriptor(name):
                copies.append(_described(host, name, volumes))
                continue
            reason = "its image is not complete"
        except AblestackError as error:
            if error.code is not Code.UNSUPPORTED:
                raise
            reason = error.message
        copies.append(TemplateCopy(host.spec.name, pool, "", None, False, reason, name, volumes))
    return tuple(copies)


def _described(host: Host, name: str, volumes: tuple[str, ...] | None) -> TemplateCopy:
    """The template whose descriptor is there; `volumes` are looked up where they are needed and not given."""
    pool, template, reason = host.spec.templates, None, ""
    try:
        template = _read_descriptor(host, name)
    except AblestackError as error:
        if error.code is not Code.INVALID_STATE:
            raise
        reason = error.message
    image = host.volume(pool, template_image(name, template.format)) if template else None
    if template and image and image.file_size == template.file_size:
        found = volumes or (template_descriptor(name), template_image(name, template.format))
        return TemplateCopy(host.spec.name, pool, image.path, template, True, "", name, found)
    if template and image:
        reason = f"its image is damaged: {image.file_size} bytes of {template.file_size}"
    if volumes is None:
        known = host.volume_names(pool)
        volumes = tuple(volume for volume in template_volumes(name) if volume in known)
    return TemplateCopy(host.spec.name, pool, "", template, False, reason or "its image is missing", name, volumes)


def _read_descriptor(host: Host, name: str) -> Template:
    content = b""
    for chunk in host.download(host.spec.templates, template_descriptor(name)):
        content += chunk
        if len(content) > MAX_SIZE:
            raise AblestackError(Code.INVALID_STATE, "the descriptor is too large to be one")
    template = decode_descriptor(content)
    if template.name != name or template.format not in TEMPLATE_FORMATS:
        raise AblestackError(Code.INVALID_STATE, "the descriptor belongs to another template")
    return template


def users_of(vms: Iterable[VmFacts], name: str, pool: str, path: str) -> tuple[str, ...]:
    """The names of the VMs that came from the template `name` and are not expunged yet, or have the pool's volume at
    `path` as a disk.
    """
    return tuple(sorted({vm.name for vm in vms if _uses(vm, name, pool, path)}))


def _uses(vm: VmFacts, name: str, pool: str, path: str) -> bool:
    if name and vm.record and name in (vm.record.template, vm.record.iso):
        return True
    configs = [config for config in (vm.config, vm.live) if config]
    return any(disk.is_volume(pool, path) for config in configs for disk in config.disks)


def volumes_on(host: Host, path: str) -> tuple[str, ...]:
    """The volumes, as pool/name, of all pools of the host that stand on the image at `path`."""
    found = []
    for pool in host.details().pools:
        for name in host.volume_names(pool):
            volume = host.volume(pool, name)
            if volume and volume.backing == path:
                found.append(f"{pool}/{name}")
    return tuple(found)
