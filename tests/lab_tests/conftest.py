"""Fixtures for tests against the lab's real libvirt daemons and guests."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from lab_tests import runs
from lab_tests.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """
    Two hosts, h1 and h2, up; `lab.up(3)` for more. It stays up for the next run: `./dev down` ends it, and
    `./dev test` ends the one it started.
    """
    lab = Lab()
    lab.up(2)
    return lab


@pytest.fixture(scope="module")
def clean_lab(lab: Lab) -> Iterator[Lab]:
    """The lab with nothing on its hosts, for one file of tests; what they leave is removed."""
    lab.wipe()
    yield lab
    lab.wipe()


@pytest.fixture(scope="session")
def run_playbook(lab: Lab) -> Callable[..., runs.Run]:
    """runs.run_playbook with the lab's inventory: localhost, and h1.. as kvm_hosts."""
    return functools.partial(runs.run_playbook, inventory=lab.inventory)


@pytest.fixture(scope="session")
def run_module(lab: Lab) -> Callable[..., dict[str, Any]]:
    """runs.run_module with the lab's inventory."""
    return functools.partial(runs.run_module, inventory=lab.inventory)
