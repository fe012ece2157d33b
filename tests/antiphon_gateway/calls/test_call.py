"""A caller's call: what the model hears when the caller is late, early or gone, and what a slow reader costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from antiphon.errors import AntiphonError, UnavailableError
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reconnecting, Resumed
from antiphon_gateway.calls import call as module
from antiphon_gateway.calls.call import AHEAD_S, EVENTS, Call, Manner
from antiphon_gateway.calls.events import Ended, Event, Frame, Moved
from antiphon_gateway.errors import SlowClientError
from tests.support.fake_sessions import FakeCodec, FakeSession, NoThreads
from tests.support.virtual_time import virtual_time

FRAME, FRAME_S, GRACE_S = 1920, 0.08, 0.16


def voice(frames: float, level: float = 0.5) -> Pcm:
    return np.full(round(frames * FRAME), level, np.float32)


@asynccontextmanager
async def calling(session: FakeSession, manner: Manner) -> AsyncIterator[Call]:
    fakes: tuple[Any, Any, Any] = session, FakeCodec(), NoThreads()
    call = Call(*fakes, manner)
    call.start()
    try:
        yield call
    finally:
        await call.stop()


async def all_of(call: Call) -> list[Event]:
    return [event async for event in call.events()]


def test_the_model_hears_what_is_said_at_once_and_then_ends_with_its_last_reply() -> None:
    async def scene() -> tuple[FakeSession, list[Event]]:
        session = FakeSession()
        async with calling(session, Manner()) as call:
            await call.send_pcm(voice(2.5))
            call.end()
            return session, await all_of(call)

    with virtual_time() as loop:
        session, events = loop.run(scene())
    assert [level for _, level in session.heard] == [50, 50, 50]  # the last one is padded
    assert [type(event) for event in events] == [Frame, Frame, Frame, Ended]
    assert isinstance(events[0], Frame)
    assert events[0].pcm is not None
    assert len(events[0].pcm) == FRAME


def test_a_late_caller_is_waited_for_and_then_silence_is_heard_a_frame_every_80_ms() -> None:
    async def scene() -> list[tuple[float, float]]:
        session = FakeSession()
        async with calling(session, Manner(grace_s=GRACE_S)) as call:
            reading = asyncio.create_task(all_of(call))
            await call.send_pcm(voice(1))
            await asyncio.sleep(0.2)  # within what it lasts and the grace
            await call.send_pcm(voice(1))
            await asyncio.sleep(FRAME_S + GRACE_S + 2.5 * FRAME_S)
            reading.cancel()
            return session.heard

    with virtual_time() as loop:
        heard = loop.run(scene())
    start = heard[0][0]
    assert [level for _, level in heard] == [50, 50, 0, 0, 0]
    assert [at - start for at, _ in heard] == pytest.approx([0, 0.2, 0.44, 0.52, 0.6])


def test_half_a_frame_puts_off_the_silence_that_completes_it() -> None:
    async def scene() -> list[tuple[float, float]]:
        session = FakeSession()
        async with calling(session, Manner(grace_s=GRACE_S)) as call:
            reading = asyncio.create_task(all_of(call))
            await call.send_pcm(voice(1))
            await asyncio.sleep(0.2)
            await call.send_pcm(voice(0.5, level=0.3))
            await asyncio.sleep(FRAME_S / 2 + GRACE_S + 0.01)
            reading.cancel()
            return session.heard

    with virtual_time() as loop:
        heard = loop.run(scene())
    assert [level for _, level in heard] == [50, 30]
    assert heard[1][0] - heard[0][0] == pytest.approx(0.4)


def test_a_caller_whose_frames_are_the_clock_makes_the_model_wait() -> None:
    async def scene() -> int:
        session = FakeSession()
        async with calling(session, Manner()) as call:
            await call.send_pcm(voice(1))
            await asyncio.sleep(60)
            return len(session.heard)

    with virtual_time() as loop:
        assert loop.run(scene()) == 1


def test_who_sends_a_file_waits_until_there_is_room_and_loses_nothing() -> None:
    frames = 100

    async def scene() -> tuple[int, int, int]:
        session = FakeSession()
        session.held.clear()
        async with calling(session, Manner(live=True)) as call:
            call.on_change(Reconnecting("gone"))
            reading = asyncio.create_task(all_of(call))
            sending = asyncio.create_task(_send(call, frames))
            await asyncio.sleep(30)
            waited = not sending.done()
            call.on_change(Resumed("there", 30.0, 0))
            session.held.set()
            await sending
            call.end()
            await reading
            return int(waited), len(session.heard), call.dropped_samples

    with virtual_time() as loop:
        assert loop.run(scene()) == (1, frames, 0)


async def _send(call: Call, frames: int) -> None:
    for _ in range(frames):
        await call.send_pcm(voice(1))


def test_of_a_live_caller_whom_nobody_hears_the_last_two_seconds_are_kept() -> None:
    async def scene() -> tuple[int, int]:
        session = FakeSession()
        session.held.clear()
        async with calling(session, Manner(live=True)) as call:
            call.on_change(Reconnecting("gone"))
            for number in range(100):
                await asyncio.sleep(FRAME_S)
                await call.send_pcm(voice(1, number / 100))
            call.on_change(Resumed("there", 8.0, 0))
            session.held.set()
            await asyncio.sleep(0.01)
            return len(session.heard), call.dropped_samples // FRAME

    with virtual_time() as loop:
        heard, dropped = loop.run(scene())
    assert heard + dropped == 100
    assert heard <= AHEAD_S / FRAME_S + 1


def test_after_an_outage_a_live_callers_late_sound_is_left_out_and_its_text_is_not() -> None:
    async def scene() -> list[Event]:
        session = FakeSession()
        async with calling(session, Manner(live=True)) as call:
            for number in range(6):
                if number == 3:
                    call.on_change(Reconnecting("gone"))
                    call.on_change(Resumed("there", 1.0, 0))
                session.round_trip_s = 1.0 if number in (3, 4) else 0.01
                await call.send_pcm(voice(1))
                await asyncio.sleep(FRAME_S)
            call.end()
            return await all_of(call)

    with virtual_time() as loop:
        events = loop.run(scene())
    frames = [event for event in events if isinstance(event, Frame)]
    assert [frame.pcm is not None for frame in frames] == [True, True, True, False, False, True]
    assert [frame.reply.text for frame in frames] == [f" {number}" for number in range(6)]
    assert [type(event.change) for event in events if isinstance(event, Moved)] == [Reconnecting, Resumed]


def test_sound_that_is_late_for_another_reason_is_heard() -> None:
    async def scene() -> list[Event]:
        session = FakeSession()
        async with calling(session, Manner(live=True)) as call:
            for round_trip_s in (0.01, 1.0):
                session.round_trip_s = round_trip_s
                await call.send_pcm(voice(1))
                await asyncio.sleep(FRAME_S)
            call.end()
            return await all_of(call)

    with virtual_time() as loop:
        events = loop.run(scene())
    assert [event.pcm is not None for event in events if isinstance(event, Frame)] == [True, True]


def test_who_reads_nothing_makes_the_model_wait_and_ends_the_call_in_the_end() -> None:
    async def scene() -> list[Event]:
        session = FakeSession()
        async with calling(session, Manner()) as call:
            for _ in range(EVENTS + 1):
                await call.send_pcm(voice(1))
            await asyncio.sleep(module.READER_S + 1)
            return await all_of(call)

    with virtual_time() as loop:
        events = loop.run(scene())
    (ended,) = [event for event in events if isinstance(event, Ended)]
    assert isinstance(ended.error, SlowClientError)
    assert "has read nothing for" in str(ended.error)


def test_the_calls_own_error_is_its_last_event() -> None:
    async def scene() -> list[Event]:
        session = FakeSession()
        async with calling(session, Manner(grace_s=GRACE_S)) as call:
            session.fail(UnavailableError("no worker was found in time"))
            return await all_of(call)

    with virtual_time() as loop:
        (ended,) = loop.run(scene())
    assert isinstance(ended, Ended)
    assert str(ended.error) == "no worker was found in time"


def test_samples_that_are_none_are_refused_and_the_call_goes_on() -> None:
    async def scene() -> int:
        session = FakeSession()
        async with calling(session, Manner()) as call:
            with pytest.raises(AntiphonError, match="not numbers"):
                await call.send_pcm(np.full(FRAME, np.nan, np.float32))
            await call.send_pcm(voice(1))
            await asyncio.sleep(0)
            return len(session.heard)

    with virtual_time() as loop:
        assert loop.run(scene()) == 1
