"""The two command lines as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Finished:
    status: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """This process' environment without ANTIPHON_ settings of whoever runs the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return clean | {"OMP_NUM_THREADS": "1"}


def run(command: str, *arguments: str | Path, timeout_s: float = 60, **variables: str) -> Finished:
    """Runs `antiphon-edge` or `antiphon-cloud` to its end."""
    result = subprocess.run(
        [BIN / command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment() | variables,
        check=False,
    )
    return Finished(result.returncode, result.stdout, result.stderr)


@dataclass
class Worker:
    address: str
    process: subprocess.Popen[str]


@contextmanager
def worker(*arguments: str | Path) -> Iterator[Worker]:
    """`antiphon-cloud serve` on a port of its own, until the block ends."""
    process = subprocess.Popen(
        [BIN / "antiphon-cloud", "serve", "--listen", "127.0.0.1:0", "--threads", "1", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), process.stderr.read()
        try:
            yield Worker(line.removeprefix("listening on ").strip(), process)
        finally:
            process.terminate()
            process.wait(20)


def one_sentence(finished: Finished, status: int = 1) -> str:
    """What a failed command said: exactly one line, no traceback, the right status."""
    assert finished.status == status, finished
    assert finished.err.count("\n") == 1, finished.err
    assert "Traceback" not in finished.err
    return finished.err.strip()
