"""Text read aloud, and a conversation in writing, as an application has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from antiphon.errors import ArgumentError, PreconditionError, SequenceError
from antiphon_edge import blocking
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply
from antiphon_edge.talk.speaking import speak
from antiphon_edge.talk.writing import ask
from tests.support.servers import CODEC
from tests.support.speakers import BABBLE, SAY_BYTES, reader, speaking, talker


class Codec:
    """Sound whose samples are the first code."""

    spec = CODEC

    def decoder(self) -> Codec:
        return self

    def step(self, codes: Sequence[int]) -> Pcm:
        return np.full(CODEC.frame_samples, codes[0], np.float32)


NUMBERS: Any = Codec()


async def parts(*given: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
    for part in given:
        yield part


async def test_a_text_is_spoken_while_it_comes() -> None:
    """As a language model writes it: the next part comes when the last has been heard."""
    replies: list[Reply] = []
    heard: list[Pcm] = []
    spoken = asyncio.Event()

    async def written() -> AsyncIterator[tuple[str, int]]:
        yield "one two", 0
        yield " three four", 0
        await asyncio.wait_for(spoken.wait(), 20)
        yield " five", 1

    def on_reply(reply: Reply) -> None:
        replies.append(reply)
        if reply.said is not None:
            spoken.set()

    async with speaking(reader()) as address, connect(address, CODEC, seed=6, sampling=BABBLE) as session:
        done = await speak(session, NUMBERS, written(), heard.append, on_reply)
        assert session.totals is not None
    assert [(reply.said.text, reply.said.speaker) for reply in replies if reply.said is not None] == [
        ("one", 0), ("two", 0), ("three", 0), ("four", 0), ("five", 1),
    ]  # fmt: skip
    assert replies[-1].said_all
    assert (done.words, done.frames) == (5, len(heard))
    assert [pcm[0] for pcm in heard] == [reply.codes[0] for reply in replies if reply.codes is not None]


async def test_it_sounds_the_same_live_as_fast_or_slow() -> None:
    async with speaking(reader()) as address:
        tracks = []
        for live in (True, False):
            heard: list[Pcm] = []
            async with connect(address, CODEC, seed=6, sampling=BABBLE) as session:
                await speak(session, NUMBERS, parts(("hi", 0)), heard.append, live=live)
            tracks.append([pcm[0] for pcm in heard])
    assert tracks[0] == tracks[1]


async def test_a_text_without_words_is_refused() -> None:
    async with speaking(reader()) as address, connect(address, CODEC) as session:
        with pytest.raises(ArgumentError, match=r"^say\.end: the text that ends here has no words"):
            await speak(session, NUMBERS, parts((" \n", 0)), lambda pcm: None)


async def test_a_model_that_listens_reads_nothing_aloud() -> None:
    async with speaking(talker()) as address, connect(address, CODEC) as session:
        with pytest.raises(PreconditionError, match=r"^speak: micro does not read texts aloud"):
            await speak(session, NUMBERS, parts(("one", 0)), lambda pcm: None)


async def test_a_model_answers_in_writing() -> None:
    answers = []
    async with speaking(talker()) as address:
        for question in ("who are you?", "why are you?"):
            async with connect(address, CODEC, seed=6, mode="text") as session:
                answers.append([text async for text in ask(session, question, longest=40)])
    assert [len(answer) for answer in answers] == [40, 40]
    assert answers[0] != answers[1]


async def test_only_a_conversation_in_writing_is_asked() -> None:
    async with speaking(talker()) as address, connect(address, CODEC) as session:
        with pytest.raises(PreconditionError, match=r'^ask: .* connect with mode="text"$'):
            await anext(ask(session, "who are you?"))


async def test_a_script_without_asyncio_has_words_said() -> None:
    def script(address: str) -> list[str]:
        words = []
        with blocking.connect(address, CODEC, seed=6, sampling=BABBLE) as session:
            with pytest.raises(SequenceError, match=r"^exchange: the worker waits for words"):
                session.exchange()
            with pytest.raises(SequenceError, match=rf"^say: more than {SAY_BYTES} bytes would wait"):
                session.say("word " * SAY_BYTES)
            session.say("one two")
            session.finish_saying()
            while True:
                reply = session.exchange()
                words += [reply.said.text] if reply.said is not None else []
                if reply.said_all:
                    return words

    async with speaking(reader()) as address:
        assert await asyncio.to_thread(script, address) == ["one", "two"]
