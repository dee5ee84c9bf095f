# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image files templates are made from: a file where the module runs, or one that is downloaded there first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from ..model.errors import AblestackError, Code, invalid
from ..model.image import HEAD_SIZE, judge_image
from ..model.storage import Room
from ..model.template_spec import TemplateSpec
from ..model.values import Maybe
from ..plan.template import SourceFacts
from .digest import Digest

CHUNK = 1024 * 1024


class FileSource:
    """An image file of ours. Its content can be read many times, also by several threads at once."""

    is_local = True

    def __init__(self, path: str, image_format: Maybe[str], checksum: Maybe[str], text: str = "") -> None:
        self.path = os.path.abspath(path)
        self.text = text or self.path
        self.checksum = str(checksum or "")
        self._format = image_format
        self._file: int | None = None  # its descriptor, once open
        self._facts: SourceFacts | None = None

    def facts(self) -> SourceFacts:
        """What its beginning tells; InvalidInput where it cannot be an image."""
        if self._facts is None:
            self._facts = self._look()
        return self._facts

    def read(self, room: Callable[[], Room]) -> SourceFacts:
        """The same, and its checksum; ChecksumMismatch where that is not the wanted one.

        `room` tells how much may be fetched, where it has to be fetched first.
        """
        facts = self.facts()
        if facts.exists and not facts.checksum:
            checksum = Digest(self.checksum).drain(self.chunks()).verify(self.text)
            self._facts = replace(facts, checksum=checksum)
        return self.facts()

    def chunks(self) -> Iterator[bytes]:
        """Its content; Conflict where it changes while it is read."""
        facts, at = self.facts(), 0
        if self._file is None or facts.image is None:
            raise invalid(f"{self.text} does not exist", "src is a path on the machine where the module runs")
        while chunk := self._pread(CHUNK, at):
            at += len(chunk)
            yield chunk
        if at != facts.image.file_size or self._mtime() != facts.mtime:
            raise AblestackError(
                Code.CONFLICT, f"{self.text} changed while it was read", "try again when it is complete"
            )

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _look(self) -> SourceFacts:
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return SourceFacts(self.text, exists=False)
        except OSError as error:
            raise invalid(
                f"{self.text} cannot be read ({error.strerror})", "make it readable for the user who runs the module"
            ) from error
        return self._judge()

    def _judge(self) -> SourceFacts:
        """What the open file is."""
        status = os.fstat(self._file or 0)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise invalid(f"{self.text} is {what}", "give the path of an image file")
        try:
            image = judge_image(self._pread(HEAD_SIZE, 0), status.st_size, self._format)
        except AblestackError as error:
            raise AblestackError(error.code, f"{self.text}: {error.message}", error.hint) from error
        return SourceFacts(self.text, True, status.st_mtime_ns, image)

    def _mtime(self) -> int:
        return os.fstat(self._file or 0).st_mtime_ns

    def _pread(self, length: int, at: int) -> bytes:
        try:
            return os.pread(self._file if self._file is not None else -1, length, at)
        except OSError as error:
            raise AblestackError(
                Code.INTERNAL, f"{self.text} cannot be read ({error.strerror})", "see the disk it is on"
            ) from error


class UrlSource(FileSource):
    """An image on a web server: before `read` nothing is known but its address."""

    is_local = False

    def __init__(self, url: str, image_format: Maybe[str], checksum: Maybe[str]) -> None:
        from .download import shown_url

        super().__init__("", image_format, checksum, shown_url(url))
        self._url = url

    def _look(self) -> SourceFacts:
        return SourceFacts(self.text)

    def read(self, room: Callable[[], Room]) -> SourceFacts:
        """Downloads it into a file without a name, which ends with us however we end."""
        from .download import download

        if self._file is None:
            digest = Digest(self.checksum)
            self._file = download(self._url, digest, room())
            checksum = digest.verify(self.text)
            self._facts = replace(self._judge(), checksum=checksum)
        return self.facts()


def open_source(spec: TemplateSpec) -> FileSource | None:
    """The source of a template made from a file, None where it is made from something else or from nothing."""
    if spec.src:
        return FileSource(str(spec.src), spec.format, spec.checksum)
    if spec.url:
        from .download import file_path

        path = file_path(str(spec.url))
        if path:
            return FileSource(path, spec.format, spec.checksum)
        return UrlSource(str(spec.url), spec.format, spec.checksum)
    return None
