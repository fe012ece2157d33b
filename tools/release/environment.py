"""A bare virtual environment, and what lies in it once a distribution is installed."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tools import ROOT

TORCH_ARGUMENTS = ROOT / "tools/setup/torch_arguments.sh"
MB = 1_000_000


class Environment:
    """An environment without pip of its own: nothing lies there but what was asked for."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / "bin"
        (self.packages,) = folder.glob("lib/*/site-packages")

    def install(self, *arguments: str | Path) -> None:
        """Runs pip install."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "-qq"]
        subprocess.run([*pip, *map(str, arguments)], check=True)

    def install_torch(self) -> None:
        """Installs the pinned torch as the documentation says: first, and for the CPU where there is no GPU."""
        printed = subprocess.run([TORCH_ARGUMENTS, sys.executable], check=True, capture_output=True, text=True).stdout
        self.install(*printed.splitlines()[0].split())

    def disk_mb(self) -> float:
        """What `du` says of the packages: whole blocks, each file once."""
        printed = subprocess.run(
            ["du", "--summarize", "--block-size=1", self.packages], check=True, capture_output=True, text=True
        ).stdout
        return int(printed.split()[0]) / MB
