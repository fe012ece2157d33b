"""A session outlives its streams: nothing is lost, nothing is heard twice, and the reply stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.errors import (
    TAKEN_OVER,
    AntiphonError,
    PreconditionError,
    SessionTimeoutError,
    UnavailableError,
)
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.carrier import Carrier
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Change, Reconnecting, Reply, Resumed
from antiphon_edge.client.reconnect import NEVER, Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.hearing import Hearing
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.handshake import Opening
from tests.support.conversations import LONG_S, QUICK, SEED, check_unbroken, exchange, said, two_workers
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.time_travel import NET_S, Clock, until
from tools.harness.relay import relay
from tools.harness.stub_runner import SPEC, StubRunner, expected


async def test_a_broken_stream_goes_on_in_the_slot_that_the_worker_kept() -> None:
    changes: list[Change] = []
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.append) as session,
    ):
        replies = await exchange(session, 5)
        between.cut()
        replies += await exchange(session, 5)
    check_unbroken(replies)
    assert session.resumptions == 1
    lost, resumed = changes[0], changes[-1]
    assert isinstance(lost, Reconnecting)
    assert "lost the worker" in lost.reason
    assert isinstance(resumed, Resumed)
    assert resumed.rebuilt_steps == 0
    assert not server.runner.chunks


async def test_a_worker_that_is_gone_is_replaced_by_another_from_the_history() -> None:
    changes: list[Change] = []
    async with (
        two_workers() as (first, second),
        relay(first.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.append) as session,
    ):
        replies = await exchange(session, 60)  # longer than the model's context
        between.target = second.address
        between.cut()
        replies += await exchange(session, 5)
    check_unbroken(replies)
    assert isinstance(changes[-1], Resumed)
    assert changes[-1].rebuilt_steps == sum(second.runner.chunks) > 0


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the slot that was kept", "on another worker"])
async def test_a_session_that_is_resumed_goes_on_with_the_encoder_as_it_is(elsewhere: bool, tiny_codec: Path) -> None:
    """The encoder is restarted after a session's first frame, and not after the first frame of another stream."""
    codec, broken_at = Codec.load(tiny_codec), 6
    frames = np.random.default_rng(0).uniform(-0.3, 0.3, (12, codec.spec.frame_samples)).astype(np.float32)
    heard: list[Reply] = []
    async with (
        two_workers() as (first, second),
        relay(first.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session,
    ):

        async def microphone() -> AsyncIterator[Pcm]:
            for number, frame in enumerate(frames):
                if number == broken_at:
                    await until(lambda: len(heard) == broken_at)
                    between.target = second.address if elsewhere else first.address
                    between.cut()
                yield frame
                if number == broken_at:
                    await until(lambda: session.resumptions == 1)

        await talk(session, codec, microphone(), lambda pcm: None, heard.append)
        assert bool(second.runner.batches) is elsewhere
    unbroken = list(Hearing(codec, SPEC).codes(frames))
    for reply, codes in list(zip(heard, unbroken, strict=True))[SPEC.delay_steps :]:
        assert reply.codes is not None
        assert (reply.codes == expected(codes, SEED, reply.sequence)).all()
    restarted = list(Hearing(codec, SPEC).codes(frames[broken_at:]))
    assert (np.array(restarted) != unbroken[broken_at:]).any(), "one stream's codes would be another's"


async def test_of_several_addresses_the_next_one_takes_over_at_once() -> None:
    async with stub_server() as second:
        async with stub_server() as first, relay(first.address) as between:
            addresses = [between.address, second.address]
            context = connect(addresses, CODEC, seed=SEED, reconnect=QUICK)
            session = await context.__aenter__()
            replies = await exchange(session, 5)
            assert session.address == between.address
        replies += await exchange(session, 5)  # the first worker and its relay are gone
        assert session.address == second.address
        await context.__aexit__(None, None, None)
    check_unbroken(replies)


async def test_the_first_address_that_takes_the_session_is_taken() -> None:
    async with stub_server() as server, connect([unused_address(), server.address], CODEC) as session:
        assert session.address == server.address
        await exchange(session, 1)


async def test_frames_that_were_under_way_when_the_stream_broke_are_answered_once() -> None:
    runner = StubRunner()
    async with (
        stub_server(StubOptions(runner=runner)) as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session,
    ):
        replies = await exchange(session, 3)
        runner.gate.clear()
        for step in range(3, 8):
            await session.send(said(step))
        runner.entered.clear()
        await asyncio.to_thread(runner.entered.wait, NET_S)
        between.cut()
        await session.send(said(8))  # while no worker is there
        runner.gate.set()
        await session.end()
        replies += [reply async for reply in session]
    check_unbroken(replies)
    assert len(replies) == 9
    assert session.totals is not None
    assert session.totals.frames == 9
    assert len(runner.batches) == 9  # none was stepped twice


async def test_a_draining_worker_hands_the_session_over_before_it_goes() -> None:
    changes: list[Change] = []
    async with (
        two_workers() as (first, second),
        relay(first.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.append) as session,
    ):
        replies = await exchange(session, 5)
        between.target = second.address  # what a load balancer does as soon as health says NOT_SERVING
        drain = asyncio.create_task(first.server.drain())
        while not session.resumptions:
            replies += await exchange(session, 1)  # answered all along
        await asyncio.wait_for(drain, NET_S)
        replies += await exchange(session, 5)
    check_unbroken(replies)
    assert changes[0] == Reconnecting("the worker is draining")
    assert isinstance(changes[-1], Resumed)
    assert second.runner.batches


async def test_a_worker_that_stops_answering_is_left_for_another(clock: Clock) -> None:
    async with two_workers() as (first, second):
        addresses = [first.address, second.address]
        async with connect(addresses, CODEC, seed=SEED, reconnect=QUICK) as session:
            replies = await exchange(session, 3)
            first.runner.gate.clear()
            first.runner.entered.clear()
            talking = asyncio.create_task(exchange(session, 3))
            await asyncio.to_thread(first.runner.entered.wait, NET_S)
            assert session.address == first.address
            clock.advance(QUICK.stall_s)
            replies += await talking
            assert session.address == second.address
    check_unbroken(replies)


async def test_a_worker_that_answers_after_all_keeps_the_session(clock: Clock) -> None:
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait) as session,
    ):
        replies = await exchange(session, 3)
        between.stall()
        sending = asyncio.create_task(exchange(session, 3))
        await until(lambda: session._carrier.stream.stalled_s() > 0, "a frame without an answer")
        clock.advance(QUICK.stall_s)
        assert isinstance(await changes.get(), Reconnecting)
        between.resume()
        replies += await sending
        replies += await exchange(session, 3)
    check_unbroken(replies)


async def test_a_session_in_which_nobody_speaks_ends_as_before(clock: Clock) -> None:
    async with (
        stub_server(StubOptions(idle_timeout_ms=1_000_000)) as server,
        connect(server.address, CODEC, reconnect=QUICK) as session,
    ):
        await clock.outlast(1000.0)
        with pytest.raises(SessionTimeoutError):
            await session.receive()


async def test_live_frames_of_a_long_outage_are_dropped_oldest_first_and_counted() -> None:
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session,
    ):
        await exchange(session, 2)
        between.target = unused_address()
        between.cut()
        for step in range(40):
            session.send_live(said(step))
        assert session.dropped_frames >= 40 - 25 - 1
        between.target = server.address
        heard = [await asyncio.wait_for(session.receive(), LONG_S) for _ in range(40 - session.dropped_frames)]
    assert heard[-1] is not None
    assert heard[-1].codes is not None
    last = heard[-1].sequence
    assert last == 2 + len(heard) - 1
    assert (heard[-1].codes == expected(said(39), SEED, last)).all()


async def test_an_owner_whose_own_code_fails_hears_of_it_where_it_sends_and_receives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(change: Change) -> None:
        raise ValueError("no such screen")

    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=fail) as session,
    ):
        await exchange(session, 2)
        between.cut()
        with pytest.raises(AntiphonError, match="no such screen"):
            await asyncio.wait_for(session.receive(), LONG_S)
        with pytest.raises(AntiphonError, match="no such screen"):
            await session.send(said(2))
    assert "a session failed" in caplog.text


async def test_the_worker_says_that_another_call_took_the_session_in_the_words_that_the_edge_knows() -> None:
    async with stub_server() as server, connect(server.address, CODEC, seed=SEED, reconnect=NEVER) as session:
        await exchange(session, 3)
        token = session._carrier.stream.call.opened.resume_token
        thief = await Call.dial(server.address, session._carrier.opening, session.history, token)
        with pytest.raises(UnavailableError, match=f"^{TAKEN_OVER}"):
            await asyncio.wait_for(session.receive(), LONG_S)
        await thief.abandon()


async def test_of_two_clients_that_hold_one_session_one_keeps_it() -> None:
    """They took it from each other 68 times a second, for ever."""
    async with stub_server() as server:
        opening = Opening(CODEC, SEED)

        async def owner(session: Session) -> None:
            while True:  # until it is told
                await asyncio.wait_for(session.receive(), 60)

        first = Session(await Carrier.open([server.address], opening, Reconnect(), lambda change: None))
        await exchange(first, 3)
        carrier = first._carrier

        async def steal(address: str, opening: Opening, *_: Any) -> Call:
            return await Call.dial(address, opening, first.history, carrier.stream.call.opened.resume_token)

        second = Session(await Carrier.open([server.address], opening, Reconnect(), lambda change: None, steal))
        owners = [asyncio.create_task(owner(session)) for session in (first, second)]
        done, left = await asyncio.wait(owners, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            assert isinstance(task.exception(), PreconditionError)
        assert first.resumptions + second.resumptions <= 4
        for task in left:
            task.cancel()
        await asyncio.gather(first.abandon(), second.abandon())
