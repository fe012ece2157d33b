"""SIGHUP to a server: read again, and never an end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from antiphon.serving.reload import reloading
from tests.support.commands import environment


@pytest.fixture(autouse=True)
def ignored() -> Iterator[None]:
    """As a server's command leaves it at its start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_each_hangup_reloads_on_the_event_loop() -> None:
    reloaded: asyncio.Queue[asyncio.Task[None] | None] = asyncio.Queue()
    with reloading(lambda: reloaded.put_nowait(asyncio.current_task())):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            assert await asyncio.wait_for(reloaded.get(), 10) is None


async def test_after_the_block_it_is_ignored_again() -> None:
    with reloading(lambda: pytest.fail("nobody asked")):
        pass
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("program", ["antiphon_cloud", "antiphon_gateway"])
def test_a_server_that_is_still_importing_ignores_it_and_other_commands_do_not(program: str) -> None:
    code = (
        f"import sys, signal, importlib, {program}.__main__ as it\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "importlib.import_module = lambda name: sys.exit(signal.getsignal(signal.SIGHUP).name)\n"
        "it.main()"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code, command], capture_output=True, text=True, env=environment(), check=False
        ).stderr.strip()
        for command in ("serve", "make-key")
    ]
    assert told == ["SIG_IGN", "SIG_DFL"]
