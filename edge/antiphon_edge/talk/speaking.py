"""Text read aloud: words in as they come, sound out.

`speak` is for a model that only speaks. A text may come slowly, such as a language model's tokens: it is spoken as far
as it is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from antiphon.errors import PreconditionError
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec

AHEAD_S = 0.08  # of live sound: what waits at the speaker beside the frames under way
LIVE_FRAMES = 2  # under way at once while sound is played: more would only wait at the speaker


@dataclass(slots=True)
class Spoken:
    """What `speak` has done."""

    words: int = 0
    frames: int = 0  # of sound
    first_sound_s: float | None = None  # from the first word that was given to the first sound


async def speak(
    session: Session,
    codec: Codec,
    texts: AsyncIterator[tuple[str, int]],
    speaker: Callable[[Pcm], None],
    on_reply: Callable[[Reply], None] = lambda reply: None,
    *,
    live: bool = False,
) -> Spoken:
    """Has the texts said and hands their sound to `speaker`, until all is said.

    Args:
        session: an open session of a model that only speaks.
        codec: the codec that the session was opened with.
        texts: parts of one text as they come, each with the speaker whose turn it is.
        speaker: takes decoded frames [frame_samples] and returns at once.
        on_reply: called with every reply before it is decoded.
        live: a person listens: no more is asked for than is played. Otherwise it goes as fast as the model.

    Raises:
        ArgumentError: there are no words, or some that cannot be said.
        PreconditionError: the model does not read texts aloud.
        AntiphonError: whatever ended the session.
    """
    if session.listens:
        raise PreconditionError(f"speak: {session.model.name} does not read texts aloud: connect to a model that does")
    return await _Reading(session, codec, speaker, on_reply, live).run(texts)


class _Reading:
    """One call of `speak`."""

    def __init__(
        self,
        session: Session,
        codec: Codec,
        speaker: Callable[[Pcm], None],
        on_reply: Callable[[Reply], None],
        live: bool,
    ) -> None:
        self._session, self._codec = session, codec
        self._speaker, self._on_reply = speaker, on_reply
        self._live = live
        self._spoken = Spoken()
        self._began_s: float | None = None  # when the first word was given
        self._played_until_s = 0.0  # when the sound that was handed over will have been heard
        self._under_way = 0  # steps that were asked for and not answered
        self._answered = asyncio.Event()

    async def run(self, texts: AsyncIterator[tuple[str, int]]) -> Spoken:
        with ThreadPoolExecutor(1, "decode") as decoding:
            hearing = asyncio.create_task(self._hear(decoding))
            tasks = [hearing, asyncio.create_task(self._give(texts)), asyncio.create_task(self._ask())]
            running = set(tasks)
            try:
                while not hearing.done():
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in tasks:  # the worker's own reason first: a failed send only follows from it
                        if task.done():
                            task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.end()
        async for _ in self._session:  # to frames for which nothing was left to be said
            continue
        return self._spoken

    async def _give(self, texts: AsyncIterator[tuple[str, int]]) -> None:
        async for text, speaker in texts:
            if self._began_s is None and text.strip():
                self._began_s = time.perf_counter()
            await self._session.say(text, speaker)
        await self._session.finish_saying()

    async def _ask(self) -> None:
        """Asks for one step after the other."""
        while True:
            while self._live and self._spoken.frames and self._under_way >= LIVE_FRAMES:
                self._answered.clear()
                await self._answered.wait()
            if self._live and (ahead_s := self._played_until_s - time.perf_counter()) > AHEAD_S:
                await asyncio.sleep(ahead_s - AHEAD_S)
            self._under_way += 1
            await self._session.send()

    async def _hear(self, thread: ThreadPoolExecutor) -> None:
        """Hands over the sound, until all is said."""
        loop, decoder = asyncio.get_running_loop(), self._codec.decoder()
        async for reply in self._session:
            self._under_way -= 1
            self._answered.set()
            self._on_reply(reply)
            self._spoken.words += reply.said is not None
            if reply.codes is not None:
                pcm = await loop.run_in_executor(thread, decoder.step, reply.codes[: self._codec.spec.codebooks])
                self._play(pcm)
            if reply.said_all:
                return

    def _play(self, pcm: Pcm) -> None:
        now_s = time.perf_counter()
        if self._spoken.first_sound_s is None and self._began_s is not None:
            self._spoken.first_sound_s = now_s - self._began_s
        self._spoken.frames += 1
        self._played_until_s = max(self._played_until_s, now_s) + self._codec.spec.frame_s
        self._speaker(pcm)
