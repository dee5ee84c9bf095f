# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that a host's timer runs, without Ansible: `python3 -m ablestack_kvm.face.expunge_command`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ..core.model.catalog import Catalog
from ..core.model.errors import AblestackError
from ..core.model.outcome import Incomplete, Outcome
from ..core.usecase.expunge import expunge_due
from ..core.usecase.infrastructure import Infrastructure
from .connection import DEFAULT_URI, checked_uri, open_hosts


def main(arguments: Sequence[str] | None = None) -> int:
    """Expunges what is due, a line on standard output for each VM. Its exit code is 1 where anything failed."""
    given = _parser().parse_args(arguments)
    try:
        catalog = Catalog.of_uri(checked_uri(given.uri))
        with Infrastructure(catalog, open_hosts(given.check), given.check) as infrastructure:
            outcome = expunge_due(infrastructure)
    except Incomplete as error:
        _tell(error.outcome, given.check)
        for row in error.outcome.result["failed"]:
            _say(f"{_vm(row)}: {row['msg']}" if row["name"] else row["msg"], sys.stderr)
        return 1
    except AblestackError as error:
        _say(error.sentence, sys.stderr)
        return 1
    _tell(outcome, given.check)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Expunge the destroyed virtual machines of a KVM host that are due.")
    parser.add_argument("--uri", default=DEFAULT_URI, help="libvirt URI of the host (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="only tell what would be expunged")
    return parser


def _tell(outcome: Outcome, check: bool) -> None:
    for row in outcome.result["expunged"]:
        _say(f"{'would expunge' if check else 'expunged'} {_vm(row)}", sys.stdout)
    for warning in outcome.warnings:
        _say(warning, sys.stdout)


def _vm(row: Mapping[str, Any]) -> str:
    return f"VM '{row['name']}' ({row['id']})"


def _say(line: str, where: TextIO) -> None:
    where.write(f"{line}\n")
    where.flush()


if __name__ == "__main__":
    raise SystemExit(main())
