"""Makes `ansible_collections.ablestack.kvm` mean this clone, wherever it lies, for every test below this folder."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent
PLACE = Path("ansible_collections", "ablestack", "kvm")


def collections_path() -> Path:
    """A folder in which Ansible and Python find the collection: our own surroundings, or a temporary tree."""
    if REPOSITORY.parts[-3:] == PLACE.parts:
        return REPOSITORY.parents[2]
    tree = Path(tempfile.mkdtemp(prefix="ablestack-tests-"))
    atexit.register(shutil.rmtree, tree, ignore_errors=True)
    (tree / PLACE).parent.mkdir(parents=True)
    (tree / PLACE).symlink_to(REPOSITORY, target_is_directory=True)
    # With these two it is an ordinary package and wins over an `ansible_collections` in site-packages.
    (tree / PLACE.parts[0] / "__init__.py").touch()
    (tree / PLACE.parent / "__init__.py").touch()
    return tree


# While pytest loads this file, since test modules import the collection when they are collected.
sys.path.insert(0, str(collections_path()))
# For code that goes through Ansible's own loader, and for the playbooks that tests start.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = sys.path[0]

# How long an example takes says nothing on a shared machine.
settings.register_profile("ablestack", deadline=None)
settings.load_profile("ablestack")


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    """A module leaves its process without collections of garbage; here the process goes on."""
    yield
    gc.enable()


class _Failures:
    """Shows a failure when it happens: of a run of many minutes that is cut off, the summary is lost."""

    def __init__(self, terminal: Any) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.terminal.write_line(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)  # the reporter comes with this hook, too
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Failures(config.pluginmanager.get_plugin("terminalreporter")))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What has been shown of faults and races, at the end of a run that tested them."""
    from support.fault_report import shown

    found = [report for reports in terminalreporter.stats.values() for report in reports]
    reports = [report for report in found if getattr(report, "when", "") == "call"]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    for line in shown(properties):
        terminalreporter.write_line(line)


@pytest.fixture
def fuzz_case(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[], None]:
    """To be called once for each made-up case; the end of the run tells how many there were."""
    row: list[Any] = [request.node.path.stem, 0]
    record_property("fuzz", row)

    def count() -> None:
        row[1] += 1

    return count
