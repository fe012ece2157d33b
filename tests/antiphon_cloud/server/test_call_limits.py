"""Calls of every kind: how many, how often and how long, counted for each client before anything is read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from antiphon.errors import SessionTimeoutError
from antiphon.serving.key_edit import make_key
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server import call as server_call
from antiphon_cloud.server import deadline, interceptor, service
from antiphon_cloud.server.interceptor import CONVERSE
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance
from tests.support.attacks import END_S, GET_CODEC, GET_MODEL, OPENING, SHUT, WATCH, victim
from tests.support.calls import OPEN, connected, open_session
from tests.support.servers import StubOptions, codec_files, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.http2 import connection
from tools.harness.stub_runner import StubRunner


async def test_one_clients_watches_and_queries_leave_places_for_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interceptor, "HEALTH_CALLS", 8)
    monkeypatch.setattr(interceptor, "QUERIES", 8)
    keys = {name: ("authorization", f"Bearer {make_key(tmp_path / 'keys', name)}") for name in ("bad", "good")}
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec/encoder.onnx").write_bytes(bytes(1 << 20))
    config = ServerConfig(listen="127.0.0.1:0", api_keys=tmp_path / "keys")
    options = StubOptions(config=config, codec_files=codec_files(tmp_path / "codec"))
    async with stub_server(options) as server, connection(server.address, SHUT) as attacker:
        watches = [attacker.call(WATCH, b"") for _ in range(10)]
        for stream in watches[4:]:
            await asyncio.wait_for(attacker.end_of(stream), END_S)  # with a status: no window holds that up
        assert not any(attacker.ended[stream].is_set() for stream in watches[:4])
        codecs = [attacker.call(GET_CODEC, b"", metadata=[keys["bad"]]) for _ in range(10)]
        for stream in codecs[4:]:
            await asyncio.wait_for(attacker.end_of(stream), END_S)
        async with connected(server.address) as (stub, _):
            assert (await stub.GetModel(pb.GetModelRequest(), metadata=[keys["good"]], timeout=END_S)).model.name
        for stream in watches:
            attacker.reset(stream)
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await until(lambda: not server.server._gate._health._held)
            assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=END_S)).status


async def test_calls_that_never_open_keep_no_other_client_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interceptor, "CALLS_AWAITING_OPEN", 8)
    keys = {name: ("authorization", f"Bearer {make_key(tmp_path / 'keys', name)}") for name in ("bad", "good")}
    config = ServerConfig(listen="127.0.0.1:0", api_keys=tmp_path / "keys")
    options = StubOptions(runner=StubRunner(slots=1), config=config)
    async with stub_server(options) as server, connection(server.address) as attacker:
        waiting = [attacker.call(CONVERSE, end=False, metadata=[keys["bad"]]) for _ in range(12)]
        for stream in waiting[6:]:  # of 8 places and 4 for the slot it may hold as many as are left: 6
            await asyncio.wait_for(attacker.end_of(stream), END_S)
        assert not any(attacker.ended[stream].is_set() for stream in waiting[:6])
        async with connected(server.address) as (stub, _):
            call = stub.Converse(metadata=[keys["good"]])
            await call.write(OPEN)
            assert (await call.read()).opened.session_id
            call.cancel()
        count = server.server.worker.metrics.registry.get_sample_value
        assert count("antiphon_refusals_total", {"reason": "calls"}) == 6


async def test_a_request_that_never_comes_is_not_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptor, "CALL_TIMEOUT_S", 1000.0)
    async with stub_server() as server, connection(server.address) as attacker:
        for method in (GET_MODEL, GET_CODEC, WATCH):
            call = attacker.call(method, end=False)
            await clock.outlast(interceptor.REQUEST_TIMEOUT_S)
            await asyncio.wait_for(attacker.end_of(call), END_S)


@pytest.mark.parametrize(
    ("method", "request_", "limit"),
    [(GET_MODEL, b"", (deadline, "WRITE_TIMEOUT_S")), (CONVERSE, OPENING, (server_call, "READ_TIMEOUT_S"))],
    ids=["GetModel", "Converse"],
)
async def test_who_takes_the_first_message_too_late_still_hears_why_the_call_is_over(
    method: str, request_: bytes, limit: tuple[ModuleType, str], clock: Clock
) -> None:
    async with stub_server() as server, connection(server.address, SHUT) as attacker:
        stream = attacker.call(method, request_, end=False)
        await clock.outlast(getattr(*limit))
        attacker.open_window(stream, 1 << 20)
        await asyncio.wait_for(attacker.end_of(stream), END_S)


async def test_a_codec_that_is_not_taken_is_put_away_after_its_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given_up: list[SessionTimeoutError] = []

    async def write(context: Any, response: Any) -> None:
        try:
            await deadline.write(context, response)
        except SessionTimeoutError as error:
            given_up.append(error)
            raise

    monkeypatch.setattr(service, "write", write)
    (tmp_path / "encoder.onnx").write_bytes(bytes(8 << 20))
    options = StubOptions(codec_files=codec_files(tmp_path))
    async with stub_server(options) as server, victim(server), connected(server.address) as (stub, _):
        calls = [stub.GetCodec(pb.GetCodecRequest()) for _ in range(5)]
        await clock.outlast(deadline.WRITE_TIMEOUT_S, len(calls))
        await until(lambda: len(given_up) == 5)
        assert open_files(tmp_path) == 1  # all read the one that the worker holds open
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError, match="no message was taken for 30 s") as raised:
                await asyncio.wait_for(_all(call), END_S)
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_lasts_no_longer_than_it_may(clock: Clock) -> None:
    async with stub_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        clock.advance(interceptor.LONG_CALL_TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError, match="the call has lasted 3600 s: call again") as raised:
            await asyncio.wait_for(watch.read(), END_S)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_who_calls_too_often_gets_the_answer_late_while_there_is_room_to_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interceptor, "REFUSED_AFTER_S", 600.0)
    monkeypatch.setattr(interceptor, "QUERIES", 4)
    monkeypatch.setattr(interceptor, "STRANGERS", 4)
    key = [("authorization", f"Bearer {make_key(tmp_path / 'keys', 'kitchen')}")]
    allowance = Allowance(calls_per_second=0.001)
    config = ServerConfig(listen="127.0.0.1:0", api_keys=tmp_path / "keys", allowance=allowance)
    async with stub_server(StubOptions(config=config)) as server, connection(server.address) as attacker:
        for metadata in (key, ()):
            await asyncio.wait_for(attacker.end_of(attacker.call(GET_MODEL, b"", metadata=metadata)), END_S)
            too_often = [attacker.call(GET_MODEL, b"", metadata=metadata) for _ in range(4)]
            for stream in too_often[2:]:  # of four places, half may be one client's
                await asyncio.wait_for(attacker.end_of(stream), END_S)
            assert not any(attacker.ended[stream].is_set() for stream in too_often[:2])
        count = server.server.worker.metrics.registry.get_sample_value
        await asyncio.wait_for(server.server.stop(), END_S)
    assert count("antiphon_refusals_total", {"reason": "unauthenticated"}) == 5


async def test_every_kind_of_call_has_its_rate_and_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptor, "REFUSED_AFTER_S", 0.0)
    config = ServerConfig(listen="127.0.0.1:0", allowance=Allowance(calls_per_second=0.001))
    async with stub_server(StubOptions(config=config)) as server, connected(server.address) as (stub, channel):
        assert (await stub.GetModel(pb.GetModelRequest())).model.name
        for method in (stub.GetModel(pb.GetModelRequest()), stub.GetCodec(pb.GetCodecRequest()).read()):
            with pytest.raises(grpc.aio.AioRpcError, match=r"makes more than 0\.001 calls a second: wait") as raised:
                await method
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call, _ = await open_session(stub)
        with pytest.raises(grpc.aio.AioRpcError, match="calls a second"):
            await stub.Converse().read()
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="calls a second"):
            await health.Check(health_pb2.HealthCheckRequest())
        call.cancel()


def open_files(folder: Path) -> int:
    """Files of a folder that this process has open."""
    count = 0
    for opened in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # gone since
            count += opened.readlink().parent == folder
    return count


async def _all(call: Any) -> None:
    """Takes whatever comes."""
    async for _ in call:
        pass
