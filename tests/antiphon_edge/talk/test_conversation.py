"""The way of a frame at the edge, against a session that only remembers what it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from antiphon.codes import Codes
from antiphon.spec import ModelSpec, Sampling
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.errors import AudioFileError
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.hearing import Hearing
from antiphon_edge.talk.sources import READ_AHEAD, in_thread, paced
from tests.support.fake_device import FakeTime

FRAME = 1920
LISTENS = ModelSpec(
    "tiny", "stt", 8, 0, 2048, 256, 0, 40, Sampling(), "float32", silence_before_ms=100, silence_after_ms=1500
)
SPEAKS = replace(LISTENS, model_type="moshi", model_codebooks=8, silence_before_ms=0, silence_after_ms=0)


@dataclass
class FakeSession:
    """Answers every frame at once, without codes."""

    model: ModelSpec
    totals: None = None
    sent: list[tuple[str, Codes]] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self._replies: asyncio.Queue[Reply | None] = asyncio.Queue()

    def send_live(self, codes: Codes, how: str = "live") -> None:
        self.sent.append((how, codes))
        self._replies.put_nowait(Reply(len(self.sent) - 1, None, 3, "", 0.01))

    async def send(self, codes: Codes) -> None:
        self.send_live(codes, "waiting")

    async def end(self) -> None:
        self.ended = True
        self._replies.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self._replies.get()) is not None:
            yield reply


@pytest.fixture(scope="module")
def codec(tiny_codec: Path) -> Codec:
    return Codec.load(tiny_codec)


@pytest.mark.parametrize("live", [False, True])
async def test_a_model_that_listens_is_given_its_silence(codec: Codec, live: bool) -> None:
    session = FakeSession(LISTENS)
    said = np.random.default_rng(0).uniform(-0.3, 0.3, (5, FRAME)).astype(np.float32)
    conversation = await talk(cast(Session, session), codec, paced(said, 0), lambda pcm: None, live=live)
    assert session.ended
    expected = list(Hearing(codec, LISTENS).codes(said))
    assert len(expected) == -(-(FRAME + 2_400 + 5 * FRAME + 36_000) // FRAME) == conversation.frames_up
    np.testing.assert_array_equal([codes for _, codes in session.sent], expected)
    # Silence at the end comes faster than a live session takes frames: it waits, and none of it is dropped.
    how = [how for how, _ in session.sent]
    flushed = len(how) - (FRAME + 2_400 + 5 * FRAME) // FRAME
    assert how == ["live" if live else "waiting"] * (len(how) - flushed) + ["waiting"] * flushed


async def test_a_model_that_speaks_is_given_what_was_said_and_no_more(codec: Codec) -> None:
    session = FakeSession(SPEAKS)
    said = np.random.default_rng(0).uniform(-0.3, 0.3, (5, FRAME)).astype(np.float32)
    await talk(cast(Session, session), codec, paced(said, 0), lambda pcm: None)
    np.testing.assert_array_equal([c for _, c in session.sent], list(Hearing(codec, SPEAKS).codes(said)))
    assert len(session.sent) == 5


async def test_a_file_is_paced_and_a_pipe_may_run_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeTime(monkeypatch)
    loop = asyncio.get_running_loop()
    start = loop.time()
    at: dict[float, list[float]] = {0.0: [], 0.2: []}

    async def listen(ahead_s: float) -> None:
        async for _ in paced(np.zeros((4, FRAME), np.float32), 0.08, ahead_s):
            at[ahead_s].append(round(loop.time() - start, 2))

    async with asyncio.TaskGroup() as tasks:
        for ahead_s in at:
            tasks.create_task(listen(ahead_s))
        await time.settle()
        await time.watch(0.4)
    assert at == {0.0: [0.08, 0.16, 0.24, 0.32], 0.2: [0.0, 0.0, 0.08, 0.16]}


async def test_a_pipe_is_read_by_a_thread_that_keeps_little_ahead() -> None:
    read: list[int] = []
    waiting = threading.Event()

    def source() -> Iterator[Pcm]:
        for number in range(20):
            read.append(number)
            if number == READ_AHEAD:
                waiting.set()
            yield np.full(FRAME, number, np.float32)

    frames = in_thread(source())
    first = await anext(frames)
    assert first[0] == 0
    assert await asyncio.to_thread(waiting.wait, 10)
    assert len(read) <= READ_AHEAD + 1
    assert [int(frame[0]) async for frame in frames] == list(range(1, 20))


async def test_what_goes_wrong_in_the_thread_reaches_the_reader() -> None:
    def source() -> Iterator[Pcm]:
        yield np.zeros(FRAME, np.float32)
        raise AudioFileError("the pipe is damaged")

    frames: Any = in_thread(source())
    await anext(frames)
    with pytest.raises(AudioFileError, match="the pipe is damaged"):
        await anext(frames)


async def test_the_thread_ends_when_nobody_reads_on() -> None:
    def source() -> Iterator[Pcm]:
        while True:
            yield np.zeros(FRAME, np.float32)

    frames = in_thread(source())
    await anext(frames)
    (thread,) = [t for t in threading.enumerate() if t.name == "antiphon-pipe"]
    await frames.aclose()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
