# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a report as PNG files: `report_picture.py PAGE.html FOLDER [HEIGHT]`; the guide shows the light one."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from support.browser import DESKTOP, PHONE, browser

LOOKS = {"report-light": (DESKTOP, False), "report-dark": (DESKTOP, True), "report-phone": (PHONE, False)}


def main(page: str, folder: str, height: str = "0") -> None:
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as opened:
        for name, (size, dark) in LOOKS.items():
            opened.open(Path(page).resolve(), size, dark)
            opened.picture(Path(folder, f"{name}.png"), int(height))


if __name__ == "__main__":
    main(*sys.argv[1:])
