"""The SDK against a worker with a stub model: order, bounds, and errors that a caller can act on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from antiphon.errors import (
    AntiphonError,
    CodesError,
    NoFreeSlotError,
    PreconditionError,
    SequenceError,
    SessionTimeoutError,
    UnavailableError,
)
from antiphon.spec import GREEDY, CodecSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge import blocking
from antiphon_edge.client import dialer
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply
from antiphon_edge.client.reconnect import NEVER, Reconnect
from antiphon_edge.transport import channel
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.time_travel import NET_S, Clock
from tools.harness.stub_runner import SPEC, StubRunner, expected

CODES = np.arange(8, dtype=np.int32)


async def test_frames_in_replies_out() -> None:
    async with stub_server() as server, connect(server.address, CODEC, seed=5) as session:
        assert session.model == SPEC
        replies: list[Reply] = []
        for sequence in range(5):
            assert await session.send(CODES) == sequence
            reply = await session.receive()
            assert reply is not None
            replies.append(reply)
        await session.end()
        assert await session.receive() is None
    assert session.totals is not None
    assert session.totals.frames == 5
    assert replies[0].codes is None
    assert replies[0].text_token is None
    codes = replies[4].codes
    assert codes is not None
    assert (codes == expected(CODES, seed=5, step=4)).all()
    assert (replies[4].text_token, replies[4].text) == (4, "<4>")
    assert all(0 < reply.round_trip_s < 10 for reply in replies)


async def test_sending_and_receiving_from_two_tasks() -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:

        async def send() -> None:
            for _ in range(100):
                await session.send(CODES)
            await session.end()

        sender = asyncio.create_task(send())
        sequences = [reply.sequence async for reply in session]
        await sender
    assert sequences == list(range(100))


async def test_send_waits_while_the_frames_in_flight_are_at_the_workers_limit() -> None:
    runner = StubRunner()
    async with (
        stub_server(StubOptions(runner=runner, max_frames_in_flight=3)) as server,
        connect(server.address, CODEC) as session,
    ):
        runner.gate.clear()
        for _ in range(3):
            await session.send(CODES)
        fourth = asyncio.create_task(session.send(CODES))
        await asyncio.to_thread(runner.entered.wait, NET_S)
        assert not fourth.done()
        assert session.in_flight == 3
        runner.gate.set()
        await session.receive()
        assert await asyncio.wait_for(fourth, NET_S) == 3


@pytest.mark.parametrize("_", range(5))
async def test_the_workers_reason_survives_a_write_that_fails_after_it(
    _: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with stub_server(StubOptions(runner=StubRunner(fail_on_code=7))) as server:
        with pytest.raises(AntiphonError, match="frame 0"):  # noqa: PT012 - any of the writes may be the first to fail
            async with connect(server.address, CODEC) as session:
                while True:
                    await session.send(CODES)
                    await asyncio.sleep(0)


async def test_several_clients_at_once_hear_only_themselves() -> None:
    async def one(address: str, seed: int) -> list[list[int]]:
        async with connect(address, CODEC, seed=seed) as session:
            heard = []
            for _ in range(20):
                await session.send(CODES + seed)
                reply = await session.receive()
                assert reply is not None
                heard.append([] if reply.codes is None else reply.codes.tolist())
            return heard

    async with stub_server(StubOptions(runner=StubRunner(slots=8))) as server:
        heard = await asyncio.gather(*(one(server.address, seed) for seed in range(8)))
    for seed, replies in enumerate(heard):
        assert replies[1:] == [expected(CODES + seed, seed, step).tolist() for step in range(1, 20)]


async def test_nobody_at_the_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "CONNECT_TIMEOUT_S", 3600.0)
    address = unused_address()
    with pytest.raises(UnavailableError, match=f"no worker answers at {address}"):
        async with asyncio.timeout(NET_S), connect(address, CODEC):
            pass


async def test_where_nobody_can_serve_on_this_machine_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"\(pip install antiphon-cloud antiphon-number-clerk brings one\)$"):
        async with asyncio.timeout(NET_S), connect(unused_address(), CODEC):
            pass


async def test_a_full_worker_says_when_to_come_back() -> None:
    async with stub_server(StubOptions(runner=StubRunner(slots=1))) as server, connect(server.address, CODEC):
        with pytest.raises(NoFreeSlotError, match="all 1 slots") as raised:
            async with connect(server.address, CODEC):
                pass
    assert raised.value.retry_after_s > 0


async def test_another_codec_is_refused() -> None:
    other = CodecSpec(b"\xab" * 32, 24_000, 1920, 8, 2048)
    async with stub_server() as server:
        with pytest.raises(PreconditionError, match="antiphon-edge pull"):
            async with connect(server.address, other):
                pass


async def test_a_mode_that_the_model_lacks_is_refused() -> None:
    async with stub_server() as server:
        with pytest.raises(PreconditionError, match="mode"):
            async with connect(server.address, CODEC, mode=pb.MODE_TRANSCRIPTION):
                pass


async def test_greedy_sampling_and_timings_reach_the_worker() -> None:
    async with stub_server() as server, connect(server.address, CODEC, sampling=GREEDY, timings=True) as session:
        await session.send(CODES)
        await session.end()
        replies = [reply async for reply in session]
    assert len(replies) == 1
    assert session.totals is not None
    assert len(session.totals.step_us) == 1


async def test_wrong_codes_are_refused_before_they_are_sent() -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:
        with pytest.raises(CodesError, match="expected 8 codes"):
            await session.send(CODES[:7])
        with pytest.raises(CodesError, match="code 2048"):
            await session.send(CODES + 2048)
        await session.send(CODES)
        reply = await session.receive()
        assert reply is not None
        assert reply.sequence == 0


async def test_an_idle_session_raises_the_workers_reason(clock: Clock) -> None:
    options = StubOptions(idle_timeout_ms=1_000_000)
    async with stub_server(options) as server, connect(server.address, CODEC) as session:
        await clock.outlast(1000.0)
        with pytest.raises(SessionTimeoutError, match="no frame"):
            await session.receive()
        with pytest.raises(SessionTimeoutError):
            await session.send(CODES)


async def test_a_worker_that_stops_raises_unavailable() -> None:
    async with stub_server() as server:
        with pytest.raises(UnavailableError):  # noqa: PT012 - the stop comes amid the session
            async with connect(server.address, CODEC, reconnect=NEVER) as session:
                await session.send(CODES)
                await session.receive()
                await asyncio.gather(server.server.stop(), session.receive())


async def test_giving_up_on_a_reply_does_not_lose_it(clock: Clock) -> None:
    runner = StubRunner()
    async with (
        stub_server(StubOptions(runner=runner)) as server,
        connect(server.address, CODEC, reconnect=Reconnect(stall_s=3600.0)) as session,
    ):
        runner.gate.clear()
        await session.send(CODES)
        giving_up = asyncio.create_task(asyncio.wait_for(session.receive(), 1000.0))
        await clock.outlast(1000.0)
        with pytest.raises(TimeoutError):
            await giving_up
        runner.gate.set()
        reply = await session.receive()
        assert reply is not None
        assert reply.sequence == 0


async def test_a_session_that_has_ended_says_so() -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:
        await session.end()
        await session.end()  # twice does no harm
        with pytest.raises(SequenceError, match="send after end"):
            await session.send(CODES)
    with pytest.raises(SequenceError, match="open a new"):
        await session.receive()
    with pytest.raises(SequenceError, match="open a new"):
        await session.send(CODES)


async def test_the_workers_own_words_are_not_taken_for_a_lost_connection() -> None:
    async with stub_server() as server:
        server.server.worker.drain()
        with pytest.raises(UnavailableError, match=r"^this worker is draining: connect to another one$"):
            async with connect(server.address, CODEC):
                pass


async def test_a_draining_worker_is_seen_as_go_away() -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:
        drain = asyncio.create_task(server.server.drain())
        await session.send(CODES)
        assert await session.receive() is not None
        while session.go_away is None:
            await session.send(CODES)
            await session.receive()
        await session.end()
        assert await session.receive() is None
        await drain
    assert session.go_away.reason == "the worker is draining"


async def test_a_script_without_asyncio_has_the_same_session() -> None:
    def script(address: str) -> list[int]:
        with blocking.connect(address, CODEC, seed=5) as session:
            assert session.model == SPEC
            sequences = [session.exchange(CODES).sequence for _ in range(3)]
            session.send(CODES)
            with pytest.raises(SequenceError, match="receive them first"):
                session.exchange(CODES)
            assert session.in_flight == 1
            sequences += [reply.sequence for reply in session.end()]
            assert session.totals is not None
            assert (session.history.steps, session.resumptions, session.address) == (4, 0, address)
            assert session.sampling == SPEC.sampling
            return sequences

    async with stub_server() as server:
        assert await asyncio.to_thread(script, server.address) == [0, 1, 2, 3]


async def test_several_threads_have_a_session_each() -> None:
    def script(address: str, seed: int) -> list[int]:
        with blocking.connect(address, CODEC, seed=seed) as session:
            session.exchange(CODES)
            reply = session.exchange(CODES)
            assert reply.codes is not None
            return [int(code) for code in reply.codes]

    async with stub_server(StubOptions(StubRunner(8))) as server:
        heard = await asyncio.gather(*(asyncio.to_thread(script, server.address, seed) for seed in range(6)))
    assert heard == [expected(CODES, seed, 1).tolist() for seed in range(6)]


async def test_a_script_sees_the_same_errors() -> None:
    def script(address: str) -> None:
        with blocking.connect(address, CODEC) as session:
            session.send(CODES + 2048)

    with pytest.raises(UnavailableError):
        await asyncio.to_thread(script, unused_address())
    async with stub_server() as server:
        with pytest.raises(CodesError):
            await asyncio.to_thread(script, server.address)
