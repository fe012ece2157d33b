"""A session's frames and replies, without a network: bounded, in order, each answered once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from antiphon.errors import SequenceError, UnavailableError
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.events import Reply, Totals
from antiphon_edge.client.journal import Exchange
from tools.harness.stub_runner import SPEC

BACKLOG = 3


def packed(number: int) -> bytes:
    return SPEC.user_packer.pack(np.full(8, number, np.int32))


def reply(number: int) -> pb.ConverseResponse:
    codes = b"" if number < SPEC.delay_steps else SPEC.model_packer.pack(np.full(8, 100 + number, np.int32))
    return pb.ConverseResponse(codes=codes, text_token=number)


def exchange(in_flight: int = 4) -> Exchange:
    return Exchange(SPEC, Limits(1, max_frames_in_flight=in_flight), BACKLOG)


async def taken(talk: Exchange) -> Reply:
    found = await asyncio.wait_for(talk.take(), 10)
    assert found is not None
    return found


async def test_replies_answer_the_frames_in_their_order() -> None:
    talk = exchange()
    assert [talk.give(packed(number)) for number in range(3)] == [0, 1, 2]
    assert [talk.send(number) for number in range(3)] == [packed(number) for number in range(3)]
    for number in range(3):
        talk.answer(reply(number))
    heard = [await taken(talk) for _ in range(3)]
    assert [each.sequence for each in heard] == [0, 1, 2]
    assert [None if each.codes is None else int(each.codes[0]) for each in heard] == [None, 101, 102]
    assert talk.all_answered


async def test_room_is_there_again_when_a_reply_is_taken_and_not_before() -> None:
    talk = exchange(in_flight=2)
    for number in range(2):
        await talk.room()
        talk.give(packed(number))
    third = asyncio.create_task(talk.room())
    talk.answer(reply(0))
    await asyncio.sleep(0)
    assert not third.done()
    await taken(talk)
    await asyncio.wait_for(third, 10)


async def test_an_answered_frame_goes_out_again_from_the_history() -> None:
    talk = exchange()
    for number in range(2):
        talk.give(packed(number))
    talk.answer(reply(0))
    assert [talk.send(0), talk.send(1)] == [packed(0), packed(1)]


async def test_live_frames_that_nobody_takes_go_oldest_first_but_what_was_sent_stays() -> None:
    talk = exchange()
    talk.give_live(packed(0))
    talk.send(0)  # the worker has it, perhaps: sent again, it must be the same
    for number in range(1, 6):
        talk.give_live(packed(number))
    assert talk.dropped_frames == 2
    assert [talk.send(number) for number in range(4)] == [packed(number) for number in (0, 3, 4, 5)]


async def test_after_the_end_no_frame_is_taken_and_the_last_reply_is_followed_by_none() -> None:
    talk = exchange()
    talk.give(packed(0))
    talk.ending = True
    with pytest.raises(SequenceError, match="send after end"):
        await talk.room()
    talk.answer(reply(0))
    talk.close(Totals(1))
    assert (await taken(talk)).sequence == 0
    assert await talk.take() is None


async def test_who_waits_hears_the_first_reason_why_the_session_ended() -> None:
    talk = exchange(in_flight=1)
    talk.give(packed(0))
    waiting = [asyncio.ensure_future(talk.room()), asyncio.ensure_future(talk.take())]
    await asyncio.sleep(0)
    talk.fail(UnavailableError("lost the worker"))
    talk.abandon(SequenceError("the session has ended"))
    for task in waiting:
        with pytest.raises(UnavailableError, match="lost the worker"):
            await task
