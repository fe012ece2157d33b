"""The worker's process: what it answers while it loads, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError, UnavailableError
from antiphon.serving.key_edit import make_key
from antiphon.serving.reload import Settled
from antiphon.spec import Limits
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.access.tls import TlsFiles
from antiphon_cloud.server.process import Server, ServerConfig, run
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge import connect
from tests.support.certificates import issue
from tests.support.ports import unused_address
from tests.support.servers import CODEC
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import StubRunner


async def test_sigterm_ends_a_worker_that_is_still_loading() -> None:
    loading, release = threading.Event(), threading.Event()

    def load(metrics: Metrics) -> ServedModel:
        loading.set()
        release.wait()
        raise AssertionError("nobody waits for this any more")

    address = unused_address()
    server = asyncio.create_task(run(ServerConfig(listen=address), load, lambda ready: pytest.fail("never ready")))
    await asyncio.to_thread(loading.wait, 10)
    with pytest.raises(UnavailableError, match="still loading"):
        async with connect(address, CODEC):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(server, 10)
    release.set()


async def after_sighup(config: ServerConfig) -> None:
    """Sends SIGHUP to a worker that is loading its model, and lets that fail."""
    loading, release = threading.Event(), threading.Event()

    def load(metrics: Metrics) -> ServedModel:
        loading.set()
        release.wait()
        raise AntiphonError("no model after all")

    server = asyncio.create_task(run(config, load, lambda ready: pytest.fail("never ready")))
    await asyncio.to_thread(loading.wait, 10)
    os.kill(os.getpid(), signal.SIGHUP)
    release.set()
    with pytest.raises(AntiphonError, match="no model after all"):
        await asyncio.wait_for(server, 10)


async def test_sighup_reads_the_api_keys_and_the_certificate_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    make_key(tmp_path / "keys.toml", "kitchen")
    files = issue(tmp_path)
    tls = TlsFiles(files.certificate, files.key)
    await after_sighup(ServerConfig(listen="localhost:0", api_keys=tmp_path / "keys.toml", tls=tls))
    assert "read 1 API keys" in caplog.text
    assert f"serving the new certificate in {files.certificate}" in caplog.text


async def test_sighup_ends_no_worker_that_has_nothing_to_read_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await after_sighup(ServerConfig(listen="127.0.0.1:0"))
    assert "reading again what may have changed" in caplog.text


async def test_a_reload_brings_new_limits_and_a_log_level_and_a_bad_file_neither(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.toml", "kitchen")
    root = logging.getLogger()
    before, answers = root.level, [Settled("error", Allowance(sessions=2))]

    def reread() -> Settled[Allowance]:
        if not answers:
            raise AntiphonError("no such setting")
        return answers.pop()

    server = Server(ServerConfig(api_keys=tmp_path / "keys.toml"), reread)
    try:
        for _ in range(2):
            server.reload()
            assert server.worker.allowance == Allowance(sessions=2)
            assert server.known is not None
            assert server.known.client(key).allowance == Allowance(sessions=2)
            assert root.level == logging.ERROR
    finally:
        root.setLevel(before)
        await server.stop()


async def test_the_service_manager_hears_of_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(metrics: Metrics) -> ServedModel:
        engine = Engine(StepperThread(StubRunner()), metrics=metrics)
        return ServedModel(engine, CodecFolder(CODEC, ()), lambda token: b"", Limits(2))

    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        async def hear() -> str:
            return (await asyncio.wait_for(loop.sock_recv(manager, 1024), 60)).decode().partition("\n")[0]

        config = ServerConfig(listen="127.0.0.1:0")
        server = asyncio.create_task(run(config, load, lambda address: None))
        assert await hear() == "READY=1"
        os.kill(os.getpid(), signal.SIGHUP)
        assert [await hear() for _ in range(2)] == ["RELOADING=1", "READY=1"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await hear() == "STOPPING=1"
        await asyncio.wait_for(server, 60)


async def test_a_model_that_cannot_be_loaded_ends_the_worker_with_its_reason() -> None:
    def load(metrics: Metrics) -> ServedModel:
        raise AntiphonError("no such model")

    with pytest.raises(AntiphonError, match="no such model"):
        await run(ServerConfig(listen="127.0.0.1:0"), load, lambda ready: pytest.fail("never ready"))
