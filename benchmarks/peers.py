# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of what the benchmarks compare with: ansible with community.libvirt, apart from our own tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablestack-kvm" / "peers"
_PACKAGES = ("ansible", "libvirt-python", "lxml")


def programs() -> Path:
    """The folder of its programs; it is made once."""
    folder = FOLDER / "bin"
    if not (FOLDER / "complete").exists():
        print("installing ansible into an environment of the benchmarks' own ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        subprocess.run([str(folder / "pip"), "install", "-q", *_PACKAGES], check=True)
        (FOLDER / "complete").touch()
    return folder
