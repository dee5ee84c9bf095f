# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim on a template's volumes: one process at a time writes them, the others wait for it.

The descriptor's volume is the lock, since libvirt makes no two of one name, and holds the claim until it tells of a
complete image. It outlives a killed process, so whoever finds it decides whether its owner lives: by the process where
that can be seen, else by whether the claim still beats.
"""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event, Thread

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.naming import template_descriptor, template_image, template_tombstone
from ..model.resources import Template, VolumeSpec
from ..model.template_descriptor import decode_claim, decode_descriptor, encode_claim, encode_descriptor
from ..model.values import now_text
from ..model.vm import Mark, Phase
from .owner import current_owner, is_abandoned
from .tombstone import await_burial, burying, has_tombstone

BEAT = 5.0
"""Seconds between two signs of life that an owner leaves in his claim."""
PAUSE = 1.0
PATIENCE = 30
"""Looks, a pause (seconds) apart, without any sign of life after which an owner is given up."""
_UNWRITTEN_PATIENCE = 5
_active: set[str] = set()  # tokens of the claims that this very process holds


class Claim:
    """The right to write one template's volumes on one host."""

    def __init__(self, host: Host, name: str) -> None:
        self._host, self._name = host, name
        self._pool, self._volume = host.spec.templates, template_descriptor(name)
        self._owner = current_owner()
        self._mark = Mark(Phase.DEPLOYING, now_text(), owner=self._owner)
        self._took = b""
        self._ended = Event()
        self._heart = Thread(target=self._beat, name="template claim", daemon=True)

    def take(self, over_ready: bool) -> bool:
        """Takes it; waits while somebody else writes. A complete template is taken only with `over_ready`, else False.

        Conflict where a live process holds the claim and does nothing.
        """
        over: bytes | None = None
        while not self._begin(over):
            done, over = self._outwait(over_ready)
            if done:
                return False
        self._heart.start()
        return True

    def _begin(self, over: bytes | None) -> bool:
        """Makes it, in place of what the volume holds where that is given; False where somebody was faster.

        A tombstone says that something is being replaced: so nobody deletes what he has not seen, and who comes in
        between steps back.
        """
        content, stone = encode_claim(self._mark), template_tombstone(self._name)
        if over is not None:
            return self._replace(over, content, stone)
        if not (self._make(content) and self._write(content)):
            return False
        stays = False
        try:
            stays = not has_tombstone(self._host, self._pool, stone)
        finally:
            if not stays:
                _active.discard(self._owner.token)
                with suppress(AblestackError):
                    self._remove()
        if not stays:
            await_burial(self._host, self._pool, stone)
        return stays

    def _replace(self, over: bytes, content: bytes, stone: str) -> bool:
        """The same over what nobody lives for. What was Ready is remembered, for `give_back`."""
        made = done = False
        try:
            with burying(self._host, self._pool, stone):
                if self._content() == over and self._remove():
                    self._took = over if decode_claim(over) is None else self._took
                    for _look in range(PATIENCE):
                        made = self._make(content) and self._write(content)
                        if made:
                            break
                        time.sleep(PAUSE)
            done = True
            return made
        finally:
            if made and not done:
                _active.discard(self._owner.token)
                with suppress(AblestackError):
                    self.give_back()
                    self.drop()

    def _make(self, content: bytes) -> bool:
        """Makes the volume; False where there is one."""
        try:
            self._host.create_volume(VolumeSpec(self._pool, self._volume, len(content), format="raw"))
        except AblestackError as error:
            if error.code is not Code.ALREADY_EXISTS:
                raise
            return False
        return True

    def _write(self, content: bytes) -> bool:
        """Says in the volume, which we have just made, that it is ours; False where somebody has taken it away."""
        _active.add(self._owner.token)
        done = taken = False
        try:
            self._host.upload(self._pool, self._volume, [content])
            done = True
        except AblestackError as error:
            taken = error.code in (Code.NOT_FOUND, Code.INVALID_STATE)
            if not taken:
                raise
        finally:
            if not done:
                _active.discard(self._owner.token)
                if not taken:
                    with suppress(AblestackError):
                        self._remove()
        return done

    def _beat(self) -> None:
        """Shows those who cannot see this process that it lives, however long its work takes."""
        number = 0
        while not self._ended.wait(BEAT):
            number += 1
            with suppress(AblestackError):
                if self.is_held():
                    self._host.upload(self._pool, self._volume, [encode_claim(self._mark, number)])

    def is_held(self) -> bool:
        """Whether it is still ours: nobody took us for dead."""
        content = self._content()
        holder = decode_claim(content) if content is not None else None
        return holder is not None and holder.owner is not None and holder.owner.token == self._owner.token

    def commit(self, template: Template) -> None:
        """The claim becomes the descriptor of the complete template; Conflict where it is no longer ours."""
        self._still()
        if not self.is_held():
            raise AblestackError(
                Code.CONFLICT,
                f"another process took over template '{self._name}' on host '{self._host.spec.name}'",
                "run the task again",
            )
        self._host.upload(self._pool, self._volume, [encode_descriptor(template)])

    def give_back(self) -> None:
        """The template that was Ready when we took it over is so again, as long as its image is there."""
        try:
            template = decode_descriptor(self._took)
        except AblestackError:
            return  # it was not
        image = self._host.volume(self._pool, template_image(self._name, template.format))
        if image is None:
            self.drop()
        elif image.file_size == template.file_size:
            self.commit(template)

    def drop(self) -> bool:
        """Nothing of the template is left: deletes the claim, last of all. False where it is no longer ours."""
        self._still()
        return self.is_held() and self._remove()

    def end(self) -> None:
        """Gives it up in this process, whatever stands on the host."""
        self._still()
        _active.discard(self._owner.token)

    def _still(self) -> None:
        """From here on nothing but what is asked for is written into the volume."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()

    def _outwait(self, over_ready: bool) -> tuple[bool, bytes | None]:
        """Waits until the volume is gone, or nobody lives for it: then what it holds, to be replaced.

        First, whether there is no more to do: there is a template that is Ready.
        """
        seen, still = b"", 0
        while True:
            content = self._content()
            if content is None:
                return False, None
            holder = decode_claim(content)
            if holder is None and not over_ready:
                return True, None
            seen, still = content, still + 1 if content == seen else 0
            if holder is None or not self._lives(holder, still):
                return False, content
            time.sleep(PAUSE)

    def _remove(self) -> bool:
        """Deletes the volume; False where somebody was faster and is making it anew."""
        try:
            self._host.delete_volume(self._pool, self._volume)
        except AblestackError as error:
            if error.code is not Code.INVALID_STATE:
                raise
            return False
        return True

    def _lives(self, holder: Mark, still: int) -> bool:
        """Whether the holder is to be waited for, after so many looks without a sign of life."""
        if holder.owner is None:
            return still < _UNWRITTEN_PATIENCE
        if holder.owner.machine != self._owner.machine:
            return still < PATIENCE
        if holder.owner.token not in _active and is_abandoned(holder):
            return False
        if still >= PATIENCE:
            raise AblestackError(
                Code.CONFLICT,
                f"process {holder.owner.pid} writes template '{self._name}' on host '{self._host.spec.name}', "
                "and shows no sign of life",
                "end that process, or wait for it",
            )
        return True

    def _content(self) -> bytes | None:
        """What the volume holds, None where it is gone."""
        try:
            return b"".join(self._host.download(self._pool, self._volume))
        except AblestackError as error:
            if error.code is Code.NOT_FOUND:
                return None
            if error.code is Code.INVALID_STATE:
                return b""  # it is being made at this very moment
            raise
