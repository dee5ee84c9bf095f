# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks templates are made from: the root disk of a VM that is off, or a volume of a pool."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from dataclasses import replace

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code, invalid
from ..model.image import ImageFacts
from ..model.naming import template_image
from ..model.resources import Template, TemplateCopy
from ..model.template_spec import TemplateSpec
from ..model.vm import VmFacts
from ..plan.power import memory_saved
from ..plan.template import OnHost, SourceFacts
from .infrastructure import Infrastructure
from .locate import locate
from .query import every_vm
from .template_copy import Make, Origin, clone_image, upload_image
from .template_lookup import find_template, users_of

_LOOK = "ablestack_volume_info lists those there are"


def disk_origin(
    infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec], found: Iterable[OnHost]
) -> Origin:
    """The disk, copied on its own host; the image of that goes to the others.

    It is looked for only while no host has the template: it may have changed, or be gone, by the time they all do.
    """
    text = f"vm:{spec.vm}" if spec.vm else f"volume:{spec.volume}"
    copies = [on.copy for on in found]
    made = [copy for copy in copies if copy.ready and copy.template and copy.template.source == text]
    if made:
        return _from_copy(infra, text, made[0])
    if any(copy.ready for copy in copies) and not spec.forced:
        return Origin(SourceFacts(text))  # to be refused: what is there came from elsewhere
    names = [host.name for host in hosts]
    host, disk = _vm_disk(infra, str(spec.vm)) if spec.vm else _volume(infra, str(spec.volume), names)
    if host.spec.name not in names:
        raise invalid(
            f"{text} is on host '{host.spec.name}', where template '{spec.name}' is not to be",
            "add that host to hosts: the image is made there",
        )
    pool, _slash, volume = disk.partition("/")
    facts = host.volume(pool, volume)
    if facts is None:
        raise AblestackError(Code.NOT_FOUND, f"there is no volume '{disk}' on host '{host.spec.name}'", _LOOK)
    if spec.format == "iso" and facts.format != "iso":
        raise invalid(f"{text} is {facts.format}, not iso", "give the format it has, or leave format out")
    image = ImageFacts(str(spec.format or "qcow2"), facts.capacity, 0)
    return Origin(SourceFacts(text, image=image), _make(host, disk, facts.capacity), host.spec.name)


def _from_copy(infra: Infrastructure, text: str, copy: TemplateCopy) -> Origin:
    """A host that has the template serves the others."""
    template = copy.template
    if template is None:
        return Origin(SourceFacts(text))
    image = ImageFacts(template.format, template.size, template.file_size)
    make = _upload_from(infra.host(copy.host), template)
    return Origin(SourceFacts(text, image=image, checksum=template.checksum), make)


def _make(origin: Host, disk: str, capacity: int) -> Make:
    """Makes the image on the disk's own host from the disk, and on every other from the image there."""

    def make(host: Host, template: Template) -> Template:
        if host is origin:
            return clone_image(disk, capacity)(host, template)
        first = find_template(origin, template.name).template
        if first is None:
            raise AblestackError(Code.CONFLICT, f"template '{template.name}' went away meanwhile", "run the task again")
        known = replace(template, checksum=first.checksum, size=first.size, file_size=first.file_size)
        return _upload_from(origin, first)(host, known)

    return make


def _upload_from(origin: Host, template: Template) -> Make:
    volume = template_image(template.name, template.format)
    return upload_image(
        lambda: origin.download(origin.spec.templates, volume), f"the copy on host '{origin.spec.name}'"
    )


def _vm_disk(infra: Infrastructure, name: str) -> tuple[Host, str]:
    """The host of a VM, and its root disk as pool/volume."""
    located = locate(infra, name)
    vm = located.existing
    if vm is None:
        located.require_all_hosts(name)
        raise AblestackError(Code.NOT_FOUND, f"there is no VM '{name}'", "name a VM that is there and stopped")
    if vm.state != "Stopped":
        raise AblestackError(
            Code.INVALID_STATE,
            f"VM '{name}' is {vm.state}",
            "stop it first: its disk is copied at rest",
            state=vm.state,
        )
    if vm.saved:
        raise memory_saved(vm, "its disk is not at rest")
    host = infra.host(vm.host.name)
    path = _root_path(vm)
    for pool in host.details().pools.values():
        if path and os.path.dirname(path) == pool.path:
            return host, f"{pool.name}/{os.path.basename(path)}"
    raise AblestackError(
        Code.UNSUPPORTED,
        f"the root disk of VM '{name}' is in no pool of host '{host.spec.name}'",
        "give a volume instead",
    )


def _root_path(vm: VmFacts) -> str:
    root = vm.record.disk("root") if vm.record else None
    disks = [disk for disk in vm.config.disks if disk.kind == "disk" and (root is None or disk.target == root.target)]
    return disks[0].path if disks else ""


def _volume(infra: Infrastructure, disk: str, names: list[str]) -> tuple[Host, str]:
    """The first of the hosts that has the volume, which no running VM may be writing to."""
    pool, _slash, volume = disk.partition("/")
    for name in names:
        host = infra.host(name)
        try:
            found = host.volume(pool, volume)
        except AblestackError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            continue
        if found:
            active = [vm for vm in every_vm(host) if vm.is_active]
            for user in users_of(active, "", pool, found.path):
                raise AblestackError(Code.INVALID_STATE, f"VM '{user}' runs on volume '{disk}'", "stop it first")
            return host, disk
    raise AblestackError(Code.NOT_FOUND, f"there is no volume '{disk}' on {', '.join(names)}", _LOOK)
