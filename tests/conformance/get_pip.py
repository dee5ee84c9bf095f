"""Stands in for the get-pip.py that ansible-test downloads: pip comes from Python itself, the rest through pip."""

from __future__ import annotations

import subprocess
import sys


def main() -> None:
    """Install pip, then the packages named in the arguments (get-pip.py's own options start with two dashes)."""
    subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True)
    packages = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if packages:
        install = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*install, *packages], check=True)


if __name__ == "__main__":
    main()
