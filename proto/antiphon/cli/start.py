"""Starts a command line, before its libraries are known to be installed."""

from __future__ import annotations

import importlib
import sys


def start(command: str, module: str, distribution: str) -> None:
    """Runs `module.main`; if what it needs is not installed, says in a sentence what is missing."""
    try:
        run = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        if str(error.name).startswith("antiphon"):
            raise
        sys.exit(f"{command}: {error.name} is not installed: pip install {distribution}")
    except KeyboardInterrupt:  # imports take seconds on a small machine
        sys.exit(f"{command}: interrupted")
    run()
