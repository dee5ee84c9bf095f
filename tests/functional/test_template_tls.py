# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates from web servers over TLS: whoever cannot show who he is gets no further than that."""

from __future__ import annotations

import io
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.download import _Redirects
from support.certificates import self_signed
from support.templates import IMAGE, contents, run
from support.web import Web, serving
from support.worlds import World, make_world


@pytest.fixture
def world() -> World:
    return make_world(template=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.pem"


def test_a_server_that_is_trusted(world: World, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others are held to: the same server, known to the machine where the module runs."""
    with serving(Web(self_signed(file))) as web:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        url = web.file("/image", IMAGE)
        assert run(world, name="t", url=url).template["source"] == url
        assert url.startswith("https://")


@pytest.mark.parametrize(
    ("trusted", "made", "why"),
    [
        (False, {}, "self-signed certificate"),
        (True, {"address": "127.0.0.9"}, "not valid for"),
        (True, {"days": -1}, "has expired"),
    ],
)
def test_a_server_that_is_not_who_it_should_be(
    trusted: bool, made: dict[str, Any], why: str, world: World, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(world)
    with serving(Web(self_signed(file, **made))) as web:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(file))
        url = web.file("/image", IMAGE)
        refused = run(world, name="t", url=url)
    assert (refused.code, refused.controller.writes, web.asked) == ("NotFound", [], [])
    assert refused.error
    begin = f"{url} cannot be downloaded: the server's certificate cannot be verified ("
    assert refused.error.message.startswith(begin)
    assert why in refused.error.message.replace("self signed", "self-signed").replace("mismatch", "not valid for")
    assert refused.error.sentence.isprintable()
    assert contents(world) == before


def test_no_redirect_leaves_tls(world: World, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Web(self_signed(file))) as web, serving(Web()) as other:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        refused = run(world, name="t", url=web.redirect("/image", other.file("/image", IMAGE)))
    assert (refused.code, refused.controller.writes, len(web.asked), other.asked) == ("NotFound", [], 1, [])
    assert refused.error
    assert "redirects to http:" in refused.error.message


def test_an_answer_whose_redirect_is_not_followed_is_closed() -> None:
    answer, request = io.BytesIO(b"elsewhere"), urllib.request.Request("https://web.example/image")
    with pytest.raises(AblestackError, match="redirects to ftp:"):
        _Redirects().redirect_request(request, answer, 302, "Found", {}, "ftp://web.example/image")
    assert answer.closed
