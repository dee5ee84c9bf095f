# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role kvm_host knows packages and services of each family of systems that it speaks of; none is installed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles" / "kvm_host"
FAMILIES = sorted(path.stem for path in (ROLE / "vars").glob("*.yml"))
# Something each of them must have, by the name that it has there.
NEEDED = {
    "Debian": {"libvirt-daemon-system", "qemu-system-x86", "python3-libvirt", "python3-pycdlib", "libvirtd.service"},
    "RedHat": {"libvirt", "qemu-kvm", "python3-libvirt", "virtqemud.socket", "virtstoraged.socket"},
}


def resolved(folder: Path, family: str) -> dict[str, Any]:
    """What the role's own tasks of packages and services would be given on that family, by Ansible's own templating."""
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text(encoding="utf-8"))
    [install] = [task["ansible.builtin.package"]["name"] for task in tasks if "ansible.builtin.package" in task]
    [block] = [task["block"] for task in tasks if "block" in task]
    [services] = [task["loop"] for task in block if "ansible.builtin.systemd_service" in task]
    [load] = [task for task in tasks if "ansible.builtin.include_vars" in task]
    load["ansible.builtin.include_vars"] = str(ROLE / "vars" / load["ansible.builtin.include_vars"])
    out = folder / f"{family}.json"
    write = {
        "content": "{{ {'packages': packages, 'services': services} | to_json }}",
        "dest": str(out),
        "mode": "0600",
    }
    play = {
        "name": "Resolve",
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, "packages": install, "services": services},
        "tasks": [load, {"name": "Write", "ansible.builtin.copy": write}],
    }
    playbook = folder / f"{family}.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    program = [sys.executable, str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    facts = json.dumps({"ansible_facts": {"os_family": family}})
    done = subprocess.run(
        [*program, str(playbook), "-e", facts],
        env={**os.environ, "ANSIBLE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_the_families_are_those_that_are_told_of() -> None:
    assert set(FAMILIES) == set(NEEDED)


@pytest.mark.parametrize("family", FAMILIES)
def test_packages_and_services_are_named(tmp_path: Path, family: str) -> None:
    found = resolved(tmp_path, family)
    assert all(isinstance(name, str) and name for name in found["packages"] + found["services"])
    assert len(found["packages"]) == len(set(found["packages"]))
    assert all(name.endswith((".service", ".socket")) for name in found["services"])
    assert set(found["packages"] + found["services"]) >= NEEDED[family]
