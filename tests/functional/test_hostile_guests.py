# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest agents that answer whatever they like, through the real binding: sense, or one clear sentence, never more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Callable

import libvirt_qemu
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_guests, libvirt_shell
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.hostile import JSON
from support.test_driver import driver_host

THEIRS = "aaaaaaaa-0000-4000-8000-000000000001"
KEYS = st.sampled_from(
    [
        *("pid", "exited", "exitcode", "signal", "out-data", "err-data", "count", "eof", "buf-b64", "version"),
        *("supported_commands", "name", "enabled", "phys-index", "online", "out-truncated"),
    ]
)
VALUES = st.one_of(JSON, st.sampled_from((0, 1, -1, 2**70, True, "", "QUJD", "Q", "é", [], {})), st.binary().map(repr))
SHAPED = st.dictionaries(KEYS, VALUES, max_size=5)
RETURNS = st.one_of(SHAPED, SHAPED, st.lists(SHAPED, max_size=3), VALUES)
TEXTS = st.one_of(
    RETURNS.map(lambda value: json.dumps({"return": value})),
    st.sampled_from(("", "null", "[]", "{", '{"return"', "[" * 100_000, '{"error": {}}', "\x00", "NaN")),
    st.text(max_size=30),
)
EXAMPLES = settings(max_examples=int(os.environ.get("ABLESTACK_FUZZ", "60")), suppress_health_check=list(HealthCheck))


class EndlessError(Exception):
    """The agent was asked more often than any honest task asks."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with driver_host(tmp_path_factory.mktemp("driver")) as host:
        yield host


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the agent says, one after the other and then again."""
    texts: list[str] = []
    asked = [0]

    def ask(_domain: Any, _command: str, _timeout: int, _flags: int) -> str:
        asked[0] += 1
        if asked[0] > 60:
            asked[0] = 0
            raise EndlessError
        return texts[asked[0] % len(texts)]

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", ask)
    monkeypatch.setattr(libvirt_guests.LibvirtGuests, "_bound_agent", lambda *_args: None)
    for module in (libvirt_guests, libvirt_shell):
        monkeypatch.setattr(module, "sleep", lambda _seconds: None)
    return texts


def refused_or_done(work: Any) -> None:
    """Sense is made of it, or the agent is told to be of no use; an agent that never ends a command may go on."""
    error: AblestackError | None = None
    with suppress(EndlessError):
        try:
            work()
        except AblestackError as refused:
            error = refused
    assert error is None or error.code in (Code.AGENT_UNAVAILABLE, Code.UNSUPPORTED, Code.INTERNAL)
    assert error is None or error.sentence.isprintable()


@EXAMPLES
@given(said=st.lists(TEXTS, min_size=1, max_size=4))
def test_whatever_an_agent_says(said: list[str], host: Any, answers: list[str], fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    answers[:] = said
    shell = host.guest_shell(THEIRS, 5)
    refused_or_done(lambda: host.agent_ping(THEIRS, 1))
    refused_or_done(lambda: host.agent_run(THEIRS, ("cat", "/proc/net/tcp"), 0))
    refused_or_done(lambda: host.agent(THEIRS))
    refused_or_done(lambda: host._online_memory(THEIRS))
    refused_or_done(lambda: shell.run(("id",), b"in"))
    refused_or_done(lambda: shell.write("/tmp/x", [b"content"]))
    refused_or_done(lambda: [*shell.read("/tmp/x")])


@EXAMPLES
@given(raw=st.binary(max_size=200))
def test_what_a_guest_prints_is_text_without_what_drives_terminals(raw: bytes, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    text = libvirt_guests.plain(raw)
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in text)
    assert "\x1b" not in text
    assert "\x7f" not in text
