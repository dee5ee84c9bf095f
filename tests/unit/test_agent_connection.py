# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands through a guest agent: what the shell of the guest makes of them."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest

from ansible_collections.ablestack.kvm.plugins.connection.ablestack_guest_agent import AT_HOME


@pytest.mark.parametrize(
    ("environment", "home"), [({}, pwd.getpwuid(os.getuid()).pw_dir), ({"HOME": "/else where"}, "/else where")]
)
def test_a_command_has_a_home_and_is_taken_as_it_is(environment: dict[str, str], home: str) -> None:
    environment = {"PATH": os.environ["PATH"], **environment}
    words = ["/bin/sh", "-c", AT_HOME, """echo ~; cat; echo "a  'b'"; exit 3"""]
    done = subprocess.run(words, env=environment, input="in\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{home}\nin\na  'b'\n", "")
