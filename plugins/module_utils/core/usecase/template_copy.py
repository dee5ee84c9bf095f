# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a template to one host: claim, image, descriptor, in an order that survives being killed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.image import HEAD_SIZE, judge_image
from ..model.naming import TEMPLATE_FORMATS, template_descriptor, template_image
from ..model.resources import Template, TemplateCopy, VolumeSpec
from ..model.template_descriptor import decode_claim, decode_descriptor, encode_descriptor
from ..plan.template import SourceFacts
from .digest import Digest
from .template_claim import Claim
from .template_lookup import find_template

Make = Callable[[Host, Template], Template]
"""Makes the image volume of a template, and returns the template with what only that could tell."""


@dataclass(frozen=True)
class Origin:
    """Where images come from: what is known of it, and how one is made; `first` is the host that has to be first."""

    facts: SourceFacts
    make: Make | None = None
    first: str = ""


def bring_template(
    host: Host, template: Template, make: Make, replaces: bool = False, check: Callable[[], None] = lambda: None
) -> bool:
    """The template is Ready on the host afterwards, made by us or by somebody who was faster; whether it was us.

    A descriptor whose image is gone or damaged stands for nothing, and is replaced in any case. `check` looks again
    for users of what is replaced, once nobody new can find it.

    Raises Conflict where that somebody brought another image. A failure leaves nothing behind.
    """
    claim = Claim(host, template.name)
    while not claim.take(over_ready=replaces):
        found = find_template(host, template.name)
        if found.ready and found.template and _is_wanted(found.template, template):
            return False
        replaces = replaces or (found.template is not None and not found.ready)
    done = False
    try:
        try:
            check()
        except AblestackError:
            done = True  # with what was there before
            claim.give_back()
            raise
        delete_images(host, template.name)
        claim.commit(make(host, template))
        done = True
    finally:
        claim.end()
        if not done:
            _clear(host, claim, template.name)
    return True


def _clear(host: Host, claim: Claim, name: str) -> None:
    """Leaves nothing behind, as far as nobody else works there and the host still answers."""
    with suppress(AblestackError):
        if claim.is_held():
            delete_images(host, name)
            claim.drop()


def _is_wanted(found: Template, wanted: Template) -> bool:
    """Whether what somebody else made is what we were about to make; Conflict where it is not."""
    if (found.checksum == wanted.checksum) if wanted.checksum else (found.source == wanted.source):
        return True
    raise AblestackError(
        Code.CONFLICT, f"template '{found.name}' was made from another image meanwhile", "run the task again"
    )


def upload_image(chunks: Callable[[], Iterable[bytes]], source: str) -> Make:
    """Uploads the file that `chunks` gives; ChecksumMismatch where it does not come to the template's checksums."""

    def make(host: Host, template: Template) -> Template:
        pool, volume = host.spec.templates, template_image(template.name, template.format)
        available = host.pool(pool, True).available
        if available < template.file_size:
            raise AblestackError(
                Code.INSUFFICIENT_CAPACITY,
                f"pool '{pool}' on host '{host.spec.name}' has {available} bytes left, "
                f"and template '{template.name}' needs {template.file_size}",
                "free some space there, or give the host another template_pool",
            )
        digest = Digest(template.checksum, template.verified)
        host.create_volume(VolumeSpec(pool, volume, template.file_size, format="raw"))
        host.upload(pool, volume, digest.passing(chunks()))
        return replace(template, checksum=digest.verify(source))

    return make


def clone_image(origin: str, capacity: int) -> Make:
    """Makes the image from a disk of the host's own (`origin` is pool/name), independent of whatever that stands on."""

    def make(host: Host, template: Template) -> Template:
        pool, volume = host.spec.templates, template_image(template.name, template.format)
        kind = "raw" if template.format == "iso" else template.format
        host.clone_volume(VolumeSpec(pool, volume, capacity, format=kind), origin)
        digest, head = Digest(), b""
        for chunk in digest.passing(host.download(pool, volume)):
            head += chunk[: HEAD_SIZE - len(head)]
        image = judge_image(head, digest.size, template.format)
        return replace(template, checksum=digest.checksum(), size=image.size, file_size=image.file_size)

    return make


def rewrite_descriptor(host: Host, before: Template, after: Template) -> None:
    """Changes what a descriptor says, in place and in one piece: without it, a good image would count as none."""
    pool, volume = host.spec.templates, template_descriptor(after.name)
    content = b"".join(host.download(pool, volume))
    found = decode_descriptor(content) if decode_claim(content) is None else None
    if found == after:
        return
    if found != before:
        raise AblestackError(Code.CONFLICT, f"template '{after.name}' was changed meanwhile", "run the task again")
    # An upload overwrites from the beginning and cuts nothing off.
    host.upload(pool, volume, [encode_descriptor(after).ljust(len(content))])


def remove_template(host: Host, copy: TemplateCopy, check: Callable[[], None]) -> None:
    """Deletes what is there of it. `check` looks again for users, once nobody new can find it."""
    while copy.volumes:
        claim = Claim(host, copy.name)
        claim.take(over_ready=True)
        try:
            try:
                check()
            except AblestackError:
                claim.give_back()
                raise
            delete_images(host, copy.name)
            if claim.drop():
                return
        finally:
            claim.end()
        # Somebody else saw it Ready at the same moment and took it over: what he leaves is looked at anew.
        copy = find_template(host, copy.name)


def delete_images(host: Host, name: str) -> None:
    """Deletes the template's images, of whatever format."""
    known = host.volume_names(host.spec.templates)
    for kind in TEMPLATE_FORMATS:
        if template_image(name, kind) in known:
            host.delete_volume(host.spec.templates, template_image(name, kind))
