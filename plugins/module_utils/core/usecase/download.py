# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads from web servers: verified TLS, no redirect to anything less, an end to servers that stall or never end."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import os
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import SplitResult, unquote, urlsplit

from ..model.errors import AblestackError, Code, invalid
from ..model.storage import Room
from .digest import Digest

STALL = 60
"""Seconds without a byte after which a server is given up."""
_CHUNK = 1024 * 1024


def file_path(url: str) -> str:
    """The path in a file: URL, empty for the URL of a web server; InvalidInput for any other."""
    parts = _parts(url)
    if parts.scheme != "file":
        return ""
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise invalid(f"url '{shown_url(url)}' is not a file here", "write file:///path")
    return unquote(parts.path)


def shown_url(url: str) -> str:
    """The URL without what may be secret: a password, and a query, of which only a digest stays."""
    parts = _parts(url)
    place = parts.netloc.rpartition("@")[2]
    query = f"?{hashlib.sha256(parts.query.encode()).hexdigest()[:12]}" if parts.query else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"


def download(url: str, digest: Digest, room: Room) -> int:
    """The content as an open file without a name; its descriptor is the caller's to close.

    Raises NotFound where it cannot be had as a whole, Timeout where the server stalls, InsufficientCapacity where the
    temporary folder is full or the content has more bytes than there is `room` for.
    """
    name = shown_url(url)
    try:
        with tempfile.TemporaryFile() as file:
            for chunk in digest.passing(_content(url, name, room)):
                file.write(chunk)
            file.flush()
            return os.dup(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AblestackError(
                Code.INSUFFICIENT_CAPACITY,
                f"{tempfile.gettempdir()} has no room for {name}",
                "set TMPDIR to a larger folder in the task's environment",
            ) from error
        raise AblestackError(
            Code.INTERNAL,
            f"{name} cannot be stored ({error.strerror})",
            "see the disk that TMPDIR is on, or set TMPDIR to another folder in the task's environment",
        ) from error


def _content(url: str, name: str, room: Room) -> Iterator[bytes]:
    """The body of the answer, checked against the length that the server announced, and against the room there is."""
    try:
        with _opener().open(_request(url), timeout=STALL) as answer:
            length, received = answer.headers.get("Content-Length") or "", 0
            announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
            if announced is not None and announced > room.free:
                raise _too_large(f"{name} has {announced} bytes", room)
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                # the announced length is no limit: it may be missing
                if received > room.free:
                    raise _too_large(f"{name} goes on after {room.free} bytes", room)
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(name, f"the server answers {error.code} {error.reason}") from error
    except (socket.timeout, TimeoutError) as error:
        raise _stalled(name) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, (socket.timeout, TimeoutError)):
            raise _stalled(name) from error
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise _untrusted(name, error.reason) from error
        raise _failed(name, str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        raise _failed(name, str(error) or type(error).__name__) from error
    if announced is not None and announced != received:
        raise _failed(name, f"it ended after {received} of {announced} bytes")


def _failed(name: str, why: str) -> AblestackError:
    return AblestackError(Code.NOT_FOUND, f"{name} cannot be downloaded: {why}", "check the url and the server")


def _untrusted(name: str, error: ssl.SSLCertVerificationError) -> AblestackError:
    return AblestackError(
        Code.NOT_FOUND,
        f"{name} cannot be downloaded: the server's certificate cannot be verified ({error.verify_message})",
        "have the certificate's authority trusted by the machine where the module runs",
    )


def _too_large(what: str, room: Room) -> AblestackError:
    return AblestackError(
        Code.INSUFFICIENT_CAPACITY,
        f"{what}, and {room.place} has room for {room.free}",
        "check the url, free some space there, or give the host another template_pool",
    )


def _stalled(name: str) -> AblestackError:
    return AblestackError(Code.TIMEOUT, f"{name} cannot be downloaded: no data for {STALL} s", "check the server")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to web servers only, and never from a verified connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            fp.close()  # nobody else does: the answer goes no further
            raise _failed(shown_url(req.full_url), f"it redirects to {urlsplit(newurl).scheme or 'nowhere'}:")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    return urllib.request.build_opener(secure, _Redirects())


def _request(url: str) -> urllib.request.Request:
    parts = _parts(url)
    place = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(parts._replace(netloc=place, fragment="").geturl())  # noqa: S310 - see _parts
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # not to another server that this one redirects to
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return request


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https", "file") and (parts.scheme == "file" or bool(parts.hostname))
    except ValueError:
        known = False
    if not known:
        raise invalid("url is not one of a web server or a file", "write https://…, http://… or file:///…")
    return parts
