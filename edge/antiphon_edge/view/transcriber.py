"""The person's own words: a second session, on a worker whose model only listens, hears what the first one hears.

Nothing here is waited for, and nothing that goes wrong ends the conversation: frames that this is too slow for are
dropped and counted, and a worker that is lost is looked for again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from antiphon.errors import AntiphonError, PreconditionError
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.connect import connect
from antiphon_edge.client.describe import describe
from antiphon_edge.client.events import Change, Reconnecting, Reply, Resumed
from antiphon_edge.client.reconnect import LIVE
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.transcript.pauses import Pauses
from antiphon_edge.transcript.words import Words
from antiphon_edge.transport.credentials import Credentials
from antiphon_edge.view.watcher import Watcher

WAITING_FRAMES = 25  # 2 s
READY_S = 5.0  # so long the conversation waits for the codec at first: to load it later would disturb the sound
AGAIN_S = 5.0
LAST_WORDS_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is to write down what the person says.

    Args:
        address: HOST:PORT of a worker whose model only listens.
        credentials: TLS and API key.
        pull: fetches the encoder that it wants, and gives the folder.
        rate_hz: of the frames.
        threads: for the encoder.
    """

    address: str
    credentials: Credentials
    pull: Callable[[], Awaitable[Path]]
    rate_hz: int
    threads: int = 1


class Transcriber:
    """Writes down the frames that it is given.

    Args:
        listener: by whom.
        watcher: told of the words, and of what becomes of the worker.
    """

    def __init__(self, listener: Listener, watcher: Watcher) -> None:
        self._listener = listener
        self._watcher = watcher
        self._frames: asyncio.Queue[Pcm | None] = asyncio.Queue(WAITING_FRAMES + 1)  # full: drop the oldest frame
        self._ended = False
        self._codec: Codec | None = None
        self.ready = asyncio.Event()
        """The codec is loaded, or cannot be for now."""
        self._session: Session | None = None
        self._dropped = 0
        self._taken = 0
        """Frames that were given to a session, or dropped."""

    @property
    def dropped_frames(self) -> int:
        """Frames that were not written down."""
        return self._dropped + (0 if self._session is None else self._session.dropped_frames)

    def put(self, frame: Pcm) -> None:
        """The person's next frame."""
        if self._frames.qsize() >= WAITING_FRAMES:
            self._frames.get_nowait()
            self._taken += 1
            self._dropped += 1
        self._frames.put_nowait(frame)

    def end(self) -> None:
        """There are no more."""
        if not self._ended:
            self._ended = True
            self._frames.put_nowait(None)  # there is room for it beside `WAITING_FRAMES`

    async def run(self) -> None:
        """Writes down until the frames end, whatever happens to the worker."""
        while not self._ended or not self._frames.empty():
            try:
                await self._write_down()
                return
            except AntiphonError as error:
                problem = str(error)
            except Exception as error:  # a fault of ours; the conversation goes on
                logger.exception("the person's words are not written")
                problem = f"a fault: {error!r}"
            self._close_session()
            self.ready.set()
            self._watcher.transcriber_lost(self._listener.address, problem)
            await asyncio.sleep(AGAIN_S)

    async def _write_down(self) -> None:
        listener = self._listener
        codec = self._codec = self._codec or await self._load()
        self.ready.set()
        async with connect(
            listener.address,
            codec.spec,
            mode="transcription",
            credentials=listener.credentials,
            reconnect=LIVE,
            on_change=self._on_change,
        ) as session:
            self._session = session
            self._watcher.transcriber_connected(listener.address)
            first_s = self._taken * codec.spec.frame_s
            words, pauses = Words(session.model, codec.spec.frame_s), Pauses()

            def on_reply(reply: Reply) -> None:
                known = [word for word in words.add(reply) if word.end_s is None]
                if pauses.add(reply, word=bool(known)):
                    self._watcher.said()
                for word in known:
                    self._watcher.word(word.text, first_s + word.start_s)

            await talk(session, codec, self._taking(), lambda pcm: None, on_reply, live=True)
            for word in words.end():
                if word.end_s is None:
                    self._watcher.word(word.text, first_s + word.start_s)

    async def _load(self) -> Codec:
        """The encoder that the worker wants.

        Raises:
            PreconditionError: its model does more than listen, or hears another rate.
        """
        listener = self._listener
        worker = await describe(listener.address, listener.credentials)
        if worker.model.model_codebooks:
            raise PreconditionError(
                f"{worker.model.name} at {listener.address} speaks: name a worker whose model only listens"
            )
        if (rate_hz := worker.codec.sample_rate_hz) != listener.rate_hz:
            raise PreconditionError(
                f"{worker.model.name} at {listener.address} hears sound of {rate_hz} Hz, and the conversation has "
                f"{listener.rate_hz}: name another worker"
            )
        return await asyncio.to_thread(Codec.load, await listener.pull(), listener.threads, only="encoder")

    async def _taking(self) -> AsyncIterator[Pcm]:
        while (frame := await self._frames.get()) is not None:
            self._taken += 1
            yield frame

    def _on_change(self, change: Change) -> None:
        if isinstance(change, Reconnecting):
            self._watcher.transcriber_lost(self._listener.address, change.reason)
        elif isinstance(change, Resumed):
            self._watcher.transcriber_connected(change.address)

    def _close_session(self) -> None:
        if self._session is not None:
            self._dropped += self._session.dropped_frames
            self._session = None


Hear = Callable[[AsyncIterator[Pcm]], AsyncIterator[Pcm]]


@asynccontextmanager
async def written_down(listener: Listener | None, watcher: Watcher) -> AsyncIterator[Hear]:
    """Gives what the person's frames are to pass through, and writes down what does; without a listener, nothing."""
    if listener is None:
        yield lambda frames: frames
        return
    transcriber = watcher.parts.transcriber = Transcriber(listener, watcher)
    task = asyncio.create_task(transcriber.run())

    async def hear(frames: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
        try:
            async for frame in frames:
                transcriber.put(frame)
                yield frame
        finally:
            transcriber.end()

    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await transcriber.ready.wait()
        yield hear
        transcriber.end()
        await asyncio.wait({task}, timeout=LAST_WORDS_S)
    finally:
        task.cancel()
        await asyncio.wait({task})
