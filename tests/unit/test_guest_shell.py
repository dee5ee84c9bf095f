# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and files through an agent that behaves as QEMU's does, and as it does at its worst."""

from __future__ import annotations

import itertools
from base64 import b64decode, b64encode
from typing import Any, Callable

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_shell
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.guest_answer import Answer
from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor.libvirt_shell import PIECE, LibvirtShell
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code


class Agent:
    """A guest agent over a dictionary of files. Commands answer what `answers` says, after two looks."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.open: dict[int, list[Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.commands: list[dict[str, Any]] = []
        self.looks = 0
        self.fails_at = ""
        self.at_most = PIECE

    def __call__(self, verb: str, **arguments: Any) -> Any:
        if verb == self.fails_at:
            raise AblestackError(Code.AGENT_UNAVAILABLE, f"no answer to {verb}")
        answer: Any = getattr(self, verb.replace("-", "_"))(
            **{key.replace("-", "_"): arguments[key] for key in arguments}
        )
        return Answer(answer, "VM 'web1'")

    def guest_exec(self, **command: Any) -> dict[str, Any]:
        assert len(command.get("input_data", "")) <= 2 * PIECE
        self.commands.append(command)
        self.looks = 0
        return {"pid": len(self.commands)}

    def guest_exec_status(self, pid: int) -> dict[str, Any]:
        self.looks += 1
        if self.looks < 3:
            return {"exited": False}
        return {"exited": True, "exitcode": 0, **self.answers.get(self.commands[pid - 1]["arg"][-1], {})}

    def guest_file_open(self, path: str, mode: str) -> int:
        if mode == "w":
            self.files[path] = bytearray()
        self.open[len(self.open) + 1] = [path, 0]
        return len(self.open)

    def guest_file_write(self, handle: int, buf_b64: str) -> dict[str, Any]:
        piece = b64decode(buf_b64)
        assert len(piece) <= PIECE
        taken = piece[: self.at_most]
        self.files[self.open[handle][0]] += taken
        return {"count": len(taken), "eof": False}

    def guest_file_read(self, handle: int, count: int) -> dict[str, Any]:
        path, at = self.open[handle]
        piece = bytes(self.files[path][at : at + min(count, self.at_most)])
        self.open[handle][1] += len(piece)
        return {"count": len(piece), "buf-b64": b64encode(piece).decode(), "eof": not piece}

    def guest_file_close(self, handle: int) -> dict[str, Any]:
        self.open[handle] = []
        return {}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setattr(libvirt_shell, "PAUSES", (0, 0))
    return Agent()


@pytest.fixture
def shell(agent: Agent) -> LibvirtShell:
    return LibvirtShell(agent, "VM 'web1'", 60)


def text(data: bytes) -> str:
    return b64encode(data).decode()


def test_a_command_runs_to_its_end(agent: Agent, shell: LibvirtShell) -> None:
    agent.answers["ls /nothing"] = {"exitcode": 2, "out-data": text(b"out\xff"), "err-data": text(b"err")}
    assert shell.run(("/bin/sh", "-c", "ls /nothing"), b"typed") == (2, b"out\xff", b"err")
    (command,) = agent.commands
    assert (command["path"], command["arg"]) == ("/bin/sh", ["-c", "ls /nothing"])
    assert b64decode(command["input_data"]) == b"typed"


def test_a_command_that_a_signal_ended_has_the_shells_exit_code(agent: Agent, shell: LibvirtShell) -> None:
    agent.answers["x"] = {"signal": 9}
    agent.guest_exec_status = lambda pid: {"exited": True, "signal": 9}  # type: ignore[method-assign,assignment]
    assert shell.run(("x",)) == (137, b"", b"")


def test_output_that_was_cut_off_is_an_error(agent: Agent, shell: LibvirtShell) -> None:
    agent.answers["x"] = {"out-data": text(b"half"), "out-truncated": True}
    with pytest.raises(AblestackError) as error:
        shell.run(("/bin/sh", "-c", "x"))
    assert error.value.code is Code.UNSUPPORTED


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_files_pass_whole_whatever_the_agent_takes_at_once(agent: Agent, shell: LibvirtShell, size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    agent.at_most = PIECE - 7
    shell.write("/root/file", [content[:10], content[10:]])
    assert bytes(agent.files["/root/file"]) == content
    assert b"".join(shell.read("/root/file")) == content
    assert set(map(bool, agent.open.values())) == {False}
    assert "umask 077" in agent.commands[0]["arg"][1]


@pytest.mark.parametrize("count", [0, -1, 2, 2**70, "1", None])
def test_a_count_that_cannot_be_is_nonsense(agent: Agent, shell: LibvirtShell, count: Any) -> None:
    agent.guest_file_write = lambda **_arguments: {"count": count}  # type: ignore[method-assign]
    with pytest.raises(AblestackError) as error:
        shell.write("/root/file", [b"x"])
    assert error.value.code is Code.AGENT_UNAVAILABLE
    assert agent.open == {1: []}


@pytest.mark.parametrize("what", ["run", "write", "read"])
def test_a_guest_that_comes_to_no_end_is_given_up(
    agent: Agent, shell: LibvirtShell, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 0.25)
    monkeypatch.setattr(libvirt_shell, "monotonic", lambda: next(clock))
    agent.files["/root/file"] = bytearray(b"x")
    ever = {"exited": False, "count": 1, "buf-b64": text(b"x"), "eof": False}
    if what != "write":
        agent.guest_exec_status = lambda pid: ever  # type: ignore[method-assign]
    agent.guest_file_read = lambda handle, count: ever  # type: ignore[method-assign]
    work: dict[str, Callable[[], object]] = {
        "run": lambda: shell.run(("/bin/sh", "-c", "sleep infinity")),
        "write": lambda: shell.write("/root/file", itertools.repeat(b"x")),
        "read": lambda: sum(map(len, shell.read("/root/file"))),
    }
    with pytest.raises(AblestackError, match="not done within 60 seconds") as error:
        work[what]()
    assert error.value.code is Code.TIMEOUT
    assert set(map(bool, agent.open.values())) <= {False}


def test_long_input_goes_by_a_file_that_is_removed(agent: Agent, shell: LibvirtShell) -> None:
    agent.answers["umask 077 && mktemp"] = {"out-data": text(b"/tmp/tmp.1\n")}
    shell.run(("/bin/cat",), bytes(PIECE + 1))
    assert bytes(agent.files["/tmp/tmp.1"]) == bytes(PIECE + 1)
    last = agent.commands[-1]
    assert "input_data" not in last
    assert last["arg"][-2:] == ["/tmp/tmp.1", "/bin/cat"]
    assert 'rm -f "$0"' in last["arg"][1]


def test_a_file_that_cannot_be_written_is_an_error(agent: Agent, shell: LibvirtShell) -> None:
    agent.answers["/proc/none"] = {"exitcode": 1, "err-data": text(b"no such directory")}
    with pytest.raises(AblestackError) as error:
        shell.write("/proc/none", [b"x"])
    assert "no such directory" in error.value.sentence


def test_the_first_error_is_told_and_the_file_closed(agent: Agent, shell: LibvirtShell) -> None:
    agent.fails_at = "guest-file-write"
    with pytest.raises(AblestackError, match="guest-file-write"):
        shell.write("/root/file", [b"x"])
    assert agent.open == {1: []}
