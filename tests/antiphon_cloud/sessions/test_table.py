"""What outlives a call: the slot and the last replies, for the client whose they are, and for a moment only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from antiphon.errors import AntiphonError, NoFreeSlotError, PermissionDeniedError, PreconditionError, SequenceError
from antiphon.history import PastTokens
from antiphon.spec import Limits, Sampling
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Allowance, Client
from antiphon_cloud.sessions.protocol import OpenRequested
from antiphon_cloud.sessions.table import LiveSession, Sessions
from tests.support.time_travel import NET_S, Clock, until
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import SPEC, StubRunner, expected

CODES = np.arange(8, dtype=np.int32)
KITCHEN = Client("the API key kitchen", proven=True)
GARAGE = Client("the API key garage", proven=True)
AN_ADDRESS, ANOTHER_ADDRESS = Client("the address 1"), Client("the address 2")
NEW = OpenRequested(seed=3, sampling=Sampling())


@dataclass
class Call:
    """Stands for a call: it is ended by `evict`."""

    ended: list[str] = field(default_factory=list)

    def evict(self, reason: str) -> None:
        self.ended.append(reason)


@asynccontextmanager
async def sessions(
    slots: int = 2,
    keep_ms: int = 60_000,
    runner: StubRunner | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Sessions]:
    engine = Engine(StepperThread(runner or StubRunner(slots)), Admission(budget_ms=1e9))
    await engine.start()
    try:
        yield Sessions(engine, Limits(slots, max_frames_in_flight=4, keep_slot_ms=keep_ms), clock)
    finally:
        await engine.stop()


def again(session: LiveSession, step: int) -> OpenRequested:
    """What the edge of a session that stands at `step` sends when it comes back."""
    past = PastTokens(step, np.zeros((step, 8), np.int32), np.zeros(step, np.int32), np.zeros((step, 8), np.int32))
    return OpenRequested(seed=3, sampling=Sampling(), past=past, resume_token=session.resume_token)


async def talk(session: LiveSession, *steps: int) -> None:
    for step in steps:
        reply = await asyncio.wait_for(session.answer(step, CODES), NET_S)
        assert reply.sequence == step
        if step >= SPEC.delay_steps:
            assert (reply.codes == expected(CODES, 3, step)).all()


async def test_a_session_whose_stream_broke_goes_on_in_its_slot_at_any_step_that_the_edge_may_stand_at() -> None:
    runner = StubRunner(2)
    async with sessions(runner=runner) as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        await talk(session, *range(6))
        for step in (6, 4, 2):  # the replies to the last frames were lost on the way
            all_of_them.leave(session, call.evict, keep=True)
            call = Call()
            assert all_of_them.resume(again(session, step), KITCHEN, call.evict) is session
            await talk(session, *range(step, 6))
        assert len(runner.batches) == 6  # no frame was stepped twice
        await talk(session, 6)


async def test_frames_that_come_again_must_be_the_same() -> None:
    async with sessions() as all_of_them:
        session = all_of_them.open(NEW, KITCHEN, Call().evict)
        await talk(session, 0, 1)
        with pytest.raises(SequenceError, match="frame 1 was sent before with other codes"):
            await session.answer(1, CODES + 1)


async def test_an_edge_that_stands_further_back_than_the_kept_replies_starts_from_its_history() -> None:
    async with sessions(slots=1) as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        await talk(session, *range(6))
        all_of_them.leave(session, call.evict, keep=True)
        assert all_of_them.resume(again(session, 1), KITCHEN, Call().evict) is None
        assert all_of_them.open(again(session, 1), KITCHEN, Call().evict).lease.slot == 0  # the slot is free again


async def test_a_call_that_still_carries_the_session_is_ended_and_cannot_end_it_any_more() -> None:
    async with sessions() as all_of_them:
        old, new = Call(), Call()
        session = all_of_them.open(NEW, KITCHEN, old.evict)
        await talk(session, 0)
        assert all_of_them.resume(again(session, 1), KITCHEN, new.evict) is session
        assert old.ended == ["the session goes on in another call"]
        all_of_them.leave(session, old.evict, keep=False)
        await talk(session, 1)
        assert new.ended == []


async def test_an_edge_may_take_its_session_from_a_hanging_call_now_and_then_and_not_over_and_over() -> None:
    now = [0.0]
    async with sessions(clock=lambda: now[0]) as all_of_them:
        session = all_of_them.open(NEW, KITCHEN, Call().evict)

        def taken() -> bool:
            try:
                return all_of_them.resume(again(session, 0), KITCHEN, Call().evict) is session
            except PreconditionError:
                return False

        assert taken()
        now[0] = 0.9
        assert not taken()
        now[0] = 1.0
        assert taken()
        for second in range(2, 12):
            now[0] = second
            assert taken()  # twelve in a minute
        now[0] = 59.9
        assert not taken()
        now[0] = 60.0
        assert taken()


async def test_coming_back_to_a_kept_session_takes_it_from_nobody() -> None:
    async with sessions(clock=lambda: 0.0) as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        for _ in range(30):
            all_of_them.leave(session, call.evict, keep=True)
            assert all_of_them.carried == 0
            call = Call()
            assert all_of_them.resume(again(session, 0), KITCHEN, call.evict) is session
            assert all_of_them.carried == 1


async def test_a_session_belongs_to_the_key_that_opened_it() -> None:
    async with sessions() as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        all_of_them.leave(session, call.evict, keep=True)
        for stranger in (GARAGE, AN_ADDRESS):
            with pytest.raises(PermissionDeniedError):
                all_of_them.resume(again(session, 0), stranger, Call().evict)
        assert all_of_them.resume(again(session, 0), KITCHEN, Call().evict) is session


async def test_an_edge_without_a_key_may_come_back_from_another_address() -> None:
    async with sessions() as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, AN_ADDRESS, call.evict)
        all_of_them.leave(session, call.evict, keep=True)
        assert all_of_them.resume(again(session, 0), ANOTHER_ADDRESS, Call().evict) is session


async def test_a_token_that_nobody_was_given_finds_nothing() -> None:
    async with sessions() as all_of_them:
        session = all_of_them.open(NEW, KITCHEN, Call().evict)
        request = again(session, 0)
        guess = OpenRequested(request.seed, request.sampling, request.past, bytes(16))
        assert all_of_them.resume(guess, KITCHEN, Call().evict) is None


async def test_a_kept_slot_is_taken_by_a_new_session_where_no_other_is_free_the_clients_own_first() -> None:
    async with sessions(slots=2) as all_of_them:
        calls = [Call(), Call()]
        theirs, own = (
            all_of_them.open(NEW, client, call.evict) for client, call in zip((GARAGE, KITCHEN), calls, strict=True)
        )
        for session, call in zip((theirs, own), calls, strict=True):
            all_of_them.leave(session, call.evict, keep=True)
        assert all_of_them.open(NEW, KITCHEN, Call().evict).lease.slot == own.lease.slot
        assert all_of_them.open(NEW, KITCHEN, Call().evict).lease.slot == theirs.lease.slot
        with pytest.raises(NoFreeSlotError):
            all_of_them.open(NEW, KITCHEN, Call().evict)


async def test_a_clients_kept_session_counts_only_until_it_opens_another() -> None:
    single = Client("the API key single", Allowance(sessions=1), proven=True)
    async with sessions(slots=3) as all_of_them:
        call = Call()
        all_of_them.leave(all_of_them.open(NEW, single, call.evict), call.evict, keep=True)
        all_of_them.open(NEW, single, Call().evict)
        with pytest.raises(NoFreeSlotError, match="has 1 sessions"):
            all_of_them.open(NEW, single, Call().evict)


async def test_a_slot_is_kept_for_its_time_and_not_longer(clock: Clock) -> None:
    async with sessions(keep_ms=60_000) as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        all_of_them.leave(session, call.evict, keep=True)
        clock.advance(30.0)
        await asyncio.sleep(0)
        assert not session.lease.released
        clock.advance(30.0)
        await until(lambda: session.lease.released)
        assert all_of_them.resume(again(session, 0), KITCHEN, Call().evict) is None


async def test_nothing_is_kept_of_a_session_that_was_closed_nor_where_the_worker_keeps_none() -> None:
    for keep_ms, keep in ((60_000, False), (0, True)):
        async with sessions(keep_ms=keep_ms) as all_of_them:
            call = Call()
            session = all_of_them.open(NEW, KITCHEN, call.evict)
            all_of_them.leave(session, call.evict, keep=keep)
            assert session.lease.released


async def test_a_drain_gives_back_what_was_kept() -> None:
    async with sessions() as all_of_them:
        kept, live = Call(), Call()
        first = all_of_them.open(NEW, KITCHEN, kept.evict)
        second = all_of_them.open(NEW, KITCHEN, live.evict)
        all_of_them.leave(first, kept.evict, keep=True)
        all_of_them.end_kept()
        assert (first.lease.released, second.lease.released) == (True, False)


async def test_a_session_whose_step_failed_is_not_gone_on_with() -> None:
    async with sessions(runner=StubRunner(2, no_number_on_code=2000)) as all_of_them:
        call = Call()
        session = all_of_them.open(NEW, KITCHEN, call.evict)
        with pytest.raises(AntiphonError, match="no numbers"):
            await asyncio.wait_for(session.answer(0, np.full(8, 2000, np.int32)), NET_S)
        all_of_them.leave(session, call.evict, keep=True)
        assert all_of_them.resume(again(session, 0), KITCHEN, Call().evict) is None


async def test_an_edge_that_lets_opened_lie_loses_its_slot_to_another_client_that_needs_one() -> None:
    now_s = 0.0
    async with sessions(slots=2, clock=lambda: now_s) as all_of_them:
        deaf, prompt = Call(), Call()
        lying = all_of_them.open(NEW, GARAGE, deaf.evict)
        taken = all_of_them.open(NEW, GARAGE, prompt.evict)
        with all_of_them.telling(taken):
            pass
        with all_of_them.telling(lying):
            now_s = 0.24  # the edge may still be taking it
            with pytest.raises(NoFreeSlotError):
                all_of_them.open(NEW, KITCHEN, Call().evict)
            now_s = 0.25
            with pytest.raises(NoFreeSlotError):  # who lets one lie gets no other for it
                all_of_them.open(NEW, GARAGE, Call().evict)
            all_of_them.open(NEW, KITCHEN, Call().evict)
            assert deaf.ended == ["another session needs the slot"]
            all_of_them.leave(lying, deaf.evict, keep=False)  # as the call does when it ends
            with pytest.raises(NoFreeSlotError):
                all_of_them.open(NEW, KITCHEN, Call().evict)
        assert not prompt.ended


async def test_a_session_that_was_kept_is_given_up_before_one_that_is_being_told() -> None:
    now_s = 0.0
    async with sessions(slots=2, clock=lambda: now_s) as all_of_them:
        deaf, gone = Call(), Call()
        lying = all_of_them.open(NEW, GARAGE, deaf.evict)
        left = all_of_them.open(NEW, GARAGE, gone.evict)
        all_of_them.leave(left, gone.evict, keep=True)
        with all_of_them.telling(lying):
            now_s = 1.0
            all_of_them.open(NEW, KITCHEN, Call().evict)
        assert not deaf.ended
