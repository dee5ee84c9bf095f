# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User data on real hosts, with everything turned up: only the seed has it, and only root and QEMU read the seed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Callable

import libvirt
from lab_tests.lab import Lab
from lab_tests.runs import Run

from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.seeding import WITHHELD

SECRET = "correct-horse-battery-staple"
SECRETS = {
    "data": f"#cloud-config\npassword: {SECRET}\n",
    "other": f"#cloud-config\npassword: {SECRET}-changed\n",
    # it prints what it was given for as long as anybody waits
    "loud": "#cloud-config\nruncmd:\n"
    f"  - (for n in $(seq 600); do echo {SECRET} >/dev/ttyS0; sleep 1; done) >/dev/null 2>&1 &\n",
    "key": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
}

SILENT = {"networks": ["quiet"], "wait": "ip", "wait_timeout": 20}
"""Nobody gives it an address there, so the wait fails, and quotes the console: where there is an agent it speaks."""


@contextmanager
def command_lines_watched(secret: str) -> Iterator[list[str]]:
    """The command lines and environments with the secret in them that any process of this machine has meanwhile."""
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                for file in (path, path.with_name("environ")):
                    try:
                        content = file.read_bytes()
                    except OSError:
                        continue
                    if secret.encode() in content:
                        seen.append(f"{file}: {content[:300]!r}")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def tasks(catalog: dict[str, Any], image: str, folder: Path) -> list[dict[str, Any]]:
    """A template, and VMs with secrets: deployed, changed, refused, in a fleet, listed. Secrets come from files."""
    for name, text in SECRETS.items():
        (folder / name).write_text(text, encoding="utf-8")
    data, other, loud, key = ("{{ lookup('ansible.builtin.file', '%s') }}" % (folder / name) for name in SECRETS)
    common = {"template": "tiny", "compute_offering": "tiny", "networks": ["default"]}
    quiet = {**common, "start": False, "wait": "none"}
    vm = {"catalog": catalog, "name": "s1", **quiet, "user_data": data}
    fleet = [{"name": "s2", "user_data": data}, {"name": "s3", "user_data": key}]
    s4 = {**vm, **SILENT, "name": "s4", "user_data": loud, "start": True}
    modules: list[tuple[str, dict[str, Any], bool]] = [
        ("ablestack_template", {"catalog": catalog, "name": "tiny", "format": "qcow2", "src": image}, True),
        ("ablestack_vm", {**vm, "start": True, "wait": "running"}, True),
        ("ablestack_vm", {**vm, "user_data": other}, True),
        ("ablestack_vm", {**vm, "networks": ["nosuch"], "name": "s9"}, False),
        ("ablestack_vm", {**vm, "ssh_public_keys": [key], "name": "s9"}, False),
        ("ablestack_vm", {**vm, "labels": {"x": [data]}, "name": "s9"}, False),
        ("ablestack_vm_fleet", {"catalog": catalog, "vms": fleet, "defaults": quiet}, True),
        ("ablestack_vm_fleet", {"catalog": catalog, "vms": fleet, "defaults": {"user_data": data, "x": 1}}, False),
        ("ablestack_vm_info", {"catalog": catalog}, True),
        ("ablestack_network", {"catalog": catalog, "name": "quiet", "type": "l2"}, True),
        ("ablestack_vm", {**s4, "wait": "agent", "wait_timeout": 300}, True),
        ("ablestack_vm", s4, False),
    ]
    return [
        {"name": f"{at} {module}", f"ablestack.kvm.{module}": options, "ignore_errors": not done}
        for at, (module, options, done) in enumerate(modules)
    ]


def test_a_secret_is_in_the_seed_and_nowhere_else(
    clean_lab: Lab, run_playbook: Callable[..., Run], tmp_path: Path
) -> None:
    catalog = clean_lab.catalog(
        compute_offerings={"tiny": {"cpu": 1, "memory": 96}}, settings={"cpu_overprovisioning": 20}
    )
    work = tasks(catalog, str(clean_lab.tiny), tmp_path)
    log = tmp_path / "ansible.log"
    loud = {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_VERBOSITY": "4"}
    with command_lines_watched(SECRET) as seen:
        run = run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": work}], env=loud, diff=True)
    wanted = ["ignored" if task["ignore_errors"] else "ok" for task in work]
    assert [task.status for task in run.tasks] == wanted
    late = run.tasks[-1].result
    assert late["error"]["code"] == "Timeout"
    assert WITHHELD in late["error"]["details"]["console"], "its console was not heard"
    assert SECRET not in run.output
    assert SECRET not in log.read_text(encoding="utf-8")
    assert SECRET not in str([task.result for task in run.tasks])
    assert seen == []

    holders = [Path(path) for path in files_with(clean_lab, SECRET)]
    assert {path.name.partition("-s")[2][:1] for path in holders} >= {"1", "2", "3", "4"}, "the search finds too little"
    for path in holders:
        assert path.name.endswith("-seed.iso")
        assert not path.stat().st_mode & 0o077, f"{path} is open to others"
    with closing(clean_lab.connect()) as connection:
        for domain in connection.listAllDomains():
            for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
                assert SECRET not in domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE)


def files_with(lab: Lab, secret: str) -> list[str]:
    """All files that the lab's hosts have written, their logs and libvirt's own among them, with the secret in them."""
    command = ["grep", "-rlsaF", "--devices=skip", secret, str(lab.run)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
