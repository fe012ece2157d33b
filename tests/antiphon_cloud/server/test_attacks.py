"""Clients that mean harm, each beside a victim that must get every token, and a newcomer that must be let in."""

from __future__ import annotations

import asyncio
import resource
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from antiphon.errors import SessionTimeoutError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server import call as server_call
from antiphon_cloud.server import deadline, descriptors, interceptor, service
from antiphon_cloud.server import process as server_options
from antiphon_cloud.server.access.api_keys import make_key
from antiphon_cloud.server.interceptor import CONVERSE, SERVICE_NAME
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.sessions import session
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge.transport import channel as connection_options
from tests.support.calls import CODES, OPEN, connected, converse, frame, load_of, open_session, resuming
from tests.support.servers import StubOptions, StubServer, codec_files, stub_server
from tests.support.time_travel import Clock, until
from tools.harness.http2 import connection, message
from tools.harness.stub_runner import SPEC, StubRunner, expected

GET_MODEL, GET_CODEC = f"/{SERVICE_NAME}/GetModel", f"/{SERVICE_NAME}/GetCodec"
WATCH = "/grpc.health.v1.Health/Watch"
SHUT = 0  # a window that never opens
OPENING = OPEN.SerializeToString()
END_S = 120.0  # a wait that lasts so long would last for ever; longer than what a test moves the clock meanwhile


def taken(server: StubServer) -> int:
    assert server.server.worker.serving is not None
    return server.server.worker.serving.engine.sessions


def writing(server: StubServer) -> int:
    """Calls in which a message waits to be taken."""
    return sum(call._writing.locked() for call in server.server._service._calls)


def open_files(folder: Path) -> int:
    """Files of a folder that this process has open."""
    count = 0
    for opened in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # gone since
            count += opened.readlink().parent == folder
    return count


@asynccontextmanager
async def victim(server: StubServer) -> AsyncIterator[None]:
    """A session that talks before and after the block, and is not disturbed by it."""
    async with connected(server.address) as (stub, _):
        call, _ = await open_session(stub)

        async def talk(steps: range) -> None:
            for step in steps:
                await call.write(frame(step))
                reply = await asyncio.wait_for(call.read(), END_S)
                if step:
                    assert (SPEC.model_packer.unpack(reply.codes) == expected(CODES, seed=3, step=step)).all()

        await talk(range(5))
        yield
        await talk(range(5, 10))
        call.cancel()


async def newcomer(server: StubServer) -> None:
    """Opens a session, and must be let in."""
    assert len(await asyncio.wait_for(converse(server.address, OPEN, frame(0)), END_S)) == 3


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


async def test_a_connection_has_a_bounded_number_of_streams() -> None:
    async with stub_server() as server, connection(server.address) as attacker:
        await asyncio.wait_for(attacker.settled.wait(), END_S)
        assert attacker.settings[3] == 256  # SETTINGS_MAX_CONCURRENT_STREAMS


async def test_connections_are_bounded_and_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "CONNECTIONS", 4)
    config = ServerConfig(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
    async with stub_server(StubOptions(config=config)) as server:
        async with AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(connection(server.address)) for _ in range(4)]
            await asyncio.gather(*(asyncio.wait_for(each.settled.wait(), END_S) for each in idle))
            one_more = await stack.enter_async_context(connection(server.address))
            await asyncio.wait_for(one_more.closed.wait(), END_S)
            assert await asyncio.to_thread(healthy, server.server.metrics_address)
        await until_admitted(server)  # idle ones are closed after 30 s; these have left


@pytest.mark.parametrize(
    ("limits", "raised", "connections"),
    [
        ((1024, 20_000), 8192, 4096),
        ((1024, 1024), 1024, 768),
        ((256, 256), 256, 128),
        ((20_000, 20_000), 20_000, 4096),
        ((1024, resource.RLIM_INFINITY), 8192, 4096),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 8192, 4096),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may(
    limits: tuple[int, int], raised: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda which: now[0])
    monkeypatch.setattr(resource, "setrlimit", lambda which, to: now.__setitem__(0, to))
    assert descriptors.raise_limit() == raised
    assert now[0] == (limits[0] if limits[0] in (raised, resource.RLIM_INFINITY) else raised, limits[1])
    assert descriptors.connections(raised) == connections


def test_an_unused_connection_is_closed_after_half_a_minute() -> None:
    assert dict(server_options.CHANNEL_OPTIONS)["grpc.max_connection_idle_ms"] == 30_000


def test_a_client_that_vanished_is_missed_after_half_a_minute_on_both_sides() -> None:
    for options in (server_options.CHANNEL_OPTIONS, connection_options.CHANNEL_OPTIONS):
        said = dict(options)
        # gRPC waits for a ping's answer as long as the longer of the two says.
        wait_ms = max(said["grpc.keepalive_timeout_ms"], said["grpc.http2.ping_timeout_ms"])
        assert said["grpc.keepalive_time_ms"] + wait_ms == 30_000


async def test_two_edges_with_one_token_do_not_take_the_session_from_each_other_for_ever(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TAKEN_AGAIN_S", 600.0)  # however busy this machine is, it is just afterwards
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
            with pytest.raises(grpc.aio.AioRpcError, match="another edge holds this session") as raised:
                await again.read()
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await second.write(frame(2))
        assert (await second.read()).sequence == 2  # the other goes on undisturbed
        second.cancel()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"session {told.session_id}: two edges hold its token; it stays with the one that took it"
    ]


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


def healthy(address: str | None) -> bool:
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=END_S) as response:
        return bool(response.status == 200)


async def until_admitted(server: StubServer) -> None:
    """Returns once a newcomer is let in: gRPC takes a moment to see that others have left."""
    async with asyncio.timeout(END_S):
        while True:
            try:
                return await newcomer(server)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)


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


async def _all(call: Any) -> None:
    """Takes whatever comes."""
    async for _ in call:
        pass


async def _opened() -> bytes:
    """An Opened as it stands on the wire."""
    async with stub_server() as server:
        opened, *_ = await converse(server.address, OPEN)
    return opened.SerializeToString()
