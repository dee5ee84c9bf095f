# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a template's image from a host into a file where the module runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ..hypervisor.port import Host
from ..model.catalog import HostSpec
from ..model.errors import AblestackError, Code, invalid
from ..model.naming import template_image
from ..model.outcome import Outcome
from ..model.resources import Template, TemplateCopy
from ..model.template_spec import TemplateSpec
from ..model.template_view import template_view
from .digest import Digest
from .infrastructure import Infrastructure
from .template_hosts import on_host
from .template_lookup import find_template

_CHUNK = 1024 * 1024
_CHOOSE = "choose a file in a folder that is there, and that the user who runs the module can write"


def extract_template(infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec]) -> Outcome:
    """The image of the first host that has the template Ready is in `dest`, whole and with its checksum."""
    host, copy, template = _first_ready(infra, spec, hosts)
    dest = _destination(str(spec.dest), template)
    same = _is_same(dest, template)
    view = template_view([copy], on_host(host, copy).used_by)  # before, so that what fails leaves dest as it was
    if not same and not infra.check:
        _fetch(host, template, dest)
    after = {"dest": dest, "checksum": template.checksum}
    return Outcome(not same, after if same else {}, after, {"template": view, "dest": dest})


def _first_ready(
    infra: Infrastructure, spec: TemplateSpec, hosts: Iterable[HostSpec]
) -> tuple[Host, TemplateCopy, Template]:
    errors = []
    for host_spec in hosts:
        try:
            host = infra.host(host_spec.name)
            copy = find_template(host, spec.name)
        except AblestackError as failure:
            errors.append(failure)
            continue
        if copy.ready and copy.template:
            return host, copy, copy.template
    for error in errors:
        raise error
    raise AblestackError(Code.NOT_FOUND, f"template '{spec.name}' is Ready on no host", "see ablestack_template_info")


def _destination(dest: str, template: Template) -> str:
    """The file's path; in a folder it gets the name of the template's image."""
    path = os.path.abspath(os.path.expanduser(dest))
    if os.path.isdir(path):
        path = os.path.join(path, f"{template.name}.{template.format}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise invalid(f"dest '{path}' is no regular file", "give the path of a file or a folder")
    if not os.path.isdir(os.path.dirname(path)):
        raise invalid(f"the folder of dest '{path}' does not exist", "make it first")
    return path


def _is_same(path: str, template: Template) -> bool:
    if not os.path.isfile(path) or os.path.getsize(path) != template.file_size:
        return False
    return Digest().drain(_read(path)).checksum() == template.checksum


def _read(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise invalid(f"dest '{path}' cannot be read ({error.strerror})", _CHOOSE) from error


def _fetch(host: Host, template: Template, path: str) -> None:
    """Into a file beside it that only we can read, and from there in one step: `dest` is never half an image.

    That file is locked while we live, so the next one removes what a killed process left.
    """
    digest = Digest(template.checksum)
    volume = template_image(template.name, template.format)
    folder, prefix = os.path.dirname(path), f".{os.path.basename(path)}.ablestack-"
    try:
        _remove_abandoned(folder, prefix)
        handle, partial = tempfile.mkstemp(prefix=prefix, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                for chunk in digest.passing(host.download(host.spec.templates, volume)):
                    file.write(chunk)
            digest.verify(f"the image of template '{template.name}' on host '{host.spec.name}'")
            os.replace(partial, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)
    except OSError as error:
        raise invalid(f"dest '{path}' cannot be written ({error.strerror})", _CHOOSE) from error


def _remove_abandoned(folder: str, prefix: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(prefix):
            with suppress(OSError), open(os.path.join(folder, name), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
                if os.fstat(file.fileno()).st_size:  # before it has its lock, it is empty
                    os.unlink(file.name)
