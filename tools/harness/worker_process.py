"""Starts a worker or a gateway from its command line, for tests and benchmarks, and kills, freezes or drains it."""

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
GATEWAY: tuple[str | Path, ...] = (sys.executable, "-m", "antiphon_gateway", "serve")
STUB: tuple[str | Path, ...] = (sys.executable, "-m", "tools.harness.stub_worker")
END_TIMEOUT_S = 60.0  # twice the drain time of 30 s, for a busy machine


@dataclass
class Worker:
    """A running worker."""

    address: str
    process: subprocess.Popen[str]
    ending: bool = False  # `drain` was called

    def kill(self) -> None:
        """Ends it like a crash, without a notice to its clients."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Suspends it (SIGSTOP); its sockets stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continues it after `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def drain(self) -> None:
        """Asks it to move its sessions and end (SIGTERM); does not wait."""
        self.ending = True
        self.process.terminate()

    def end(self) -> None:
        """Ends it with SIGTERM, frozen or not, and frees its resources; does no harm if it has already ended.

        Raises:
            subprocess.TimeoutExpired: it did not end in time and was killed.
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
    """Starts a worker and waits until it accepts sessions.

    Args:
        arguments: its flags; without --listen it gets a free port.
        program: the command; `STUB` for the stub model, `GATEWAY` for a gateway.
        options: passed to Popen.

    Raises:
        SystemExit: it did not start; its standard error says why.
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
    """Runs a worker until the block ends; see `start`."""
    started = start(*arguments, **options)
    try:
        yield started
    finally:
        started.end()
