# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of ablestack_vm_fleet: runs the module, unpacked where it can, and shows on a terminal how far it is."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from ansible import constants as C  # noqa: N812 - as everywhere in Ansible
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.ablestack.kvm.plugins.module_utils.face.progress import FILE_VARIABLE, Progress

SWITCH = "ABLESTACK_PROGRESS"
"""Set to `always` or `never` by the user; otherwise a terminal decides."""
PAUSES = (2.0, 3.0, 5.0, 10.0)  # seconds before each line, the last for all that follow
START = (
    "import sys; sys.path[0] = {root!r};"
    " from ansible_collections.ablestack.kvm.plugins.modules.ablestack_vm_fleet import main; main()"
)
_FOR_PEOPLE = ("default", "yaml", "debug", "unixy", "dense")


class ActionModule(ActionBase):  # type: ignore[misc]
    """Like the action of any module; what it shows beside must never keep it from its work."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        here = self._connection.transport in ("local", "ansible.builtin.local") and not wrap_async
        # A file is the module's way to tell, so it has to run here. In check mode there is nothing to wait for.
        if here and not self._task.check_mode and wants_progress(os.environ):
            with shown_progress(self._tell) as path:
                if path:
                    self._task.environment = [*(self._task.environment or []), {FILE_VARIABLE: path}]
                done = self._run(task_vars, here)
        else:
            done = self._run(task_vars, here, wrap_async)
        result = merge_hash(result, done)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return dict(result)

    def _run(self, task_vars: Any, here: bool, wrap_async: bool = False) -> dict[str, Any]:
        """The module's result; the module is packed and sent only where it is not installed already."""
        if here and self._is_installed(task_vars):
            return self._run_installed(task_vars)
        return dict(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))

    def _is_installed(self, task_vars: Any) -> bool:
        """Whether the module would run as we do: by the same interpreter and user."""
        interpreter = self._templar.template((task_vars or {}).get("ansible_python_interpreter", ""))
        return interpreter == sys.executable and not self._connection.become and not C.DEFAULT_KEEP_REMOTE_FILES

    def _run_installed(self, task_vars: Any) -> dict[str, Any]:
        """Runs the module from this collection's folder: to pack and to compile it takes longer than all it does.

        As `_execute_module` does it otherwise, but for the packing.
        """
        options = dict(self._task.args)
        self._update_module_args(self._task.action, options, task_vars)
        root = Path(__file__).parents[5]
        words = shlex.join((sys.executable, "-c", START.format(root=str(root))))
        command = f"{self._compute_environment_string()} {words}".strip()
        told = self._low_level_execute_command(command, in_data=json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        try:
            done = dict(json.loads(told["stdout"]))
        except ValueError:
            output = {"module_stdout": told["stdout"], "module_stderr": told["stderr"], "rc": told["rc"]}
            return {"failed": True, "msg": "the module ended without a result", **output}
        # not by Ansible's own function for it, which newer releases have no more
        return {key: value for key, value in done.items() if not key.startswith("_ansible_")}

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
