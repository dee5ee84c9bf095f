"""Each module as a process of its own, and one as Ansible ships it: JSON comes out, whatever goes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULES = sorted(path.stem for path in (Path(__file__).parents[2] / "plugins/modules").glob("ablestack_*.py"))


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "ABLESTACK_CATALOG"}
    return {**kept, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"], **more}


def answer_of(name: str, args: Any) -> dict[str, Any]:
    """What the module prints, which must be one JSON document and nothing else."""
    command = [sys.executable, "-m", f"ansible_collections.ablestack.kvm.plugins.modules.{name}"]
    stdin = json.dumps({"ANSIBLE_MODULE_ARGS": args})
    run = subprocess.run(command, input=stdin, env=environment(), capture_output=True, text=True, check=False)
    assert run.stderr == ""
    answer: dict[str, Any] = json.loads(run.stdout)
    assert run.returncode == (1 if answer.get("failed") else 0)
    return answer


@pytest.mark.parametrize("name", MODULES)
def test_an_option_that_does_not_exist_is_a_clean_failure(name: str) -> None:
    answer = answer_of(name, {"nonsense": 1})
    assert answer["failed"] is True
    assert answer["error"]["code"] == "InvalidInput"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"uri": "test:///default", "catalog": {}}, "InvalidInput"),
        ({"catalog": {"hosts": [{"name": "kvm01", "url": "test:///default"}]}}, "InvalidInput"),
        ({"catalog_file": "/nowhere/catalog.yml"}, "NotFound"),
    ],
)
def test_a_connection_that_cannot_be_is_a_clean_failure(args: dict[str, Any], code: str) -> None:
    answer = answer_of("ablestack_expunge", args)
    assert answer["failed"] is True
    assert "\n" not in answer["msg"]
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    "args",
    [
        {"name": "1st"},
        {"name": "web01", "state": "gone"},
        {"name": "web01", "cpu": "two"},
        {"name": "web01", "data_disks": [{"nmae": "a"}]},
        {"name": "web01", "networks": [{"nmae": "a"}]},
        {"name": "web01", "user_data": "x" * 40000},
        {},
    ],
)
def test_a_wrong_option_of_a_vm_is_a_clean_failure(args: dict[str, Any]) -> None:
    answer = answer_of("ablestack_vm", {"uri": "test:///default", **args})
    assert answer["failed"] is True
    assert answer["error"]["code"] == "InvalidInput"


def test_libvirt_s_test_driver_is_asked_for_its_vms() -> None:
    answer = answer_of("ablestack_vm_info", {"uri": "test:///default", "include_unmanaged": True})
    assert [(vm["name"], vm["managed"]) for vm in answer["vms"]] == [("test", False)]
    assert answer["changed"] is False
    assert answer["unreachable_hosts"] == {}


def test_nothing_but_hosts_that_cannot_be_reached_is_a_failure() -> None:
    answer = answer_of("ablestack_vm_info", {"uri": "qemu+unix:///system?socket=/nowhere/libvirt-sock"})
    assert answer["failed"] is True
    assert answer["error"]["code"] == "HostUnavailable"


def test_one_host_that_cannot_be_reached_does_not_hide_the_others() -> None:
    catalog = {
        "hosts": [
            {"name": "kvm01", "uri": "test:///default"},
            {"name": "kvm02", "uri": "qemu+unix:///system?socket=/nowhere/libvirt-sock"},
        ]
    }
    answer = answer_of("ablestack_vm_info", {"catalog": catalog, "include_unmanaged": True})
    assert [vm["host"] for vm in answer["vms"]] == ["kvm01"]
    assert list(answer["unreachable_hosts"]) == ["kvm02"]
    assert len(answer["warnings"]) == 1


def test_nothing_is_due_where_nothing_is_ours() -> None:
    answer = answer_of("ablestack_expunge", {"uri": "test:///default"})
    assert (answer["changed"], answer["expunged"], answer["failures"]) == (False, [], [])


@pytest.mark.parametrize("name", ["ablestack_vm", "ablestack_vm_info", "ablestack_expunge"])
def test_what_ansible_ships_is_all_the_module_needs(name: str, tmp_path: Path) -> None:
    """Ansible finds what to ship by import statements, those inside functions too."""
    args = {"uri": "test:///default"}
    if name == "ablestack_vm":
        args.update(name="web01", state="destroyed")
    command = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", f"ablestack.kvm.{name}"]
    command += ["-a", json.dumps(args), "-e", json.dumps({"ansible_python_interpreter": sys.executable})]
    outside = environment(
        ANSIBLE_HOME=str(tmp_path),
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"),
        ANSIBLE_REMOTE_TEMP=str(tmp_path / "remote"),
        ANSIBLE_CALLBACK_RESULT_FORMAT="json",
        ANSIBLE_NOCOLOR="1",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        PYTHONPATH="",
    )
    run = subprocess.run(command, env=outside, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert '"changed": false' in run.stdout
