"""The stepper's process: the same answers, the reason where it does not load, and an end however either side ends."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys

import numpy as np
import pytest

from antiphon.errors import AntiphonError, UnavailableError
from antiphon.history import HistoryTokens
from antiphon.spec import Limits, Sampling
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.host import StepperProcess
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.process import ServerConfig, run
from antiphon_cloud.server.worker import ServedModel
from tests.support.servers import CODEC
from tools.harness.stub_runner import SPEC, expected

CODES = np.arange(8, dtype=np.int32)
STUB = {"slots": 2, "step_s": 0.0}


async def test_a_session_steps_and_is_rebuilt_in_another_process() -> None:
    process = await asyncio.to_thread(StepperProcess, "tools.harness.stub_runner:load", STUB)
    assert (process.spec, process.slots) == (SPEC, 2)
    engine = Engine(process)
    await engine.start()
    outbox: asyncio.Queue[Reply | AntiphonError] = asyncio.Queue()
    history = HistoryTokens(60, np.zeros((60, 8), np.int32), np.zeros(60, np.int32), np.zeros((60, 8), np.int32))
    slot = engine.take(2**63 - 1, Sampling(), outbox.put_nowait, "anyone", history)
    await asyncio.wait_for(slot.ready, 60)
    engine.submit(slot, 60, CODES)
    reply = await asyncio.wait_for(outbox.get(), 60)
    await engine.stop()
    assert isinstance(reply, Reply)
    assert (reply.sequence, reply.text_token) == (60, 60)
    assert (reply.codes == expected(CODES, 2**63 - 1, 60)).all()
    assert not alive(process.pid)


def test_what_cannot_be_loaded_is_told_in_the_loaders_words(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AntiphonError, match=r"^model\.safetensors: no such tensor$"):
        StepperProcess("tests.support.loaders:refuse", {})
    assert capfd.readouterr().err == ""
    with pytest.raises(AntiphonError, match="could not be loaded: KeyError"):
        StepperProcess("tests.support.loaders:break_down", {})
    assert "Traceback" in capfd.readouterr().err  # a bug of ours: whoever mends it needs to see where


@pytest.mark.parametrize("asked", [None, "active"])
def test_torchs_threads_wait_asleep_unless_asked_otherwise(asked: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if asked:
        monkeypatch.setenv("OMP_WAIT_POLICY", asked)
    with pytest.raises(AntiphonError, match=f"^{asked or 'passive'}$"):
        StepperProcess("tests.support.loaders:tell_waiting", {})


async def test_a_worker_whose_stepper_is_killed_sends_its_sessions_on_and_ends_with_the_reason() -> None:
    processes: list[StepperProcess] = []
    ready = asyncio.Event()

    def load(metrics: Metrics) -> ServedModel:
        processes.append(StepperProcess("tools.harness.stub_runner:load", STUB))
        served = ServedModel(
            Engine(processes[0], metrics=metrics), CodecFolder(CODEC, ()), lambda token: b"", Limits(2)
        )
        outboxes.append(served)
        return served

    outboxes: list[ServedModel] = []
    server = asyncio.create_task(run(ServerConfig(listen="127.0.0.1:0"), load, lambda address: ready.set()))
    await asyncio.wait_for(ready.wait(), 60)
    outbox: asyncio.Queue[Reply | AntiphonError] = asyncio.Queue()
    engine = outboxes[0].engine
    engine.take(1, Sampling(), outbox.put_nowait, "anyone")
    os.kill(processes[0].pid, signal.SIGKILL)
    error = await asyncio.wait_for(outbox.get(), 60)
    assert isinstance(error, UnavailableError)
    assert str(error) == (
        "the engine's process was ended by SIGKILL; is the machine short of memory?: connect to another worker"
    )
    with pytest.raises(UnavailableError, match="connect to another worker"):
        engine.take(1, Sampling(), outbox.put_nowait, "anyone")
    with pytest.raises(AntiphonError, match=r"SIGKILL.*start the worker again"):
        await asyncio.wait_for(server, 60)


async def test_a_stepper_whose_device_is_lost_says_why_and_ends() -> None:
    process = await asyncio.to_thread(StepperProcess, "tests.support.loaders:lose_the_device", {"at": 7})
    engine = Engine(process)
    await engine.start()
    slot = engine.take(1, Sampling(), lambda reply: None, "anyone")
    engine.submit(slot, 0, CODES)
    assert await asyncio.wait_for(engine.failed(), 60) == "the stub was told to fail"
    await engine.stop()
    assert not alive(process.pid)


def test_the_stepper_ends_with_its_parent_amid_a_loading_and_ignores_the_terminals_signals() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    stepper = os.pidfd_open(int(parent.stdout.readline()))
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ignored:  # it has only just started
        signal.pidfd_send_signal(stepper, number)
    assert parent.stdout.readline() == "loading\n"
    for number in ignored:
        signal.pidfd_send_signal(stepper, number)
    assert select.select([stepper], [], [], 0) == ([], [], [])
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([stepper], [], [], 60)
    os.close(stepper)
    assert ended


PARENT = """
import subprocess
from antiphon_cloud.engine import host as stepper_host
started = subprocess.Popen
def popen(*arguments, **options):
    process = started(*arguments, **options | {"stdout": None})
    print(process.pid, flush=True)
    return process
stepper_host.subprocess.Popen = popen
stepper_host.StepperProcess("tests.support.loaders:never", {})
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
