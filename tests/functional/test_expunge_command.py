# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of the hosts' timer: packed as the role expunge_timer packs it, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.catalog import HostSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from ansible_collections.ablestack.kvm.plugins.module_utils.face import expunge_command
from support.worlds import make_world

ROOT = Path(__file__).parents[2]
PACK = ROOT / "roles" / "expunge_timer" / "files" / "pack.py"
COMMAND = "ablestack_kvm.face.expunge_command"


def packed(cache: Path) -> Path:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, str(PACK), str(ROOT / "plugins" / "module_utils")]
    return Path(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the service has it: nothing of this clone or of Ansible's collections is in the way of the package."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd="/", capture_output=True, text=True, check=False
    )


def test_the_packed_command_runs_without_ansible(tmp_path: Path) -> None:
    package = packed(tmp_path)
    done = python(package, "-m", COMMAND, "--uri", "test:///default")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    imported = f"import sys; import {COMMAND}; print([name for name in sys.modules if name.startswith('ansible')])"
    assert python(package, "-c", imported).stdout == "[]\n"


def test_the_same_sources_give_the_same_file(tmp_path: Path) -> None:
    first, again, elsewhere = packed(tmp_path / "a"), packed(tmp_path / "a"), packed(tmp_path / "b")
    assert first == again
    assert first.name == elsewhere.name
    assert first.read_bytes() == elsewhere.read_bytes()
    assert [file.name for file in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize("uri", ["kvm01", "qemu+unix:///system?socket=/no/such/socket"])
def test_a_host_that_cannot_be_reached_is_one_sentence(tmp_path: Path, uri: str) -> None:
    done = python(packed(tmp_path), "-m", COMMAND, "--uri", uri)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_it_tells_what_it_did_and_what_it_could_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world()
    ids = {}
    for name in ("web1", "web2", "kept"):
        with world.controller().infrastructure as infrastructure:
            spec = VmSpec(name=name, template="tiny", compute_offering="small", networks=(NicSpec("default"),))
            ids[name] = apply_vm(infrastructure, spec).result["vm"]["id"]
            delay = 86400 if name == "kept" else 0
            apply_vm(infrastructure, VmSpec(name=name, state="destroyed", expunge_delay=delay))
    ails: list[Any] = []

    def opener(check: bool) -> Any:
        def open_host(spec: HostSpec) -> Any:
            host: Any = world.controller(check).infrastructure.host("kvm01")
            host.spec = spec
            for error in ails:
                host.fail_at("undefine", error)
            return host

        return open_host

    monkeypatch.setattr(expunge_command, "open_hosts", opener)
    assert expunge_command.main(["--check"]) == 0
    both = sorted(f"VM '{name}' ({ids[name]})" for name in ("web1", "web2"))
    assert sorted(capsys.readouterr().out.splitlines()) == [f"would expunge {vm}" for vm in both]
    assert len(world.state.domains) == 3

    ails.append(AblestackError(Code.HOST_UNAVAILABLE, "the host went away"))
    assert expunge_command.main([]) == 1
    told = capsys.readouterr()
    [failed] = told.err.splitlines()
    [done] = told.out.splitlines()
    assert failed.endswith(": the host went away.")
    assert sorted([failed.split(": ")[0], done.partition(" ")[2]]) == both

    ails.clear()
    assert expunge_command.main([]) == 0
    assert capsys.readouterr().out.startswith("expunged VM 'web")
    assert expunge_command.main([]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(world.state.domains) == 1
