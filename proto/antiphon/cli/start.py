"""Starts the command lines, before their libraries are known to be installed."""

from __future__ import annotations

import importlib
import signal
import sys

SERVE = "serve"


def start(command: str, module: str, distribution: str) -> None:
    """Runs `module.main`; if what it needs is not installed, says in a sentence what is missing.

    A server ignores SIGHUP until it can read its files again: those that it was started with it has not read yet.
    """
    if SERVE in sys.argv[1:] and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        if str(error.name).startswith("antiphon"):
            raise
        sys.exit(f"{command}: {error.name} is not installed: pip install {distribution}")
    except KeyboardInterrupt:  # imports take seconds on a small machine
        sys.exit(f"{command}: interrupted")
    run()
