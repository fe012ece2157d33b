"""Starts a worker as a user would, for the demo, the benchmarks and the tests, and breaks it on purpose."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
SERVE: tuple[str | Path, ...] = (BIN / "antiphon-cloud", "serve")
STUB: tuple[str | Path, ...] = (sys.executable, "-m", "tools.harness.stub_worker")
END_TIMEOUT_S = 60.0  # of a worker that drains for half of it, on the busiest machine


@dataclass
class Worker:
    """A running worker."""

    address: str
    process: subprocess.Popen[str]
    ending: bool = False  # it was asked to end

    def kill(self) -> None:
        """Ends it as a crash would: nobody is told."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stops it where it stands; its sockets stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on after `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def drain(self) -> None:
        """Asks it to move its sessions and to end; does not wait."""
        self.ending = True
        self.process.terminate()

    def end(self) -> None:
        """Ends it with SIGTERM, frozen or not, and frees what it held; one that has ended stays ended.

        Raises:
            subprocess.TimeoutExpired: it did not end, and was killed.
        """
        with self.process:
            self.process.terminate()
            self.thaw()
            try:
                self.process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise


def start(*arguments: str | Path, program: Sequence[str | Path] = SERVE, **options: Any) -> Worker:
    """Starts a worker and returns once it takes sessions.

    Args:
        arguments: its flags; without --listen it picks a port of its own.
        program: what is started; `STUB` for a model that is arithmetic.
        options: go to Popen.

    Raises:
        SystemExit: it did not start; its own sentence is on its standard error.
    """
    command = [*program, "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        with process:
            raise SystemExit(process.wait() or 1)
    return Worker(line.removeprefix("listening on ").strip(), process)


@contextmanager
def worker(*arguments: str | Path, **options: Any) -> Iterator[Worker]:
    """A worker until the block ends; see `start`."""
    started = start(*arguments, **options)
    try:
        yield started
    finally:
        started.end()
