# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of all modules here: a module is run from where it is installed if it can be, else packed and sent."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812 - as everywhere in Ansible
from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

START = (
    "import sys; sys.path[0] = {root!r};"
    " from ansible_collections.ablestack.kvm.plugins.modules.{module} import main; main()"
)
CATALOG = "ABLESTACK_CATALOG"
"""What a module reads; a path."""
_COLLECTION = Path(__file__).parents[2]
_ROOT = _COLLECTION.parents[2]
_LOCAL = ("local", "ansible.builtin.local")
_DISCOVERED = ("", "auto", "auto_legacy", "auto_silent", "auto_legacy_silent")


class InstalledAction(ActionBase):  # type: ignore[misc]
    """Like the action of any module, and as if Ansible had packed it, but for the time that takes."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        wrap_async = bool(self._task.async_val and not self._connection.has_native_async)
        here = self._connection.transport in _LOCAL and not wrap_async
        if self._connection.transport in _LOCAL and not self._connection.become:
            self._task.environment = [catalog_setting(os.environ), *(self._task.environment or [])]
        result = merge_hash(result, self._done(task_vars or {}, here, wrap_async))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return dict(result)

    def _done(self, task_vars: Mapping[str, Any], here: bool, wrap_async: bool) -> dict[str, Any]:
        """What the module returns; `here` says that it runs on this machine while we wait."""
        if here and self._is_installed(task_vars):
            options = dict(self._task.args)
            self._update_module_args(self._task.action, options, task_vars)
            try:
                return self._run_installed(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
            except TypeError:
                pass  # dates and what is encrypted are no JSON: Ansible knows how to send them
        return dict(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))

    @property
    def _module(self) -> str:
        return str(self._task.action).rpartition(".")[2]

    def _is_installed(self, task_vars: Mapping[str, Any]) -> bool:
        """Whether the module would run as we do: from here, by the same interpreter and user."""
        if self._connection.become or C.DEFAULT_KEEP_REMOTE_FILES:
            return False
        return is_this_python(self._interpreter(task_vars))

    def _interpreter(self, task_vars: Mapping[str, Any]) -> str:
        """What Ansible would run the module by; empty where it has yet to be discovered."""
        if self._task.delegate_to:
            task_vars = task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        wanted = C.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars) or ""
        interpreter = str(self._templar.template(wanted)).strip()  # stripped before, it is no template any more
        if interpreter in _DISCOVERED:
            return str(task_vars.get("ansible_facts", {}).get("discovered_interpreter_python", ""))
        return interpreter

    def _run_installed(self, arguments: str) -> dict[str, Any]:
        """Runs the module from this collection's folder: to pack and to compile it takes longer than all it does.

        As `_execute_module` does it otherwise, but for the packing.
        """
        words = shlex.join((sys.executable, "-c", START.format(root=str(_ROOT), module=self._module)))
        command = f"{self._compute_environment_string()} {cache_setting()} {words}".strip()
        told = self._low_level_execute_command(command, in_data=arguments.encode())
        try:
            done = dict(json.loads(told["stdout"]))
        except ValueError:
            output = {"module_stdout": told["stdout"], "module_stderr": told["stderr"], "rc": told["rc"]}
            return {"failed": True, "msg": "the module ended without a result", **output}
        if "warnings" in done:
            done["warnings"] = [told_warning(warning) for warning in done["warnings"]]
        # not by Ansible's own function for it, which newer releases have no more
        return {key: value for key, value in done.items() if not key.startswith("_ansible_")}


def catalog_setting(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable with an absolute path, where it has a relative one: that begins at the folder of the user's command,
    in which we are, and a module runs in the playbook's.
    """
    path = os.path.expanduser(os.path.expandvars(environment.get(CATALOG, "")))
    return {CATALOG: os.path.abspath(path)} if path and not os.path.isabs(path) else {}


def told_warning(warning: Any) -> str:
    """As a text: since 2.19 modules send data, which Ansible shows as it is where it has not read it itself."""
    event = warning.get("event") if isinstance(warning, Mapping) else None
    return str(event["msg"] if isinstance(event, Mapping) and "msg" in event else warning)


def is_this_python(interpreter: str) -> bool:
    """Whether that program is ours by whatever name: python and python3 of one folder, which may be an environment's.

    The same program in another folder is another environment, with other libraries.
    """
    try:
        return os.path.samefile(interpreter, sys.executable) and os.path.samefile(
            os.path.dirname(interpreter), os.path.dirname(sys.executable)
        )
    except OSError:
        return False


def cache_setting() -> str:
    """A variable for Python that has it keep its compiled files, where the collection's folder takes none.

    To compile them anew for each task would take as long as to pack them.
    """
    if os.access(_COLLECTION, os.W_OK) or "PYTHONPYCACHEPREFIX" in os.environ:
        return ""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return shlex.join([f"PYTHONPYCACHEPREFIX={os.path.join(caches, 'ablestack-kvm', 'compiled')}"])
