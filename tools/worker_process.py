"""Starts `antiphon-cloud serve` as a user would, for the demo, the benchmarks and the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
END_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Worker:
    """A running worker."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def worker(*arguments: str | Path, **options: Any) -> Iterator[Worker]:
    """A worker on a port of its own, ended with SIGTERM; `options` go to Popen.

    Raises:
        SystemExit: it did not start; its own sentence is on its standard error.
    """
    command = [str(BIN / "antiphon-cloud"), "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(process.wait() or 1)
        try:
            yield Worker(line.removeprefix("listening on ").strip(), process)
        finally:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
