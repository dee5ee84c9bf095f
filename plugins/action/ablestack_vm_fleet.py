# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of ablestack_vm_fleet: runs the module, and shows on a terminal how far it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from ansible import constants as C  # noqa: N812 - as everywhere in Ansible
from ansible.utils.display import Display

from ansible_collections.ablestack.kvm.plugins.module_utils.face.progress import FILE_VARIABLE, Progress
from ansible_collections.ablestack.kvm.plugins.plugin_utils.installed import InstalledAction

SWITCH = "ABLESTACK_PROGRESS"
"""Set to `always` or `never` by the user; otherwise a terminal decides."""
PAUSES = (2.0, 3.0, 5.0, 10.0)  # seconds before each line, the last for all that follow
_FOR_PEOPLE = ("default", "yaml", "debug", "unixy", "dense")


class ActionModule(InstalledAction):
    """What it shows beside must never keep the module from its work."""

    def _done(self, task_vars: Mapping[str, Any], here: bool, wrap_async: bool) -> dict[str, Any]:
        # A file is the module's way to tell, so it has to run here. In check mode there is nothing to wait for, and
        # where nothing may be logged, names are not told either.
        if not here or self._task.check_mode or self._task.no_log or not wants_progress(os.environ):
            return super()._done(task_vars, here, wrap_async)
        with shown_progress(self._tell) as path:
            if path:
                self._task.environment = [*(self._task.environment or []), {FILE_VARIABLE: path}]
            return super()._done(task_vars, here, wrap_async)

    def _tell(self, line: str) -> None:
        Display().display(f"{self._task.get_name()}: {line}", color=C.COLOR_VERBOSE, screen_only=True)


def wants_progress(environment: Mapping[str, str]) -> bool:
    """Whether somebody looks on: a person at a terminal, who has not asked for quiet."""
    switch = environment.get(SWITCH, "").lower()
    if switch in ("always", "never"):
        return switch == "always"
    if environment.get("CI") or environment.get("TERM", "dumb") == "dumb":
        return False
    if C.config.get_config_value("DEFAULT_STDOUT_CALLBACK").rpartition(".")[2] not in _FOR_PEOPLE:
        return False
    return _is_terminal(1) and _is_terminal(2)


def _is_terminal(number: int) -> bool:
    """Whether that file of Ansible's main process is a terminal; its workers have given up theirs."""
    if os.isatty(number):
        return True
    with suppress(OSError):
        return os.readlink(f"/proc/{os.getppid()}/fd/{number}").startswith(("/dev/pts/", "/dev/tty", "/dev/console"))
    return False


@contextmanager
def shown_progress(tell: Callable[[str], None], pauses: tuple[float, ...] = PAUSES) -> Iterator[str]:
    """The path of a file that is read, and told of, as long as this lasts; empty where none can be made."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="ablestack-progress-")
    except OSError:
        yield ""
        return
    with folder as name:
        file = Path(name, "news")
        file.touch(0o600)
        over = Event()
        reader = Thread(target=_follow, args=(file, tell, pauses, over), name="progress", daemon=True)
        reader.start()
        try:
            yield str(file)
        finally:
            over.set()
            reader.join()


def _follow(file: Path, tell: Callable[[str], None], pauses: tuple[float, ...], over: Event) -> None:
    """Tells while there is news or something runs; any trouble ends the telling and nothing else."""
    progress, at, last, turn = Progress(), 0, "", 0
    with suppress(Exception):
        while not over.wait(pauses[min(turn, len(pauses) - 1)]):
            turn += 1
            news = file.read_bytes()
            whole = news.rfind(b"\n") + 1
            progress.take(news[at:whole].decode("utf-8").splitlines(), monotonic())
            at = whole
            line = progress.line(monotonic())
            if progress.planned and line != last:
                tell(line)
                last = line
