"""A session's frames and replies, without a network: bounded, in order, each answered once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from antiphon.errors import ProtocolError, SequenceError, UnavailableError
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.events import Reply, Totals
from antiphon_edge.client.journal import Journal
from tools.harness.stub_runner import SPEC

BACKLOG = 3


def packed(number: int) -> bytes:
    return SPEC.user_packer.pack(np.full(8, number, np.int32))


def reply(number: int) -> pb.ConverseResponse:
    codes = b"" if number < SPEC.delay_steps else SPEC.model_packer.pack(np.full(8, 100 + number, np.int32))
    return pb.ConverseResponse(codes=codes, text_token=number)


def journal(in_flight: int = 4) -> Journal:
    return Journal(SPEC, Limits(1, max_frames_in_flight=in_flight), BACKLOG)


async def taken(log: Journal) -> Reply:
    found = await asyncio.wait_for(log.next_reply(), 10)
    assert found is not None
    return found


async def test_codes_that_a_reply_cannot_have_are_not_kept() -> None:
    """A row of another length would make the rest of the history mean something else."""
    log = journal()
    log.append(packed(0))
    log.answer(pb.ConverseResponse(codes=b"\x01" * 5))
    assert len(log.history.row(0)) == len(log.history.to_message().rows) == log.history.layout.size_bytes


async def test_replies_answer_the_frames_in_their_order() -> None:
    log = journal()
    assert [log.append(packed(number)) for number in range(3)] == [0, 1, 2]
    assert [log.send(number) for number in range(3)] == [packed(number) for number in range(3)]
    for number in range(3):
        log.answer(reply(number))
    heard = [await taken(log) for _ in range(3)]
    assert [each.sequence for each in heard] == [0, 1, 2]
    assert [None if each.codes is None else int(each.codes[0]) for each in heard] == [None, 101, 102]
    assert log.all_answered


async def test_a_reply_says_whether_the_person_has_come_to_a_pause() -> None:
    log = journal()
    for number in range(SPEC.delay_steps + 3):
        log.append(packed(number))
    for number in range(SPEC.delay_steps):
        log.answer(reply(number))
        await taken(log)
    log.answer(reply(SPEC.delay_steps))
    assert (await taken(log)).pause is None
    heard = reply(SPEC.delay_steps + 1)
    heard.pause = 0.75
    log.answer(heard)
    assert (await taken(log)).pause == 0.75
    heard.pause = float("nan")
    with pytest.raises(ProtocolError, match="pause: nan is no probability"):
        log.answer(heard)


async def test_room_is_there_again_when_a_reply_is_taken_and_not_before() -> None:
    log = journal(in_flight=2)
    for number in range(2):
        await log.wait_for_room()
        log.append(packed(number))
    third = asyncio.create_task(log.wait_for_room())
    log.answer(reply(0))
    await asyncio.sleep(0)
    assert not third.done()
    await taken(log)
    await asyncio.wait_for(third, 10)


async def test_an_answered_frame_goes_out_again_from_the_history() -> None:
    log = journal()
    for number in range(2):
        log.append(packed(number))
    log.answer(reply(0))
    assert [log.send(0), log.send(1)] == [packed(0), packed(1)]


async def test_live_frames_that_nobody_takes_go_oldest_first_but_what_was_sent_stays() -> None:
    log = journal()
    log.append_live(packed(0))
    log.send(0)  # the worker has it, perhaps: sent again, it must be the same
    for number in range(1, 6):
        log.append_live(packed(number))
    assert log.dropped_frames == 2
    assert [log.send(number) for number in range(4)] == [packed(number) for number in (0, 3, 4, 5)]


async def test_after_the_end_no_frame_is_taken_and_the_last_reply_is_followed_by_none() -> None:
    log = journal()
    log.append(packed(0))
    log.ending = True
    with pytest.raises(SequenceError, match="send after end"):
        await log.wait_for_room()
    log.answer(reply(0))
    log.close(Totals(1))
    assert (await taken(log)).sequence == 0
    assert await log.next_reply() is None


async def test_who_waits_hears_the_first_reason_why_the_session_ended() -> None:
    log = journal(in_flight=1)
    log.append(packed(0))
    waiting = [asyncio.ensure_future(log.wait_for_room()), asyncio.ensure_future(log.next_reply())]
    await asyncio.sleep(0)
    log.fail(UnavailableError("lost the worker"))
    log.abandon(SequenceError("the session has ended"))
    for task in waiting:
        with pytest.raises(UnavailableError, match="lost the worker"):
            await task
