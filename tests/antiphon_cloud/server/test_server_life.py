"""A worker's life over a real socket: loading, serving, draining; what health and its sessions are told."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.errors import DeviceLostError
from antiphon_cloud.server.call import Call
from antiphon_cloud.server.interceptor import SERVICE_NAME
from antiphon_cloud.server.process import Server, ServerConfig
from tests.support.calls import OPEN, connected, frame, load_of, open_session, status_of
from tests.support.servers import DRAIN_S, StubOptions, stub_server
from tests.support.time_travel import NET_S, Clock
from tools.harness.stub_runner import StubRunner


async def test_a_drain_does_not_wait_for_a_step_that_never_ends(clock: Clock) -> None:
    runner = StubRunner(slots=1)
    async with stub_server(StubOptions(runner=runner)) as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)
        runner.gate.clear()
        await call.write(frame(0))
        await asyncio.to_thread(runner.entered.wait, NET_S)
        drain = asyncio.create_task(server.server.drain())
        await clock.outlast(DRAIN_S)
        await asyncio.wait_for(drain, NET_S)
        assert (await call.read()).WhichOneof("control") == "go_away"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), NET_S)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_has_not_opened_when_a_drain_begins_is_unavailable() -> None:
    async with stub_server() as server, connected(server.address) as (stub, _):
        call = stub.Converse()
        neighbour, _ = await open_session(stub)
        drain = asyncio.create_task(server.server.drain())
        await neighbour.read()  # GoAway: the drain has begun
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        neighbour.cancel()
        await asyncio.wait_for(drain, NET_S)


async def health_of(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        statuses = {
            (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", SERVICE_NAME)
        }
    assert len(statuses) == 1
    return int(statuses.pop())


async def test_health_and_admission_follow_the_workers_life() -> None:
    server = Server(ServerConfig(listen="127.0.0.1:0"))
    address = await server.bind()
    try:
        assert await health_of(address) == health_pb2.HealthCheckResponse.NOT_SERVING
        error = await status_of(address, OPEN)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "loading" in (error.details() or "")
    finally:
        await server.stop()
    async with stub_server() as stub:
        assert await health_of(stub.address) == health_pb2.HealthCheckResponse.SERVING
        stub.server.worker.drain()
        error = await status_of(stub.address, OPEN)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "draining" in (error.details() or "")
        assert (await load_of(stub)).draining


async def test_a_worker_whose_device_is_lost_is_not_ready_and_sends_everyone_to_another() -> None:
    runner = StubRunner(fail_on_code=7, fault=DeviceLostError)
    elsewhere = "the stub was told to fail: connect to another worker"
    async with stub_server(StubOptions(runner=runner)) as server, connected(server.address) as (stub, _):
        idle, _ = await open_session(stub)
        call, _ = await open_session(stub)
        await call.write(frame(0))
        for each in (call, idle):
            error = await ended(each)
            assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, elsewhere)
        assert await health_of(server.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.server.worker.not_ready() == server.server.worker.not_alive() == "the stub was told to fail"
        error = await status_of(server.address, OPEN)
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, elsewhere)


async def ended(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asyncio.wait_for(call.read(), NET_S)
    return raised.value


async def test_a_draining_worker_asks_its_sessions_to_go_and_waits_for_them() -> None:
    async with stub_server() as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)
        drain = asyncio.create_task(server.server.drain())
        go_away = (await call.read()).go_away
        assert (go_away.reason, go_away.time_left_ms) == ("the worker is draining", 1000 * DRAIN_S)
        await call.write(frame(0))  # still served
        assert (await call.read()).sequence == 0
        await call.write(pb.ConverseRequest(close=pb.Close()))
        assert (await call.read()).closed.frames == 1
        await asyncio.wait_for(drain, NET_S)


async def test_an_edge_that_has_just_taken_opened_is_asked_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    written, noticed = Call._write, asyncio.Event()

    async def write(call: Any, response: pb.ConverseResponse) -> None:
        await written(call, response)
        if response.WhichOneof("control") == "opened":
            await noticed.wait()  # gRPC has sent it, and the task that waits for that is not run yet

    monkeypatch.setattr(Call, "_write", write)
    async with stub_server() as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)
        drain = asyncio.create_task(server.server.drain())
        await asyncio.sleep(0)
        noticed.set()
        assert (await call.read()).WhichOneof("control") == "go_away"
        call.cancel()
        await asyncio.wait_for(drain, NET_S)


async def test_a_session_that_stays_past_the_drain_ends_unavailable(clock: Clock) -> None:
    async with stub_server() as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)
        drain = asyncio.create_task(server.server.drain())
        await call.read()
        await clock.outlast(DRAIN_S)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), NET_S)
        await asyncio.wait_for(drain, NET_S)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("enabled", [True, False])
async def test_reflection_is_there_by_flag(enabled: bool) -> None:
    config = ServerConfig(listen="127.0.0.1:0", reflection=enabled)
    async with stub_server(StubOptions(config=config)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        if enabled:
            response = await call.read()
            assert SERVICE_NAME in {found.name for found in response.list_services_response.service}
            call.cancel()
        else:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
