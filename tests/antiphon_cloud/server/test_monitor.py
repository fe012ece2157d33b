"""What operators see: metrics that count what happened, and health that follows the worker's life."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon.errors import AntiphonError, NoFreeSlotError, ProtocolError, UnauthenticatedError, UnavailableError
from antiphon.serving import monitor as monitoring
from antiphon.serving.key_edit import make_key
from antiphon.spec import Sampling
from antiphon_cloud.metrics import LATENCY_BUCKETS_S, REFUSALS, Metrics
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_edge import NEVER, Credentials, connect
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tests.support.time_travel import NET_S, until
from tools.harness.stub_runner import StubRunner

CODES = np.arange(8, dtype=np.int32)
WATCHED = ServerConfig(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")


def fetch(address: str | None, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=NET_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def look(server: Server, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(fetch, server.metrics_address, path)


async def samples(server: StubServer) -> dict[str, float]:
    """Every sample of /metrics, its labels as Prometheus writes them."""
    status, text = await look(server.server, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_a_session_is_counted_frame_by_frame() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        async with connect(server.address, CODEC, reconnect=NEVER) as session:
            for _ in range(3):
                await session.send(CODES)
                await session.receive()
            during = await samples(server)
            await session.end()
            assert await session.receive() is None
        after = await samples(server)
    assert (during["antiphon_sessions"], during["antiphon_slots"], during["antiphon_queue_depth"]) == (1, 4, 0)
    assert during["antiphon_sessions_opened_total"] == 1
    assert during["antiphon_step_seconds_count"] == during["antiphon_frame_seconds_count"] == 3
    assert during["antiphon_batch_size_sum"] == 3
    assert during["antiphon_frame_seconds_sum"] >= during["antiphon_step_seconds_sum"] > 0
    assert after["antiphon_calls_total{status=OK}"] == 1
    assert during["process_open_fds"] > 0


async def test_a_frame_that_takes_longer_than_a_frame_is_a_miss() -> None:
    metrics = Metrics()
    for latency_s in (0.079, 0.0801, 2.0):
        metrics.frame(latency_s)
    assert metrics.registry.get_sample_value("antiphon_deadline_misses_total") == 2
    assert metrics.registry.get_sample_value("antiphon_frame_seconds_bucket", {"le": "0.08"}) == 1
    assert {0.07, 0.08, 0.1} <= set(LATENCY_BUCKETS_S)


async def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    often = Credentials(api_key=make_key(path, "often", opens_per_minute=1))
    known = Credentials(api_key=make_key(path, "known"))
    config = ServerConfig(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", api_keys=path)

    async def refused(address: str, credentials: Credentials, error: type[AntiphonError]) -> None:
        with pytest.raises(error):
            async with connect(address, CODEC, credentials=credentials):
                pass

    async with stub_server(StubOptions(runner=StubRunner(slots=1), config=config)) as server:
        async with connect(server.address, CODEC, credentials=often):
            await refused(server.address, Credentials(), UnauthenticatedError)
            await refused(server.address, often, NoFreeSlotError)  # too often
            await refused(server.address, known, NoFreeSlotError)  # full
            await refused(server.address, known, NoFreeSlotError)
        with pytest.raises(ProtocolError):
            async with connect(server.address, CODEC, credentials=known, sampling=Sampling(text_top_k=100_000)):
                pass
        server.server.worker.drain()
        await refused(server.address, known, UnavailableError)
        found = await samples(server)
    reasons = {reason: found[f"antiphon_refusals_total{{reason={reason}}}"] for reason in REFUSALS}
    assert {reason: count for reason, count in reasons.items() if count} == {
        "unauthenticated": 1,
        "open_rate": 1,
        "slots": 2,
        "draining": 1,
    }
    assert found["antiphon_calls_total{status=RESOURCE_EXHAUSTED}"] == 3
    assert found["antiphon_calls_total{status=INVALID_ARGUMENT}"] == 1


async def test_no_label_grows_with_sessions_or_clients() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        before = set(await samples(server))
        for _ in range(5):
            async with connect(server.address, CODEC) as session:
                await session.end()
                await session.receive()
        grown = set(await samples(server)) - before
    assert all(name.startswith("antiphon_calls_") for name in grown), grown


async def test_ready_and_alive_follow_the_workers_life() -> None:
    starting = Server(WATCHED)
    await starting.bind()
    assert await look(starting, "/readyz") == (503, "this worker is starting\n")
    assert await look(starting, "/healthz") == (200, "ok\n")
    await starting.stop()
    async with stub_server(StubOptions(config=WATCHED)) as server:
        assert await look(server.server, "/readyz") == (200, "ok\n")
        assert (await look(server.server, "/nowhere"))[0] == 404
        server.server.worker.drain()
        assert await look(server.server, "/readyz") == (503, "this worker is draining\n")
        assert await look(server.server, "/healthz") == (200, "ok\n")
        server.stepper.end()
        await asyncio.wait_for(server.server.worker.served.engine.failed(), NET_S)
        assert await look(server.server, "/healthz") == (503, "the stepper's thread has ended\n")


async def test_a_step_that_never_ends_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon_cloud.engine.engine.STUCK_S", 0.0)
    runner = StubRunner()
    options = StubOptions(runner=runner, config=WATCHED)
    async with stub_server(options) as server, connect(server.address, CODEC) as session:
        runner.gate.clear()
        await session.send(CODES)
        await asyncio.to_thread(runner.entered.wait, NET_S)
        status, text = await look(server.server, "/healthz")
        runner.gate.set()
    assert (status, "a step has not ended for" in text) == (503, True)


async def test_an_event_loop_that_is_stuck_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "LOOP_TIMEOUT_S", 0.05)
    async with stub_server(StubOptions(config=WATCHED)) as server:
        status, text = fetch(server.server.metrics_address, "/healthz")  # asked on the loop: it cannot answer meanwhile
    assert (status, text) == (503, "the event loop has not answered for 0.05 s\n")


async def test_who_connects_and_says_nothing_holds_up_nobody() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        assert server.server.metrics_address is not None
        host, _, port = server.server.metrics_address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(10)]
        assert (await look(server.server, "/readyz"))[0] == 200
        for each in silent:
            each.close()


def metrics_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


async def test_a_crowd_that_says_nothing_takes_a_bounded_number_of_threads_and_the_probe_is_answered() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        assert server.server.metrics_address is not None
        host, _, port = server.server.metrics_address.rpartition(":")
        crowd = [socket.create_connection((host, int(port))) for _ in range(3 * monitoring.CONNECTIONS)]
        assert (await look(server.server, "/healthz"))[0] == 200
        await until(lambda: metrics_threads() <= monitoring.CONNECTIONS)
        assert (await look(server.server, "/readyz"))[0] == 200
        for each in crowd:
            each.close()


async def test_a_request_that_comes_byte_by_byte_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead_s = 0.0
    later = SimpleNamespace(sleep=time.sleep, monotonic=lambda: time.monotonic() + ahead_s)
    monkeypatch.setattr(monitoring, "time", later)
    async with stub_server(StubOptions(config=WATCHED)) as server:
        assert server.server.metrics_address is not None
        host, _, port = server.server.metrics_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.0\r\nX: ")

        await until(lambda: metrics_threads() == 1)

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        ahead_s = monitoring.REQUEST_TIMEOUT_S
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), NET_S)  # until the worker closes it
        dripping.cancel()
        writer.close()
        await asyncio.gather(dripping, return_exceptions=True)
        assert (await look(server.server, "/healthz"))[0] == 200


def test_without_a_descriptor_the_port_waits_rather_than_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(monitoring, "time", SimpleNamespace(sleep=waited.append, monotonic=time.monotonic))
    server = monitoring._Server(("127.0.0.1", 0), monitoring._Handler)

    class Full:
        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    with server.socket, monkeypatch.context() as patch:
        patch.setattr(server, "socket", Full())
        with pytest.raises(OSError, match="Too many open files"):
            server.get_request()
    assert waited == [monitoring.DESCRIPTORS_S]


async def test_a_port_that_is_taken_is_one_sentence() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        taken = Server(ServerConfig(listen="127.0.0.1:0", metrics_listen=server.server.metrics_address))
        with pytest.raises(AntiphonError, match="for metrics: Address already in use; choose another"):
            await taken.bind()
        await taken.stop()
