"""What outlives a call: the slot and the last replies, for the client whose they are, and for a moment only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from antiphon.errors import (
    AntiphonError,
    NoFreeSlotError,
    PermissionDeniedError,
    PreconditionError,
    SequenceError,
    UnavailableError,
)
from antiphon.history import HistoryTokens
from antiphon.spec import Limits, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Allowance, Client
from antiphon_cloud.sessions.prompts.prompt import Prompt
from antiphon_cloud.sessions.protocol import OpenRequested
from antiphon_cloud.sessions.session import Session
from antiphon_cloud.sessions.table import SessionTable
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
    pool: PoolShape | None = None,
    reserve: int = 0,
) -> AsyncIterator[SessionTable]:
    engine = Engine(StepperThread(runner or StubRunner(slots)), pool=pool)
    await engine.start()
    try:
        limits = Limits(slots, max_frames_in_flight=4, keep_slot_ms=keep_ms)
        yield SessionTable(engine, Admission(engine.forecast, 1e9, reserve), limits, clock)
    finally:
        await engine.stop()


def past(step: int) -> HistoryTokens:
    return HistoryTokens(step, np.zeros((step, 8), np.int32), np.zeros(step, np.int32), np.zeros((step, 8), np.int32))


def again(session: Session, step: int) -> OpenRequested:
    """What the edge of a session that stands at `step` sends when it comes back."""
    return OpenRequested(seed=3, sampling=Sampling(), history=past(step), resume_token=session.resume_token)


async def talk(session: Session, *steps: int) -> None:
    for step in steps:
        reply, _ = await asyncio.wait_for(session.answer(step, CODES), NET_S)
        assert reply.sequence == step
        if step >= SPEC.delay_steps:
            assert (reply.codes == expected(CODES, 3, step)).all()


async def test_a_session_whose_stream_broke_goes_on_in_its_slot_at_any_step_that_the_edge_may_stand_at() -> None:
    runner = StubRunner(2)
    async with sessions(runner=runner) as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        await talk(session, *range(6))
        for step in (6, 4, 2):  # the replies to the last frames were lost on the way
            table.leave(session, call, detach=True)
            call = Call()
            assert table.resume(again(session, step), KITCHEN, call) is session
            await talk(session, *range(step, 6))
        assert len(runner.batches) == 6  # no frame was stepped twice
        await talk(session, 6)


@pytest.mark.parametrize(
    "other",
    [
        {"adapter": "a"},
        {"conditions": {"mood": "glad"}},
        {"prompt": Prompt(past(0), b"two")},
        {"seed": 4},
        {"sampling": Sampling(text_temperature=0.1)},
        {"mode": pb.MODE_TEXT},
    ],
)
async def test_an_edge_that_asks_for_something_else_than_it_began_with_starts_from_its_history(other: Any) -> None:
    async with sessions(slots=1) as table:
        session = table.open(NEW, KITCHEN, call := Call())
        await talk(session, 0, 1)
        table.leave(session, call, detach=True)
        assert table.resume(replace(again(session, 2), **other), KITCHEN, Call()) is None


async def test_frames_that_come_again_must_be_the_same() -> None:
    async with sessions() as table:
        session = table.open(NEW, KITCHEN, Call())
        await talk(session, 0, 1)
        with pytest.raises(SequenceError, match="frame 1 was sent before with other codes"):
            await session.answer(1, CODES + 1)


async def test_an_edge_that_stands_further_back_than_the_kept_replies_starts_from_its_history() -> None:
    async with sessions(slots=1) as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        await talk(session, *range(6))
        table.leave(session, call, detach=True)
        assert table.resume(again(session, 1), KITCHEN, Call()) is None
        assert table.open(again(session, 1), KITCHEN, Call()).slot.row == 0  # the slot is free again


async def test_a_call_that_still_carries_the_session_is_ended_and_cannot_end_it_any_more() -> None:
    async with sessions() as table:
        old, new = Call(), Call()
        session = table.open(NEW, KITCHEN, old)
        await talk(session, 0)
        assert table.resume(again(session, 1), KITCHEN, new) is session
        assert old.ended == ["the session goes on in another call"]
        table.leave(session, old, detach=False)
        table.leave(session, Call(), detach=False)  # equal to the new one, but another
        await talk(session, 1)
        assert new.ended == []


async def test_an_edge_may_take_its_session_from_a_hanging_call_now_and_then_and_not_over_and_over() -> None:
    now = [0.0]
    async with sessions(clock=lambda: now[0]) as table:
        session = table.open(NEW, KITCHEN, Call())

        def taken() -> bool:
            return table.resume(again(session, 0), KITCHEN, Call()) is session

        assert taken()
        now[0] = 0.9
        with pytest.raises(UnavailableError, match="a moment ago"):  # its edge may try again
            taken()
        now[0] = 1.0
        assert taken()
        for second in range(2, 12):
            now[0] = second
            assert taken()  # twelve in a minute
        now[0] = 59.9
        with pytest.raises(PreconditionError, match="again and again"):
            taken()
        now[0] = 60.0
        assert taken()


async def test_coming_back_to_a_detached_session_takes_it_from_nobody() -> None:
    async with sessions(clock=lambda: 0.0) as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        for _ in range(30):
            table.leave(session, call, detach=True)
            assert table.carried == 0
            call = Call()
            assert table.resume(again(session, 0), KITCHEN, call) is session
            assert table.carried == 1


async def test_a_session_belongs_to_the_key_that_opened_it() -> None:
    async with sessions() as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        table.leave(session, call, detach=True)
        for stranger in (GARAGE, AN_ADDRESS):
            with pytest.raises(PermissionDeniedError):
                table.resume(again(session, 0), stranger, Call())
        assert table.resume(again(session, 0), KITCHEN, Call()) is session


async def test_an_edge_without_a_key_may_come_back_from_another_address() -> None:
    async with sessions() as table:
        call = Call()
        session = table.open(NEW, AN_ADDRESS, call)
        table.leave(session, call, detach=True)
        assert table.resume(again(session, 0), ANOTHER_ADDRESS, Call()) is session


async def test_a_token_that_nobody_was_given_finds_nothing() -> None:
    async with sessions() as table:
        session = table.open(NEW, KITCHEN, Call())
        request = again(session, 0)
        guess = OpenRequested(request.seed, request.sampling, request.history, bytes(16))
        assert table.resume(guess, KITCHEN, Call()) is None


async def test_a_detached_sessions_slot_goes_to_a_new_session_where_no_other_is_free_the_clients_own_first() -> None:
    async with sessions(slots=2) as table:
        calls = [Call(), Call()]
        theirs, own = (table.open(NEW, client, call) for client, call in zip((GARAGE, KITCHEN), calls, strict=True))
        for session, call in zip((theirs, own), calls, strict=True):
            table.leave(session, call, detach=True)
        assert table.open(NEW, KITCHEN, Call()).slot.row == own.slot.row
        assert table.open(NEW, KITCHEN, Call()).slot.row == theirs.slot.row
        with pytest.raises(NoFreeSlotError):
            table.open(NEW, KITCHEN, Call())


POOL = PoolShape.of(slots=4, context=40, page=10, promise=20, pages=7)  # a session has two pages, or up to four


async def test_a_full_pool_refuses_the_next_session_and_admits_it_after_another_has_ended() -> None:
    async with sessions(slots=4, pool=POOL) as table:
        calls = [Call(), Call(), Call()]
        held = [table.open(NEW, KITCHEN, call) for call in calls]
        with pytest.raises(RefusedError, match="needs memory for 2 s, and 1 s are free") as raised:
            table.open(NEW, GARAGE, Call())
        assert raised.value.reason is Refusal.MEMORY
        await talk(held[0], *range(50))  # takes the last page, and none of the others'
        table.leave(held[1], calls[1], detach=False)
        table.open(NEW, GARAGE, Call())
        with pytest.raises(RefusedError):
            table.open(NEW, GARAGE, Call())
        for session in (held[0], held[2]):
            assert not session.slot.released


async def test_a_session_that_is_resumed_needs_the_memory_of_its_history() -> None:
    async with sessions(slots=4, pool=POOL) as table:
        first = table.open(NEW, KITCHEN, Call())
        table.open(NEW, KITCHEN, Call())
        with pytest.raises(RefusedError, match="needs memory for 3 s, and 2 s are free"):
            table.open(again(first, 35), KITCHEN, Call())
        table.open(again(first, 30), KITCHEN, Call())


def prompted(steps: int, history: HistoryTokens | None = None) -> OpenRequested:
    """A session with a prompt of so many steps, or one that goes on with it."""
    rows = HistoryTokens(
        steps, np.zeros((steps, 8), np.int32), np.zeros(steps, np.int32), np.zeros((steps, 8), np.int32)
    )
    return OpenRequested(seed=3, sampling=Sampling(), history=history, prompt=Prompt(rows, b"hash"))


@pytest.mark.parametrize(("prompt_steps", "history_steps"), [(35, 0), (20, 15)], ids=["new", "going on"])
async def test_a_session_with_a_prompt_needs_the_memory_of_its_steps(prompt_steps: int, history_steps: int) -> None:
    async with sessions(slots=4, pool=POOL) as table:
        first, _ = (table.open(NEW, KITCHEN, Call()) for _ in range(2))
        history = again(first, history_steps).history if history_steps else None
        with pytest.raises(RefusedError, match="needs memory for 3 s, and 2 s are free"):
            table.open(prompted(prompt_steps, history), KITCHEN, Call())


async def test_a_session_with_a_prompt_counts_its_frames_from_0_once_the_prompt_is_computed() -> None:
    runner = StubRunner(2)
    async with sessions(runner=runner) as table:
        runner.gate.clear()
        session = table.open(prompted(5), KITCHEN, Call())
        assert not session.slot.ready.done()
        runner.gate.set()
        await asyncio.wait_for(session.slot.ready, NET_S)
        assert runner.chunks == [5]
        assert (runner.settings.prompt_steps, runner.settings.prompt_sha256) == (5, b"hash")
        reply, _ = await asyncio.wait_for(session.answer(0, CODES), NET_S)
        assert (reply.sequence, reply.codes.tolist()) == (0, expected(CODES, 3, 5).tolist())


async def test_a_detached_sessions_memory_goes_to_a_new_session() -> None:
    async with sessions(slots=4, pool=POOL) as table:
        call = Call()
        left, *_ = (table.open(NEW, KITCHEN, call) for _ in range(3))
        table.leave(left, call, detach=True)
        table.open(NEW, GARAGE, Call())
        assert left.slot.released


async def test_no_session_is_ended_where_the_memory_would_not_do_all_the_same() -> None:
    async with sessions(slots=4, pool=POOL) as table:
        call = Call()
        left, *_, kept = (table.open(NEW, KITCHEN, call) for _ in range(3))
        table.leave(left, call, detach=True)
        with pytest.raises(RefusedError, match="needs memory for") as raised:
            table.open(again(kept, 35), GARAGE, Call())
        assert raised.value.reason is Refusal.MEMORY
        assert not left.slot.released


async def test_a_clients_detached_session_counts_only_until_it_opens_another() -> None:
    single = Client("the API key single", Allowance(sessions=1), proven=True)
    async with sessions(slots=3) as table:
        call = Call()
        table.leave(table.open(NEW, single, call), call, detach=True)
        table.open(NEW, single, Call())
        with pytest.raises(NoFreeSlotError, match="has 1 sessions"):
            table.open(NEW, single, Call())


async def test_a_slot_is_kept_for_its_time_and_not_longer(clock: Clock) -> None:
    async with sessions(keep_ms=60_000) as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        table.leave(session, call, detach=True)
        clock.advance(30.0)
        await asyncio.sleep(0)
        assert not session.slot.released
        clock.advance(30.0)
        await until(lambda: session.slot.released)
        assert table.resume(again(session, 0), KITCHEN, Call()) is None


async def test_nothing_is_kept_of_a_session_that_was_closed_nor_where_the_worker_keeps_none() -> None:
    for keep_ms, detach in ((60_000, False), (0, True)):
        async with sessions(keep_ms=keep_ms) as table:
            call = Call()
            session = table.open(NEW, KITCHEN, call)
            table.leave(session, call, detach=detach)
            assert session.slot.released


async def test_a_drain_ends_what_is_detached() -> None:
    async with sessions() as table:
        broken, live = Call(), Call()
        first = table.open(NEW, KITCHEN, broken)
        second = table.open(NEW, KITCHEN, live)
        table.leave(first, broken, detach=True)
        table.end_detached()
        assert (first.slot.released, second.slot.released) == (True, False)


async def test_a_session_whose_step_failed_is_not_gone_on_with() -> None:
    async with sessions(runner=StubRunner(2, no_number_on_code=2000)) as table:
        call = Call()
        session = table.open(NEW, KITCHEN, call)
        with pytest.raises(AntiphonError, match="no numbers"):
            await asyncio.wait_for(session.answer(0, np.full(8, 2000, np.int32)), NET_S)
        table.leave(session, call, detach=True)
        assert table.resume(again(session, 0), KITCHEN, Call()) is None


async def test_the_slots_in_reserve_are_for_sessions_of_other_workers_and_nobody_ends_for_them_in_vain() -> None:
    async with sessions(slots=4, reserve=2) as table:
        call = Call()
        own = table.open(NEW, KITCHEN, call)
        table.leave(own, call, detach=True)
        for _ in range(2):  # one of them in the reserve
            table.open(replace(NEW, history=past(3)), GARAGE, Call())
        with pytest.raises(NoFreeSlotError, match="kept for sessions that go on"):
            table.open(NEW, GARAGE, Call())
        assert table.resume(again(own, 0), KITCHEN, Call()) is own


async def test_a_new_session_takes_the_slot_of_one_that_waits_where_the_reserve_stays_whole() -> None:
    async with sessions(slots=3, reserve=1) as table:
        call = Call()
        waiting = table.open(NEW, KITCHEN, call)
        table.leave(waiting, call, detach=True)
        table.open(NEW, GARAGE, Call())
        table.open(NEW, GARAGE, Call())
        assert table.resume(again(waiting, 0), KITCHEN, Call()) is None


async def test_an_edge_that_lets_opened_lie_loses_its_slot_to_another_client_that_needs_one() -> None:
    now_s = 0.0
    async with sessions(slots=2, clock=lambda: now_s) as table:
        deaf, prompt = Call(), Call()
        lying = table.open(NEW, GARAGE, deaf)
        taken = table.open(NEW, GARAGE, prompt)
        with table.opening(taken):
            pass
        with table.opening(lying):
            now_s = 0.24  # the edge may still be taking it
            with pytest.raises(NoFreeSlotError):
                table.open(NEW, KITCHEN, Call())
            now_s = 0.25
            with pytest.raises(NoFreeSlotError):  # who lets one lie gets no other for it
                table.open(NEW, GARAGE, Call())
            table.open(NEW, KITCHEN, Call())
            assert deaf.ended == ["another session needs the slot"]
            table.leave(lying, deaf, detach=False)  # as the call does when it ends
            with pytest.raises(NoFreeSlotError):
                table.open(NEW, KITCHEN, Call())
        assert not prompt.ended


async def test_a_detached_session_is_given_up_before_one_that_is_being_opened() -> None:
    now_s = 0.0
    async with sessions(slots=2, clock=lambda: now_s) as table:
        deaf, gone = Call(), Call()
        lying = table.open(NEW, GARAGE, deaf)
        left = table.open(NEW, GARAGE, gone)
        table.leave(left, gone, detach=True)
        with table.opening(lying):
            now_s = 1.0
            table.open(NEW, KITCHEN, Call())
        assert not deaf.ended
