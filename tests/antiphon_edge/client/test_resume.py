"""A session outlives its streams: nothing is lost, nothing is heard twice, and the reply stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.errors import (
    TAKEN_OVER,
    AntiphonError,
    NoFreeSlotError,
    PreconditionError,
    SessionTimeoutError,
    UnavailableError,
)
from antiphon.spec import Sampling
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Change, Reconnecting, Reply, Resumed
from antiphon_edge.client.reconnect import NEVER, Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.hearing import Hearing
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.handshake import Opening
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, StubServer, stub_server
from tests.support.time_travel import NET_S, Clock, until
from tools.harness.relay import relay
from tools.harness.stub_runner import SPEC, StubRunner, expected

SEED = 5
OTHER_MODEL = r"held with stub \(05050505\), this worker serves stub \(abababab\); start a new session"
QUICK = Reconnect(first_s=0.01, longest_s=0.1, patience_s=3600.0, stall_s=60.0, connect_timeout_s=70.0)
LONG_S = 2 * QUICK.stall_s  # of a wait that a test may move the clock in


def said(step: int) -> np.ndarray:
    """What the user says at a step."""
    return (np.arange(8, dtype=np.int32) + 3 * step) % 2048


async def exchange(session: Session, count: int) -> list[Reply]:
    replies = []
    for _ in range(count):
        await session.send(said(session.history.steps))
        reply = await asyncio.wait_for(session.receive(), LONG_S)
        assert reply is not None
        replies.append(reply)
    return replies


async def until_refused(changes: asyncio.Queue[Change]) -> Reconnecting:
    """Returns once the session waits to ask again."""
    while True:
        change = await changes.get()
        if isinstance(change, Reconnecting) and change.again_in_s:
            return change


def check_unbroken(replies: list[Reply]) -> None:
    """The replies are those of one session without a break."""
    assert [reply.sequence for reply in replies] == list(range(len(replies)))
    for reply in replies[SPEC.delay_steps :]:
        assert reply.codes is not None
        assert (reply.codes == expected(said(reply.sequence), SEED, reply.sequence)).all()


@asynccontextmanager
async def two_workers(slots: int = 4) -> AsyncIterator[tuple[StubServer, StubServer]]:
    async with (
        stub_server(StubOptions(runner=StubRunner(slots))) as first,
        stub_server(StubOptions(runner=StubRunner(slots))) as second,
    ):
        yield first, second


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


async def test_a_full_worker_says_when_to_come_back_and_is_asked_again() -> None:
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with two_workers(slots=1) as (first, second), relay(first.address) as between:
        other = connect(second.address, CODEC)
        await other.__aenter__()
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait) as session:
            replies = await exchange(session, 3)
            between.target = second.address
            between.cut()
            await session.send(said(3))
            refusal = await until_refused(changes)
            between.target = first.address
            reply = await asyncio.wait_for(session.receive(), LONG_S)
            assert reply is not None
            replies.append(reply)
        await other.__aexit__(None, None, None)
    check_unbroken(replies)
    assert "slots are taken" in refusal.reason


async def test_the_sampling_that_a_model_chose_goes_along_to_a_worker_with_another() -> None:
    async with two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, sampling=Sampling(0.1, 3, 0.2, 4))
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK) as session:
            await exchange(session, 2)
            between.target = second.address
            between.cut()
            await exchange(session, 2)
        assert second.runner.sampling == SPEC.sampling


async def test_patience_ends_and_the_last_error_is_told(clock: Clock) -> None:
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait) as session,
    ):
        await exchange(session, 2)
        between.target = unused_address()
        between.cut()
        await session.send(said(2))
        await until_refused(changes)
        assert session._carrier.journal.failure is None
        clock.advance(QUICK.patience_s)
        with pytest.raises(UnavailableError):
            await session.receive()


async def test_a_final_refusal_is_not_asked_for_again() -> None:
    changes: list[Change] = []
    async with two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
        async with connect(between.address, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.append) as session:
            await exchange(session, 2)
            between.target = second.address
            between.cut()
            with pytest.raises(PreconditionError, match=OTHER_MODEL):
                await exchange(session, 1)
        assert not any(change.again_in_s for change in changes if isinstance(change, Reconnecting))


async def test_workers_that_serve_another_model_under_the_same_name_do_not_go_on_with_a_session(clock: Clock) -> None:
    for where_the_first_was in ("another", "nobody"):
        changes: asyncio.Queue[Change] = asyncio.Queue()
        async with two_workers() as (first, second), relay(first.address) as between:
            second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
            addresses = [between.address, second.address]
            context = connect(addresses, CODEC, seed=SEED, reconnect=QUICK, on_change=changes.put_nowait)
            async with context as session:
                await exchange(session, 2)
                between.target = second.address if where_the_first_was == "another" else unused_address()
                between.cut()
                await session.send(said(2))
                if where_the_first_was == "nobody":  # it may come back, until the patience is over
                    for _ in addresses:  # until both have been asked
                        await until_refused(changes)
                    clock.advance(QUICK.patience_s)
                with pytest.raises(PreconditionError, match=OTHER_MODEL):
                    await session.receive()
            assert not second.runner.batches


async def test_an_address_that_serves_another_model_is_passed_over() -> None:
    async with stub_server() as third, two_workers() as (first, second), relay(first.address) as between:
        second.runner.spec = replace(SPEC, fingerprint=b"\xab" * 32)
        addresses = [between.address, second.address, third.address]
        async with connect(addresses, CODEC, seed=SEED, reconnect=QUICK) as session:
            replies = await exchange(session, 5)
            between.target = unused_address()
            between.cut()
            replies += await exchange(session, 5)
            assert session.address == third.address
        assert not second.runner.batches
    check_unbroken(replies)


async def test_a_session_in_which_nobody_speaks_ends_as_before(clock: Clock) -> None:
    async with (
        stub_server(StubOptions(idle_timeout_ms=1_000_000)) as server,
        connect(server.address, CODEC, reconnect=QUICK) as session,
    ):
        await clock.outlast(1000.0)
        with pytest.raises(SessionTimeoutError):
            await session.receive()


async def test_who_wants_no_reconnection_gets_the_first_error() -> None:
    async with (
        stub_server() as server,
        relay(server.address) as between,
        connect(between.address, CODEC, reconnect=NEVER) as session,
    ):
        await exchange(session, 1)
        between.cut()
        with pytest.raises(UnavailableError):
            await exchange(session, 1)


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


@pytest.mark.parametrize("attempt", range(12))
def test_waits_grow_with_jitter_up_to_a_ceiling(attempt: int) -> None:
    policy = Reconnect(first_s=0.1, longest_s=5.0)
    delay_s = policy.delay_s(attempt, UnavailableError("gone"))
    assert 0.5 * min(0.1 * 2**attempt, 5.0) <= delay_s <= 1.5 * min(0.1 * 2**attempt, 5.0)
    assert policy.delay_s(-1, UnavailableError("gone")) == 0
    assert policy.delay_s(attempt, NoFreeSlotError("full", retry_after_s=8.0)) >= 4.0


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

        first = await Session.open([server.address], opening, Reconnect(), lambda change: None)
        await exchange(first, 3)
        carrier = first._carrier

        async def steal(address: str, opening: Opening, *_: Any) -> Call:
            return await Call.dial(address, opening, first.history, carrier.stream.call.opened.resume_token)

        second = await Session.open([server.address], opening, Reconnect(), lambda change: None, steal)
        owners = [asyncio.create_task(owner(session)) for session in (first, second)]
        done, left = await asyncio.wait(owners, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            assert isinstance(task.exception(), PreconditionError)
        assert first.resumptions + second.resumptions <= 4
        for task in left:
            task.cancel()
        await asyncio.gather(first.abandon(), second.abandon())
