# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server on this machine that answers as a test wants it to, well or badly."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """`answers` by path, `asked` the requests it got; over TLS with a `secure` context."""

    def __init__(self, secure: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.sent = 0  # bytes of endless answers
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers.get("Authorization", "")))
                web.answers[self.path.partition("?")[0]](self)

            def log_message(self, *_words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def finish_request(self, request: Any, client_address: Any) -> None:
                if secure is None:
                    super().finish_request(request, client_address)
                    return
                with suppress(OSError), secure.wrap_socket(request, server_side=True) as wrapped:
                    super().finish_request(wrapped, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.root = f"{'https' if secure else 'http'}://{self.address}"

    def file(self, path: str, content: bytes, length: int | None = None) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content) if length is None else length))
            handler.end_headers()
            handler.wfile.write(content)

        self.answers[path] = answer
        return f"{self.root}{path}"

    def redirect(self, path: str, target: str) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.end_headers()

        self.answers[path] = answer
        return f"{self.root}{path}"

    def error(self, path: str, status: int) -> str:
        self.answers[path] = lambda handler: handler.send_error(status)
        return f"{self.root}{path}"

    def silence(self, path: str, until: threading.Event) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "10")
            handler.end_headers()
            until.wait(30)

        self.answers[path] = answer
        return f"{self.root}{path}"

    def endless(self, path: str) -> str:
        """A body without an announced length, which goes on for as long as somebody reads it."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            with suppress(OSError):
                while True:
                    self.sent += handler.wfile.write(bytes(1024 * 1024))

        self.answers[path] = answer
        return f"{self.root}{path}"


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()
        thread.join()
