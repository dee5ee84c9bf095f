# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a fleet: what is told, when it is told, and that nothing of it can do harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from ansible_collections.ablestack.kvm.plugins.action import ablestack_vm_fleet as action
from ansible_collections.ablestack.kvm.plugins.module_utils.face.progress import FILE_VARIABLE, Progress, reporter

AT_A_TERMINAL = {"TERM": "xterm"}


def test_the_line_counts_and_names_the_slow_ones() -> None:
    progress = Progress()
    progress.take(['["a", "planned"]', '["b", "planned"]', '["c", "planned"]', '["a", "begun"]', '["b", "begun"]'], 0)
    progress.take(['["a", "made"]', '["c", "begun"]'], 8)
    assert progress.line(9) == "1 of 3 VMs done, 2 running, 0 failed"
    assert progress.line(12) == "1 of 3 VMs done, 2 running, 0 failed; slow: b (12 s)"
    progress.take(['["b", "failed"]'], 13)
    assert progress.line(20) == "2 of 3 VMs done, 1 running, 1 failed; slow: c (12 s)"


def test_news_come_through_a_file_while_the_work_goes_on() -> None:
    told: list[str] = []
    first = Event()

    def tell(line: str) -> None:
        told.append(line)
        first.set()

    with action.shown_progress(tell, pauses=(0.01,)) as path:
        report = reporter({FILE_VARIABLE: path})
        report("web1", "planned")
        report("web1", "begun")
        assert first.wait(20)
    assert not Path(path).exists()
    assert told[-1] == "0 of 1 VMs done, 1 running, 0 failed"
    report("web1", "made")  # nobody listens any more
    assert not Path(path).exists()


def test_a_teller_in_trouble_does_not_disturb() -> None:
    tried = Event()

    def tell(_line: str) -> None:
        tried.set()
        raise RuntimeError("no terminal after all")

    with action.shown_progress(tell, pauses=(0.01,)) as path:
        reporter({FILE_VARIABLE: path})("web1", "planned")
        assert tried.wait(20)


def test_without_a_file_news_go_nowhere(tmp_path: Path) -> None:
    reporter({})("web1", "begun")
    reporter({FILE_VARIABLE: str(tmp_path / "none")})("web1", "begun")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "terminal", "wanted"),
    [
        (AT_A_TERMINAL, True, True),
        (AT_A_TERMINAL, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({**AT_A_TERMINAL, "CI": "true"}, True, False),
        ({**AT_A_TERMINAL, "ABLESTACK_PROGRESS": "never"}, True, False),
        ({"CI": "true", "ABLESTACK_PROGRESS": "always"}, False, True),
    ],
)
def test_only_a_person_at_a_terminal_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, wanted: bool
) -> None:
    monkeypatch.setattr(action, "_is_terminal", lambda _number: terminal)
    assert action.wants_progress(environment) is wanted


@pytest.mark.parametrize("more", [{}, {"check_mode": True}, {"async": 30, "poll": 1}])
def test_the_module_runs_and_fails_through_the_action_as_without_it(tmp_path: Path, more: dict[str, Any]) -> None:
    options = {"uri": "test:///default", "vms": [{"name": "web1"}, {"name": "web2", "state": "destroyed"}]}
    task = {"name": "fleet", "ablestack.kvm.ablestack_vm_fleet": options, "register": "done", "ignore_errors": True}
    told = "SUMMARY {{ done.summary | to_json }} {{ done.error.code }}"
    tasks = [{**task, **more}, {"ansible.builtin.debug": {"msg": told}}]
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    book = tmp_path / "book.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ABLESTACK_PROGRESS": "always",
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    run = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(book)],
        env=environment, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    flat = run.stdout.replace("\\", "")
    assert '"failed": 1' in flat
    assert '"unchanged": 1' in flat
    assert "NotFound" in flat
