"""Starts `antiphon-cloud serve` as a user would, for the demo and the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ANTIPHON_CLOUD = Path(sys.executable).parent / "antiphon-cloud"


@contextmanager
def worker(*arguments: str | Path) -> Iterator[str]:
    """A worker on a port of its own; yields HOST:PORT, and ends it with SIGTERM.

    Raises:
        SystemExit: it did not start; its own sentence is on standard error.
    """
    command = [str(ANTIPHON_CLOUD), "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(process.wait() or 1)
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait()
