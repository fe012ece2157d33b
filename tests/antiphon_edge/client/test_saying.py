"""A session that is given words to say: in a dialogue, by a model that only speaks, and in writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from antiphon.errors import ArgumentError, NotSupportedError, PreconditionError
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply, SpokenWord
from antiphon_edge.client.session import Session
from tests.support.conversations import QUICK
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.speakers import BABBLE, LISTENER, READER, SAY_BYTES, SOUND_DELAY, reader, speaking, talker
from tools.harness.relay import Relay, relay
from tools.harness.stub_runner import StubRunner

STEPS = 90
TEXT = 'one twothree four <break time="0.5s"/> five sixseven eight, nine. ten '


@dataclass(frozen=True)
class Heard:
    """What a reply brings."""

    text_token: int | None
    codes: tuple[int, ...] | None
    said: SpokenWord | None
    said_all: bool

    @classmethod
    def of(cls, reply: Reply) -> Heard:
        codes = None if reply.codes is None else tuple(reply.codes.tolist())
        return cls(reply.text_token, codes, reply.said, reply.said_all)


async def step(session: Session, number: int) -> Reply:
    """A frame and its reply."""
    codes = np.array([number % 24, 3 * number % 24], np.int32)
    await session.send(codes if session.listens else ())
    reply = await asyncio.wait_for(session.receive(), 20)
    assert reply is not None
    return reply


async def until_all_is_said(session: Session) -> list[Reply]:
    """The replies to the end of a text."""
    replies = [await step(session, 0)]
    while not replies[-1].said_all:
        replies.append(await step(session, len(replies)))
    return replies


async def conversation(
    address: str, mode: str, breaks: Sequence[int] = (), network: Relay | None = None
) -> tuple[list[Heard], int]:
    """All that is heard of two texts, and how often the session went on elsewhere."""
    heard = []
    given: dict[int, Callable[[Session], Any]] = {
        7: lambda session: session.say(TEXT),
        8: lambda session: session.finish_saying(),
        9: lambda session: session.say("again", int(mode == "speech")),
        10: lambda session: session.finish_saying(),
    }
    async with connect(address, CODEC, seed=6, mode=mode, sampling=BABBLE, reconnect=QUICK) as session:
        for number in range(STEPS):
            if mode != "dialogue" and number == 0:
                for give in given.values():
                    await give(session)
            elif mode == "dialogue" and number in given:
                await given[number](session)
            if number in breaks:
                assert network is not None
                network.cut()
            heard.append(Heard.of(await step(session, number)))
        return heard, session.resumptions


@pytest.mark.parametrize("kept", [False, True], ids=["rebuilt", "in the slot that was kept"])
@pytest.mark.parametrize(("mode", "model"), [("speech", reader), ("dialogue", talker), ("text", talker)])
async def test_wherever_the_stream_breaks_what_is_heard_is_the_same(
    mode: str, model: Callable[[], ModelRunner], kept: bool
) -> None:
    async with speaking(model(), keep_slot_ms=60_000 if kept else 0) as address, relay(address) as network:
        unbroken, _ = await conversation(network.address, mode)
        assert sum(heard.said is not None for heard in unbroken) >= 7
        for first in (3, 6) if kept else range(1, 8):
            breaks = range(first, STEPS, 7)  # each step once where the session is rebuilt
            heard, resumptions = await conversation(network.address, mode, breaks, network)
            assert heard == unbroken, breaks
            assert resumptions == len(breaks)


async def test_a_long_script_goes_on_from_what_is_kept_of_it() -> None:
    async with speaking(reader()) as address, relay(address) as network:

        async def read_aloud(breaks: Sequence[int]) -> list[Heard]:
            async with connect(network.address, CODEC, seed=6, sampling=BABBLE, reconnect=QUICK) as session:
                await session.say("ab c " * 200)
                heard = []
                for number in range(800):
                    if number in breaks:
                        assert session.history.script.to_message(number).start > 0
                        network.cut()
                    heard.append(Heard.of(await step(session, number)))
                assert session.resumptions == len(breaks)
                return heard

        assert await read_aloud([650, 700, 777]) == await read_aloud([])


async def test_words_are_told_with_the_times_of_their_sound() -> None:
    async with speaking(reader()) as address, connect(address, CODEC, seed=6, sampling=BABBLE) as session:
        await session.say("hello ")
        await session.say('there <break time="0.5s"/>')
        await session.say("friend", speaker=1)
        await session.finish_saying()
        replies = await until_all_is_said(session)
    words = [reply.said for reply in replies if reply.said is not None]
    assert [(word.text, word.speaker) for word in words] == [("hello", 0), ("there", 0), ("friend", 1)]
    assert [word.start_s for word in words] == [
        pytest.approx(reply.sequence * CODEC.frame_s) for reply in replies if reply.said is not None
    ]
    (end,) = [reply.sequence for reply in replies if reply.said_all]
    assert end == replies[-1].sequence
    assert words[-1].start_s < (end - SOUND_DELAY) * CODEC.frame_s
    silent = READER.max_delay + SOUND_DELAY
    assert [reply.codes is None for reply in replies] == [True] * silent + [False] * (len(replies) - silent)


async def test_the_first_sound_comes_three_steps_after_the_delay_of_sound() -> None:
    """The delays of the codebooks are part of the three."""
    async with speaking(reader()) as address, connect(address, CODEC, seed=6) as session:
        await session.say("hello")
        await session.finish_saying()
        replies = await until_all_is_said(session)
    begun = next(reply.sequence for reply in replies if reply.said is not None)
    first_sound = next(reply.sequence for reply in replies if reply.codes is not None)
    assert begun + 1 <= 3
    assert first_sound + 1 <= SOUND_DELAY + 3


async def test_frames_wait_for_words_and_are_answered_once_they_are_known() -> None:
    async with speaking(reader()) as address, connect(address, CODEC, seed=6) as session:
        for _ in range(3):
            await session.send()
        waiting = asyncio.ensure_future(session.receive())
        await session.say("hel")
        await session.say("lo one ")
        assert session.stalled_s == 0, "a worker that waits for words is not lost"
        assert not waiting.done()
        await session.finish_saying()
        assert (await asyncio.wait_for(waiting, 20)) is not None
        assert [(await asyncio.wait_for(session.receive(), 20)) is not None for _ in range(2)] == [True, True]


async def test_ending_the_session_completes_the_text_and_answers_the_frames_that_wait() -> None:
    async with speaking(reader()) as address, connect(address, CODEC, seed=6) as session:
        for _ in range(8):
            await session.send()
        await session.say("hello")
        await session.end()
        replies = [reply async for reply in session]
    assert len(replies) == 8
    assert [reply.said.text for reply in replies if reply.said is not None] == ["hello"]
    assert session.totals is not None
    assert session.totals.frames == 8


async def test_a_session_that_is_given_nothing_ends_all_the_same() -> None:
    async with speaking(reader()) as address, connect(address, CODEC, seed=6) as session:
        await session.send()
        await session.end()
        assert [reply.said async for reply in session] == [None]


async def test_ten_megabytes_wait_at_the_edge_until_the_worker_has_room() -> None:
    text = "word " * 2_000_000
    async with speaking(reader()) as address, connect(address, CODEC, seed=6, sampling=BABBLE) as session:
        saying = asyncio.ensure_future(session.say(text))
        replies = [await step(session, number) for number in range(200)]
        assert sum(reply.said is not None for reply in replies) > 15
        assert not saying.done()
        given = session.history.script
        assert sum(len(given[number].text) for number in range(len(given))) <= 3 * SAY_BYTES
        saying.cancel()


async def test_a_session_that_ends_ends_the_wait_for_room() -> None:
    async with speaking(reader()) as address:
        async with connect(address, CODEC, seed=6) as session:
            saying = asyncio.ensure_future(session.say("word " * 100_000))
            await step(session, 0)
        with pytest.raises(Exception, match="has ended"):
            await asyncio.wait_for(saying, 20)


async def test_words_that_are_given_while_others_are_said_are_said_after_them() -> None:
    async with speaking(talker()) as address, connect(address, CODEC, seed=6, sampling=BABBLE) as session:
        await session.say("first words")
        await session.finish_saying()
        for number in range(3):
            await step(session, number)
        await session.say("second text")
        await session.finish_saying()
        replies = [await step(session, number) for number in range(3, 100)]
    events = [reply.said.text if reply.said else "all" for reply in replies if reply.said or reply.said_all]
    assert events == ["words", "all", "second", "text", "all"]


async def test_in_writing_only_text_comes() -> None:
    async with speaking(talker()) as address, connect(address, CODEC, seed=6, mode="text", sampling=BABBLE) as session:
        await session.say("who are you?")
        await session.finish_saying()
        replies = [await step(session, number) for number in range(20)]
    assert all(reply.codes is None for reply in replies)
    assert [reply.said.text for reply in replies if reply.said] == ["who", "are", "you?"]
    assert len(session.history.to_message().rows) == len(session.history), "a token a step, of a byte, and nothing else"


async def test_a_model_that_only_listens_is_given_no_words() -> None:
    runner = StubRunner(spec=LISTENER)
    async with stub_server(StubOptions(runner)) as server, connect(server.address, CODEC) as session:
        with pytest.raises(PreconditionError, match=r"^say: stub only listens$"):
            await session.say("hello")


async def test_a_worker_of_an_older_version_is_given_no_words() -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:
        with pytest.raises(
            NotSupportedError, match=r"^say: this worker takes no words to say: it is of an older version"
        ):
            await session.say("hello")


@pytest.mark.parametrize(
    ("say", "error"),
    [
        (lambda session: session.say("hello", speaker=2), r"^speaker: 2 is outside \[0, 2\), the model's speakers$"),
        (lambda session: session.say('<break time="31536000s"/>'), r"^say.text: a pause of 31536000 s, longer than 60"),
        (lambda session: session.say("x" * 10_000_000), r"^say.text: 'x{20}'… has more than 512 characters"),
        (lambda session: session.say(b"hello"), r"^text: expected str, got a bytes$"),
        (lambda session: session.say("\ud800"), r"^text: what no UTF-8 holds, at character 0$"),
        (lambda session: session.finish_saying(), r"^say.end: the text that ends here has no words"),
    ],
    ids=["a speaker too many", "a pause of a year", "no white space", "bytes", "half a character", "no words"],
)
async def test_what_cannot_be_said_is_not_sent_and_the_session_goes_on(
    say: Callable[[Session], Any], error: str
) -> None:
    async with speaking(reader()) as address, connect(address, CODEC, seed=6) as session:
        with pytest.raises(ArgumentError, match=error):
            await say(session)
        await session.say("hello")
        await session.finish_saying()
        replies = [await step(session, number) for number in range(4)]
    assert [reply.said.text for reply in replies if reply.said is not None] == ["hello"]
