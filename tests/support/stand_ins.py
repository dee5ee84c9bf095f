# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks and roles by Ansible, over stand-ins of its modules that note what they are given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (REPOSITORY / "plugins" / "modules").glob("ablestack_*.py"))
# It takes any option, and answers what it is told to.
_STAND_IN = """#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule, _load_params
given = {key: value for key, value in _load_params().items() if not key.startswith("_ansible_")}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(["NAME", given]) + "\\n")
with open(os.environ["ANSWERS"]) as content:
    answers = json.load(content)
module = AnsibleModule({key: {"type": "raw"} for key in given}, supports_check_mode=True)
module.exit_json(**{"changed": False, **answers.get("NAME", {})})
"""


@dataclass
class Ran:
    """What came of a run: its exit code, what it printed, and what each module was given, in order."""

    code: int
    output: str
    calls: list[tuple[str, dict[str, Any]]]

    def asked(self, module: str) -> list[dict[str, Any]]:
        return [given for name, given in self.calls if name == module]


@dataclass
class StandIns:
    """A collection in a folder of its own; `answers` are results by module."""

    folder: Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        collection = self.folder / "ansible_collections" / "ablestack" / "kvm"
        (collection / "plugins" / "modules").mkdir(parents=True)
        (collection / "meta").mkdir()
        for part in ("roles", "playbooks"):
            (collection / part).symlink_to(REPOSITORY / part)
        groups = {"requires_ansible": ">=2.17.0", "action_groups": {"ablestack": MODULES}}
        (collection / "meta" / "runtime.yml").write_text(yaml.safe_dump(groups))
        for name in MODULES:
            (collection / "plugins" / "modules" / f"{name}.py").write_text(_STAND_IN.replace("NAME", name))

    def play(self, play: dict[str, Any], *words: str, **environment: str) -> Ran:
        """A play on this machine."""
        whole = {"hosts": "localhost", "gather_facts": False, **play}
        (self.folder / "book.yml").write_text(yaml.safe_dump([whole]), encoding="utf-8")
        return self.run("book.yml", *words, **environment)

    def run(self, playbook: str, *words: str, **environment: str) -> Ran:
        """A playbook by its path, or by the name that users call it by, with what follows it on the command line."""
        calls, answers = self.folder / "calls.jsonl", self.folder / "answers.json"
        calls.write_text("")
        answers.write_text(json.dumps(self.answers))
        env = {key: value for key, value in os.environ.items() if key != "ABLESTACK_CATALOG"}
        env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "PWD": str(self.folder),
            "CALLS": str(calls),
            "ANSWERS": str(answers),
            **environment,
        }
        python = f"ansible_python_interpreter={sys.executable}"
        command = ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook, "-e", python, *words]
        done = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, check=False)
        noted = (json.loads(line) for line in calls.read_text().splitlines())
        return Ran(done.returncode, done.stdout + done.stderr, [(call[0], call[1]) for call in noted])
