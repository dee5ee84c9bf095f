# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest agents that answer whatever they like, through the real binding: sense, or one clear sentence, never more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Callable

import libvirt
import libvirt_qemu
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_guests, libvirt_shell
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.guest_answer import Answer
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_devices import AGENT_TIME
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_power import AGENT_RESPONSE
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_snapshots import FREEZE_RESPONSE
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
MANY = 2 * 1024 * 1024
HUGE = (
    "A" * MANY,
    json.dumps({"return": "A" * MANY}),
    json.dumps({"return": {"out-data": "QUJD" * (MANY // 4), "exited": True, "pid": 1, "version": "\x1b[2J" * 9999}}),
    json.dumps({"return": {"buf-b64": "QUJD" * (MANY // 4), "count": 1}}),
    json.dumps({"return": [{"phys-index": index} for index in range(99_999)]}),
    json.dumps({"return": {"supported_commands": [{"name": str(index)} for index in range(99_999)]}}),
    '{"return": %s}' % ("9" * 4000),
    '{"return": ' + "[" * 900 + "]" * 900 + "}",
    '{"return": {"pid": 1e999, "exitcode": -1e999, "exited": true}}',
    '{"return": {"pid": 1.5, "count": NaN, "exited": true}}',
)
ENDLESS = (
    json.dumps({"return": {"pid": 1}}),  # a command that is never done
    json.dumps({"return": 1}),
    json.dumps(
        {"return": {"count": 1, "buf-b64": "QQ==", "exited": True, "exitcode": 0, "pid": 1}}
    ),  # a file without end
)
SAID = st.one_of(TEXTS, TEXTS, TEXTS, st.integers(0, len(HUGE) - 1), st.sampled_from(ENDLESS))
"""A number stands for a text too long to be shown."""
SECONDS = st.sampled_from((0.01, 0.01, 0.01, 0.5, 3.0, 1e9))
"""That one answer takes."""
BYTES_A_SECOND = 10_000_000
"""That an agent's channel carries, at the most."""
EXAMPLES = settings(max_examples=int(os.environ.get("ABLESTACK_FUZZ", "60")), suppress_health_check=list(HealthCheck))


class HostileAgent:
    """Says `texts`, one after the other and then again, and takes the same time for each; `now` is the clock of all."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.texts = [""]
        self.seconds = 0.01

    def ask(self, _domain: Any, _command: str, timeout: int, _flags: int) -> str:
        text = self.texts[self.asked % len(self.texts)]
        self.asked += 1
        takes = max(self.seconds, len(text) / BYTES_A_SECOND)
        self.now += min(takes, timeout)
        if takes <= timeout:
            return text
        error = libvirt.libvirtError("silent")
        error.err = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_FROM_QEMU, "no answer", 2, "", "", "", 0, 0)
        raise error

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with driver_host(tmp_path_factory.mktemp("driver")) as host:
        yield host


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> HostileAgent:
    agent = HostileAgent()
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", agent.ask)
    monkeypatch.setattr(libvirt_guests.LibvirtGuests, "_bound_agent", lambda *_args: None)
    for module in (libvirt_guests, libvirt_shell):
        monkeypatch.setattr(module, "sleep", agent.sleep)
        monkeypatch.setattr(module, "monotonic", lambda: agent.now)
    return agent


def refused_or_done(agent: HostileAgent, most: float, work: Callable[[], Any]) -> None:
    """Sense is made of it, or it is told what the guest does wrong, after so many seconds at the most."""
    error: AblestackError | None = None
    began = agent.now
    try:
        work()
    except AblestackError as refused:
        error = refused
    assert agent.now - began <= most + 1e-6
    assert error is None or error.code in (Code.AGENT_UNAVAILABLE, Code.UNSUPPORTED, Code.TIMEOUT, Code.INVALID_STATE)
    assert error is None or error.sentence.isprintable()
    assert error is None or len(error.sentence) < 1000


LIMIT = 5
"""What a command or a file may take, in seconds."""
ANSWER, PAUSE = libvirt_guests.SHELL_SECONDS, libvirt_shell.PAUSES[1]
COMMAND = LIMIT + PAUSE + 2 * ANSWER
"""The limit is looked at between two answers, and the first may be late as well."""
A_FILE = LIMIT + 3 * ANSWER


@EXAMPLES
@given(said=st.lists(SAID, min_size=1, max_size=4), seconds=SECONDS)
@example(said=[ENDLESS[0]], seconds=0.01)
@example(said=[*ENDLESS[1:]], seconds=3.0)
@example(said=[ENDLESS[2], ENDLESS[2], ENDLESS[1], ENDLESS[2]], seconds=3.0)
def test_whatever_an_agent_says(
    said: list[str | int], seconds: float, host: Any, agent: HostileAgent, fuzz_case: Callable[[], None]
) -> None:
    fuzz_case()
    agent.texts = [HUGE[text] if isinstance(text, int) else text for text in said]
    agent.seconds, agent.asked = seconds, 0
    shell = host.guest_shell(THEIRS, LIMIT)
    refused_or_done(agent, 1, lambda: host.agent_ping(THEIRS, 1))
    # in whole seconds, of which a call has one at the least
    refused_or_done(agent, 2, lambda: host.agent_run(THEIRS, ("cat", "/proc/net/tcp"), 0))
    refused_or_done(agent, 2 * 3 + 1, lambda: host.agent_run(THEIRS, ("cat", "/proc/net/tcp"), 3))
    refused_or_done(agent, 2 * AGENT_RESPONSE, lambda: host.agent(THEIRS))
    refused_or_done(agent, 2 * FREEZE_RESPONSE, lambda: host.agent(THEIRS, patient=True))
    refused_or_done(agent, 2 * AGENT_TIME, lambda: host._online_memory(THEIRS))
    refused_or_done(agent, COMMAND, lambda: shell.run(("id",), b"in"))
    refused_or_done(agent, COMMAND + A_FILE, lambda: shell.write("/tmp/x", [b"content", b"more of it"]))
    refused_or_done(agent, A_FILE, lambda: [*shell.read("/tmp/x")])
    refused_or_done(agent, 2 * COMMAND + COMMAND + A_FILE, lambda: shell.run(("id",), bytes(libvirt_shell.PIECE + 1)))


class Says:
    """An agent that does what it is asked, but writes one byte at a time, and takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def ask(self, verb: str, **_arguments: Any) -> Answer:
        self.now += self.seconds
        values = {"guest-exec": {"pid": 1}, "guest-exec-status": {"exited": True, "exitcode": 0}, "guest-file-open": 1}
        return Answer(values.get(verb, {"count": 1}), "VM 'web1'")


def test_a_file_that_is_taken_byte_by_byte_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Says(1.0)
    monkeypatch.setattr(libvirt_shell, "monotonic", lambda: agent.now)
    shell = libvirt_shell.LibvirtShell(agent.ask, "VM 'web1'", LIMIT)
    with pytest.raises(AblestackError, match="writing '/tmp/x' in VM 'web1' was not done within 5 seconds"):
        shell.write("/tmp/x", [bytes(1000)])
    assert agent.now < 20


@EXAMPLES
@given(raw=st.binary(max_size=200))
def test_what_a_guest_prints_is_text_without_what_drives_terminals(raw: bytes, fuzz_case: Callable[[], None]) -> None:
    fuzz_case()
    text = libvirt_guests.plain(raw)
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in text)
    assert "\x1b" not in text
    assert "\x7f" not in text
