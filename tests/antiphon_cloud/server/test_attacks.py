"""Clients that mean harm, each beside a victim that must get every token, and a newcomer that must be let in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from antiphon.serving.key_edit import make_key
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server import call as server_call
from antiphon_cloud.server.interceptor import CONVERSE
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.sessions import session
from antiphon_cloud.sessions.clients import Allowance
from tests.support.attacks import END_S, GET_CODEC, GET_MODEL, OPENING, SHUT, WATCH, newcomer, taken, victim
from tests.support.calls import OPEN, connected, converse, frame, load_of, open_session, resuming
from tests.support.servers import StubOptions, StubServer, codec_files, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.http2 import connection, message
from tools.harness.stub_runner import StubRunner


async def test_who_takes_no_opened_loses_its_slot(clock: Clock) -> None:
    async with (
        stub_server(StubOptions(runner=StubRunner(slots=4))) as server,
        victim(server),
        connection(server.address, SHUT) as attacker,
    ):
        for _ in range(3):
            attacker.call(CONVERSE, OPENING, end=False)
        await until(lambda: writing(server) == 3)
        assert taken(server) == 4
        clock.advance(server_call.READ_TIMEOUT_S)
        await until(lambda: taken(server) == 1)
        await newcomer(server)


async def test_who_takes_no_opened_keeps_no_slot_that_another_client_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server_call, "READ_TIMEOUT_S", 600.0)
    made = {name: make_key(tmp_path / "keys", name, sessions=4) for name in ("bad", "good")}
    keys = {name: [("authorization", f"Bearer {key}")] for name, key in made.items()}
    config = ServerConfig(listen="127.0.0.1:0", api_keys=tmp_path / "keys")
    options = StubOptions(runner=StubRunner(slots=4), config=config)
    async with stub_server(options) as server, connection(server.address, SHUT) as attacker:
        for _ in range(4):
            attacker.call(CONVERSE, OPENING, end=False, metadata=keys["bad"])
        await until(lambda: taken(server) == 4)
        async with connected(server.address) as (stub, _):
            call = await until_opened(stub, keys["good"])
            await call.write(frame(0))
            assert (await call.read()).sequence == 0
            call.cancel()


async def test_a_key_that_opens_all_that_it_gets_leaves_a_slot_to_another(tmp_path: Path) -> None:
    keys = {name: [("authorization", f"Bearer {make_key(tmp_path / 'keys', name)}")] for name in ("bad", "good")}
    config = ServerConfig(listen="127.0.0.1:0", api_keys=tmp_path / "keys")
    options = StubOptions(runner=StubRunner(slots=4), config=config)
    async with stub_server(options) as server, connected(server.address) as (stub, _):
        calls = []
        for _ in range(4):
            calls.append(stub.Converse(metadata=keys["bad"]))
            await calls[-1].write(OPEN)
        for call in calls[:3]:
            assert (await call.read()).opened.session_id
        with pytest.raises(grpc.aio.AioRpcError, match="the last of 4 slots is for clients that have none") as raised:
            await calls[3].read()
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        newcomer = stub.Converse(metadata=keys["good"])
        await newcomer.write(OPEN)
        assert (await newcomer.read()).opened.session_id
        for call in (*calls, newcomer):
            call.cancel()


async def test_who_takes_no_closed_loses_its_slot_at_once() -> None:
    async with stub_server() as server, connection(server.address, SHUT) as attacker:
        stream = attacker.call(CONVERSE, OPENING, end=False)
        await until(lambda: taken(server) == 1)
        attacker.open_window(stream, len(message(await _opened())))
        attacker.send(stream, message(pb.ConverseRequest(close=pb.Close()).SerializeToString()))
        await until(lambda: taken(server) == 0)
        assert not attacker.ended[stream].is_set()


async def test_nobody_holds_up_the_end_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(bytes(1 << 20))
    options = StubOptions(codec_files=codec_files(tmp_path))
    async with stub_server(options) as server, connection(server.address, SHUT) as attacker:
        for method, request in ((WATCH, b""), (GET_CODEC, b""), (GET_MODEL, b"")):
            attacker.call(method, request)
        for _ in range(3):
            attacker.call(CONVERSE, OPENING, end=False)  # takes no Opened
        attacker.call(CONVERSE, end=False)  # never opens
        await until(lambda: taken(server) == 3)
        await asyncio.wait_for(server.server.drain(), END_S)
        await asyncio.wait_for(server.server.stop(), END_S)


async def test_a_watcher_that_takes_nothing_holds_up_neither_the_start_nor_other_watchers() -> None:
    server = Server(ServerConfig(listen="127.0.0.1:0"))
    address = await server.bind()
    async with connection(address, SHUT) as attacker, grpc.aio.insecure_channel(address) as channel:
        attacker.call(WATCH, b"")
        watcher = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watcher.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server._health.announce(health_pb2.HealthCheckResponse.SERVING)
        assert (await asyncio.wait_for(watcher.read(), END_S)).status == health_pb2.HealthCheckResponse.SERVING
        watcher.cancel()
    await asyncio.wait_for(server.stop(), END_S)


async def test_calls_that_are_taken_back_at_once_leave_nothing_behind() -> None:
    async with stub_server() as server, victim(server):
        tasks = len(asyncio.all_tasks())
        async with connection(server.address) as attacker:
            for _ in range(500):
                attacker.reset(attacker.call(CONVERSE, OPENING, end=False))
            await newcomer(server)
        await until(lambda: taken(server) == 1)
        await until(lambda: not server.server._gate.dialogues._held)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@pytest.mark.parametrize(
    ("just_s", "a_minute", "status", "warnings"),
    [
        # Perhaps the same edge, whose earlier call came late: it may try again.
        (600.0, 12, grpc.StatusCode.UNAVAILABLE, []),
        # Two that will not let go of it.
        (
            0.0,
            1,
            grpc.StatusCode.FAILED_PRECONDITION,
            ["two edges hold a session's token; it stays with the one that took it"],
        ),
    ],
    ids=["a moment ago", "again and again"],
)
async def test_two_edges_with_one_token_do_not_take_the_session_from_each_other_for_ever(
    just_s: float,
    a_minute: int,
    status: grpc.StatusCode,
    warnings: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "TAKEN_AGAIN_S", just_s)  # 600: however busy this machine is, it is just afterwards
    monkeypatch.setattr(session, "TAKEN_A_MINUTE", a_minute)
    async with stub_server() as server, connected(server.address) as (stub, _):
        first, told = await open_session(stub)
        for step in range(2):
            await first.write(frame(step))
            await first.read()
        second = stub.Converse()
        await second.write(resuming(2, told.resume_token))
        assert (await second.read()).opened.session_id == told.session_id
        with pytest.raises(grpc.aio.AioRpcError, match="the session goes on in another call"):
            await first.read()
        for _ in range(2):
            again = stub.Converse()
            await again.write(resuming(2, told.resume_token))
            with pytest.raises(grpc.aio.AioRpcError, match=r"a moment ago|again and again") as raised:
                await again.read()
            assert raised.value.code() is status
        await second.write(frame(2))
        assert (await second.read()).sequence == 2  # the other goes on undisturbed
        second.cancel()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == warnings


async def test_going_on_counts_as_opening() -> None:
    config = ServerConfig(listen="127.0.0.1:0", allowance=Allowance(opens_per_minute=1))
    async with stub_server(StubOptions(config=config)) as server, connected(server.address) as (stub, _):
        _, told = await open_session(stub)
        again = stub.Converse()
        await again.write(resuming(0, told.resume_token))
        with pytest.raises(grpc.aio.AioRpcError, match="opens more than 1 sessions a minute") as raised:
            await again.read()
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_drain_amid_a_rebuild_says_unavailable_and_not_goaway() -> None:
    runner = StubRunner(slots=2)
    async with stub_server(StubOptions(runner=runner)) as server, connected(server.address) as (stub, _):
        runner.gate.clear()
        call = stub.Converse()
        await call.write(resuming(30))
        await asyncio.to_thread(runner.entered.wait, END_S)
        drain = asyncio.create_task(server.server.drain())
        with pytest.raises(grpc.aio.AioRpcError, match="the worker is draining: connect to another worker") as raised:
            await asyncio.wait_for(call.read(), END_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        runner.gate.set()
        await asyncio.wait_for(drain, END_S)


async def test_a_call_that_is_left_before_opened_keeps_no_slot() -> None:
    runner = StubRunner(slots=1)
    async with stub_server(StubOptions(runner=runner)) as server:
        async with connected(server.address) as (stub, _):
            runner.gate.clear()
            call = stub.Converse()
            await call.write(resuming(30))
            await asyncio.to_thread(runner.entered.wait, END_S)
            call.cancel()
        await until(lambda: taken(server) == 0)
        runner.gate.set()
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server:
        async with connection(server.address, SHUT) as attacker:
            attacker.call(CONVERSE, OPENING, end=False)
            await until(lambda: taken(server) == 1)
        await until(lambda: taken(server) == 0)


async def test_close_frees_the_slot_before_closed_is_taken() -> None:
    async with stub_server() as server, connected(server.address) as (stub, _):
        call, _ = await open_session(stub)
        await call.write(pb.ConverseRequest(close=pb.Close()))
        assert (await call.read()).closed.frames == 0
        assert taken(server) == 0
        assert (await load_of(server)).sessions == 0


def writing(server: StubServer) -> int:
    """Calls in which a message waits to be taken."""
    return sum(call._writing.locked() for call in server.server._service._calls)


async def until_opened(stub: Any, metadata: Any) -> Any:
    """A call with a session, asked for until there is a slot."""
    async with asyncio.timeout(2 * END_S):
        while True:
            call = stub.Converse(metadata=metadata)
            await call.write(OPEN)
            try:
                assert (await call.read()).opened.session_id
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                await asyncio.sleep(0.05)
            else:
                return call


async def _opened() -> bytes:
    """An Opened as it stands on the wire."""
    async with stub_server() as server:
        opened, *_ = await converse(server.address, OPEN)
    return opened.SerializeToString()
