# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs what the timer needs of this collection into one file that Python imports from, and prints its path.

Run on the controller: `python3 pack.py MODULE_UTILS`. The same sources give the same bytes, on every machine, so that
a host whose file is up to date is seen to have it.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "ablestack_kvm"
FACE = ("__init__.py", "connection.py", "expunge_command.py")


def pack(sources: Path) -> bytes:
    """A zip archive of the core and of the command, as package `ablestack_kvm`."""
    files = sorted((sources / "core").rglob("*.py")) + [sources / "face" / name for name in FACE]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(_entry("__init__.py"), b"")
        for file in files:
            archive.writestr(_entry(file.relative_to(sources).as_posix()), file.read_bytes())
    return content.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Neither time nor owner of the file; the oldest time that an archive can have."""
    entry = zipfile.ZipInfo(f"{PACKAGE}/{name}", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


def main() -> None:
    content = pack(Path(sys.argv[1]))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ablestack-kvm")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"expunge-{hashlib.sha256(content).hexdigest()[:16]}.zip"
    if not target.exists():
        # Another host's task may be at the same work.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        Path(file.name).rename(target)
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
