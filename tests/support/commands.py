"""The two command lines as a user runs them."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from antiphon_cloud.backends.cpu.library import set_threads
from antiphon_cloud.cli.commands import main as antiphon_cloud
from tools.harness import worker_process
from tools.harness.worker_process import BIN, Worker

COMMAND_TIMEOUT_S = 280.0  # of the busiest machine; less than a test has


@dataclass(frozen=True)
class Finished:
    status: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """This process' environment without ANTIPHON_ settings of whoever runs the tests.

    Slots alone decide who is admitted: how long steps take is the business of whatever else the machine does.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    ours = {"ANTIPHON_STEP_BUDGET": "1e9", "ANTIPHON_THREADS": "1", "ANTIPHON_CONFIG": os.devnull}
    return clean | {"OMP_NUM_THREADS": "1"} | ours


def run(command: str, *arguments: str | Path, **variables: str) -> Finished:
    """Runs `antiphon-edge` or `antiphon-cloud` to its end."""
    result = subprocess.run(
        [BIN / command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        env=environment() | variables,
        check=False,
    )
    return Finished(result.returncode, result.stdout, result.stderr)


def call(command: str, *arguments: str | Path, **variables: str) -> Finished:
    """`antiphon-cloud` within this process, for commands that end by themselves: a new one takes seconds to start."""
    assert command == "antiphon-cloud"
    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    with (
        mock.patch("sys.argv", [command, *map(str, arguments)]),
        mock.patch.dict(os.environ, environment() | variables, clear=True),
        mock.patch.object(logging.getLogger(), "handlers", []),  # as in a new process, its own goes to standard error
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        level = logging.getLogger().level
        try:
            antiphon_cloud()
        except SystemExit as ended:
            status = ended.code
        finally:  # what a process takes with it when it ends
            logging.getLogger().setLevel(level)
            torch.set_num_threads(threads)
            set_threads(None)
    return Finished(status if isinstance(status, int) else 0, out.getvalue(), err.getvalue())


TOLD = ("sessions fall behind", "call refused", "calls were refused")


@contextmanager
def worker(*arguments: str | Path) -> Iterator[Worker]:
    """`antiphon-cloud serve` on a port of its own, until the block ends; of standard error it may say whom it refused.

    However slow a busy machine makes its steps, it admits as many sessions as it has slots.
    """
    patient = ("--threads", "1", "--step-budget", "1e9")
    with tempfile.TemporaryFile("w+") as said:
        with worker_process.worker(*patient, *arguments, stderr=said, env=environment()) as started:
            yield started
        said.seek(0)
        assert [line for line in said if not any(told in line for told in TOLD)] == []


def one_sentence(finished: Finished, status: int = 1) -> str:
    """What a failed command said: exactly one line, no traceback, the right status."""
    assert finished.status == status, finished
    assert finished.err.count("\n") == 1, finished.err
    assert "Traceback" not in finished.err
    return finished.err.strip()
