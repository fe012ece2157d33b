"""One session behaves badly; the others get every token, in order, while it still does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from antiphon.channel import FLOW_CONTROL
from antiphon.spec import Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.server import call as server_call
from antiphon_cloud.server.interceptor import SERVICE_NAME
from antiphon_edge import connect
from tests.support.half_message import half_message
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tests.support.time_travel import NET_S, Clock, until, until_steady
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import SPEC, StubRunner, expected

OPEN = pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint, seed=3))
FRAME = pb.ConverseRequest(codes=SPEC.user_packer.pack(np.arange(8, dtype=np.int32)))
METHOD = f"/{SERVICE_NAME}/Converse"
FRAMES = 200  # of each neighbour
WINDOWFUL = 20_000  # more frames than gRPC's buffers and HTTP/2's windows hold


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(address, options=FLOW_CONTROL) as channel:
        call = dialogue_pb2_grpc.DialogueServiceStub(channel).Converse()
        await call.write(OPEN)
        await call.read()
        yield call
        call.cancel()


@asynccontextmanager
async def slow_reader(address: str) -> AsyncIterator[None]:
    """Sends frames and takes no reply."""
    async with opened(address) as call:

        async def send() -> None:
            for _ in range(10 * WINDOWFUL):
                await call.write(FRAME)

        async with _meanwhile(send()):
            yield


@asynccontextmanager
async def silent_client(address: str) -> AsyncIterator[None]:
    """Opens a session and says nothing more."""
    async with opened(address):
        yield


@asynccontextmanager
async def flooder(address: str) -> AsyncIterator[None]:
    """Sends as fast as it can, and takes the replies as fast."""
    async with opened(address) as call:

        async def send() -> None:
            while True:
                await call.write(FRAME)

        async def read() -> None:
            while await call.read() is not grpc.aio.EOF:
                pass

        async with _meanwhile(send(), read()):
            yield


@asynccontextmanager
async def one_that_stops_mid_message(address: str) -> AsyncIterator[None]:
    """Opens a session and sends half a frame."""
    async with half_message(address, METHOD, [OPEN.SerializeToString()], FRAME.SerializeToString()):
        yield


@asynccontextmanager
async def one_that_never_opens(address: str) -> AsyncIterator[None]:
    """Sends half an Open."""
    async with half_message(address, METHOD, [], OPEN.SerializeToString()):
        yield


@asynccontextmanager
async def _meanwhile(*coroutines: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Misbehaviour = Callable[[str], AbstractAsyncContextManager[None]]
BAD: list[Misbehaviour] = [slow_reader, silent_client, flooder, one_that_stops_mid_message, one_that_never_opens]


async def neighbour(address: str, seed: int) -> None:
    """A session in lockstep; every reply must be its own, in its turn."""
    random = np.random.default_rng(seed)
    async with connect(address, CODEC, seed=seed) as session:
        for step in range(FRAMES):
            codes = random.integers(0, SPEC.cardinality, 8).astype(np.int32)
            assert await session.send(codes) == step
            reply = await asyncio.wait_for(session.receive(), NET_S)
            assert reply is not None
            assert reply.sequence == step
            if step:
                assert reply.codes is not None
                assert (reply.codes == expected(codes, seed, step)).all()
                assert reply.text_token == step % SPEC.text_cardinality
        await session.end()
        assert await session.receive() is None
        assert session.totals is not None
        assert session.totals.frames == FRAMES


def sessions(server: StubServer) -> int:
    assert server.server.worker.serving is not None
    return server.server.worker.serving.engine.sessions


def counted(server: StubServer, name: str, **labels: str) -> float:
    return server.server.worker.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("misbehaves", BAD)
async def test_the_neighbours_of_a_bad_client_get_every_token_in_order_while_it_is_there(
    misbehaves: Misbehaviour,
) -> None:
    async with stub_server() as server, misbehaves(server.address):
        bad = int(misbehaves is not one_that_never_opens)
        await until(lambda: sessions(server) == bad)
        await asyncio.gather(neighbour(server.address, seed=11), neighbour(server.address, seed=12))
        await until(lambda: sessions(server) == bad)  # the neighbours have left, and it still has its slot


@pytest.mark.parametrize("misbehaves", [slow_reader, silent_client, one_that_stops_mid_message])
async def test_a_client_that_stops_loses_its_slot_after_the_idle_time(misbehaves: Misbehaviour, clock: Clock) -> None:
    options = StubOptions(runner=StubRunner(slots=1), idle_timeout_ms=1_000_000)
    async with stub_server(options) as server, misbehaves(server.address):
        await until_steady(lambda: sum(map(len, options.runner.batches)))
        assert sessions(server) == 1
        await clock.outlast(1000.0)
        await until(lambda: counted(server, "antiphon_sessions_opened_total") and sessions(server) == 0)
        async with connect(server.address, CODEC) as session:
            assert session.id
        assert sum(map(len, options.runner.batches)) < WINDOWFUL  # what it had under way was bounded


async def test_half_an_open_ends_after_the_time_to_open(clock: Clock) -> None:
    async with stub_server() as server, one_that_never_opens(server.address):
        await clock.outlast(server_call.OPEN_TIMEOUT_S)
        await until(lambda: counted(server, "antiphon_calls_total", status="DEADLINE_EXCEEDED"))


async def test_a_frame_joins_the_next_step_however_many_a_neighbour_has_waiting() -> None:
    runner = StubRunner()
    engine = Engine(StepperThread(runner))
    await engine.start()
    codes = np.arange(8, dtype=np.int32)
    answered: asyncio.Queue[Any] = asyncio.Queue()
    flood = engine.take(1, Sampling(), lambda reply: None, "anyone")
    quiet = engine.take(2, Sampling(), answered.put_nowait, "anyone")
    runner.gate.clear()
    for sequence in range(100):
        engine.submit(flood, sequence, codes)
    await asyncio.to_thread(runner.entered.wait, NET_S)
    engine.submit(quiet, 0, codes)
    runner.gate.set()
    await asyncio.wait_for(answered.get(), NET_S)
    await engine.stop()
    assert runner.batches[:2] == [[flood.row], [flood.row, quiet.row]]
