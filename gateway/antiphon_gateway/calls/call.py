"""One caller's conversation: samples in, the model's frames out.

async with open_call(fleet, threads, Wanted(), Manner(rate_hz=24_000)) as call:
    await call.send_pcm(samples)  # from one task
    async for event in call.events(): ...  # in another

A call is bounded both ways. `send_pcm` waits while `AHEAD_S` of sound waits to be heard. While no worker is there a
live caller's oldest sound is dropped instead, so that the conversation goes on where the caller is now. Events wait
for their reader: while they do the model takes no further steps, and after `READER_S` the call ends with
SlowClientError.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import Pcm, as_pcm, resampler
from antiphon_edge.client.events import Change, Reconnecting, Resumed
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.hearing import Hearing
from antiphon_edge.talk.late_replies import LateReplyFilter
from antiphon_gateway.batch.half import ALONE, BatchCodec
from antiphon_gateway.calls.codec_threads import CodecThreads
from antiphon_gateway.calls.events import Ended, Event, Frame, Moved
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.calls.inbox import Inbox
from antiphon_gateway.calls.pacing import Pacer
from antiphon_gateway.calls.record import CallRecord
from antiphon_gateway.calls.step import Step
from antiphon_gateway.errors import SlowClientError

logger = logging.getLogger(__name__)

AHEAD_S = 2.0  # of sound that may wait to be heard
EVENTS = 64  # that wait for their reader: 5 s
READER_S = 10.0  # that a full queue of events waits for its reader


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client speaks.

    Args:
        rate_hz: of the samples that it sends.
        hears_hz: of those that it is sent; None for the same.
        grace_s: how late its samples may be before the model hears silence instead; None lets the model wait.
        live: a person listens: after an outage, sound that comes too late is left out, its text is not.
        pack: makes bytes of a frame's sound in the thread that decodes it, where that takes long.
    """

    rate_hz: int = 24_000
    hears_hz: int | None = None
    grace_s: float | None = None
    live: bool = False
    pack: Callable[[Pcm], bytes] | None = None


class Call:
    """A conversation; `open_call` makes it.

    Args:
        session: open.
        codec: the one that the session was opened with.
        threads: encode and decode.
        manner: of the client.
        batch: steps the codec for several calls at once.
    """

    def __init__(
        self, session: Session, codec: Codec, threads: CodecThreads, manner: Manner, batch: BatchCodec = ALONE
    ) -> None:
        self.session = session
        self._codec, self._threads, self._manner, self._batch = codec, threads, manner, batch
        self._loop = asyncio.get_running_loop()
        spec = codec.spec
        self._inbox = Inbox(spec.sample_rate_hz, spec.frame_samples, AHEAD_S)
        self._resample_up = resampler(manner.rate_hz, spec.sample_rate_hz)
        self._resample_down = resampler(spec.sample_rate_hz, manner.hears_hz or manner.rate_hz)
        self._pacer = Pacer(spec.frame_s, manner.grace_s, self._loop.time())
        self._news = asyncio.Event()  # a whole frame of samples is there, or no more will come
        self._room = asyncio.Event()  # the inbox has some, or the call has ended
        self._ending = False
        self._lost = False  # no worker is there
        self._behind = False  # one was not, and its replies come late
        self._events: asyncio.Queue[Event] = asyncio.Queue(EVENTS)  # full: the model waits, at most READER_S
        self._tasks: list[asyncio.Task[None]] = []
        self.record: CallRecord | None = None
        """What is said of it; None where it serves another one."""
        self.dropped_samples = 0
        """That a live caller said while no worker was there to hear them."""

    async def send_pcm(self, pcm: Pcm) -> None:
        """The caller says samples [N]; waits while too much waits to be heard.

        Raises:
            AntiphonError: samples that are none; see `as_pcm`.
        """
        samples = self._resample_up(as_pcm(pcm))
        self._pacer.heard(len(pcm) / self._manner.rate_hz, self._loop.time())
        self._inbox.put(samples)
        if self._inbox.has_frame:
            self._news.set()
        while self._inbox.full and not self._ending:
            if self._lost and self._live:  # what waits is the past
                self.dropped_samples += self._inbox.shed()
                return
            self._room.clear()
            await self._room.wait()

    def clear(self) -> None:
        """Forgets what the caller said and the model has not heard."""
        self._inbox.clear()
        self._room.set()

    async def say(self, text: str, speaker: int = 0) -> None:
        """Gives the model words to say; errors as `Session.say`."""
        await self.session.say(text, speaker)

    async def finish_saying(self) -> None:
        """Says that the text is complete; errors as `Session.finish_saying`."""
        await self.session.finish_saying()

    def end(self) -> None:
        """The caller says no more: the model hears what waits, and the events go on until its last reply."""
        self._ending = True
        self._news.set()
        self._room.set()

    async def events(self) -> AsyncIterator[Event]:
        """What the model does, in order; the last one is `Ended`."""
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    def on_change(self, change: Change) -> None:
        """The session looks for another worker, or has found one."""
        if not isinstance(change, Reconnecting | Resumed):
            return
        self._lost = isinstance(change, Reconnecting)
        self._behind = self._behind or self._lost
        self._room.set()
        if self.record is not None:
            self.record.changed(change, self.session.address)
        if isinstance(change, Reconnecting | Resumed):
            with suppress(asyncio.QueueFull):  # news of no consequence: who reads nothing misses it
                self._events.put_nowait(Moved(change))

    def start(self) -> None:
        """Begins to carry frames."""
        self._tasks = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        for task in self._tasks:
            task.add_done_callback(self._check)

    async def stop(self) -> None:
        """Ends what `start` began."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _live(self) -> bool:
        """Whether a person listens, and speaks as persons do."""
        return self._manner.live and not self._pacer.runs_ahead

    async def _up(self) -> None:
        if not self.session.listens:
            await self._ask()
            return
        hearing = Hearing(self._codec, self.session.model)
        await self._hear(hearing, hearing.lead_in())
        while (pcm := await self._next_frame()) is not None:
            await self._hear(hearing, hearing.frames(pcm))
        await self._hear(hearing, hearing.lead_out())
        await self.session.end()

    async def _ask(self) -> None:
        """Of a model that hears nobody: asks for one step after the other, as many as its reader takes."""
        while not self._ending:
            await self.session.send()
        await self.session.end()

    async def _hear(self, hearing: Hearing, frames: Iterable[Pcm]) -> None:
        for pcm in frames:
            step = Step(hearing.encoder, pcm, hearing.heard, self._batch.encoder)
            await self.session.send(await self._threads.step(step))

    async def _next_frame(self) -> Pcm | None:
        """The next frame that the model is to hear; None after the last one."""
        while True:
            self._news.clear()
            if (frame := self._inbox.frame()) is not None:
                self._room.set()
                return frame
            if self._ending:
                return self._inbox.padded() if len(self._inbox) else None
            due_s = self._pacer.due_s
            try:
                async with asyncio.timeout_at(due_s):
                    await self._news.wait()
            except TimeoutError:
                if self._pacer.due_s != due_s:
                    continue  # samples came since, though no whole frame
                self._pacer.filled(self._loop.time())
                return self._inbox.padded()

    async def _down(self) -> None:
        decoder = self._codec.decoder() if self.session.model.model_codebooks and not self.session.writes else None
        late = LateReplyFilter()
        async for reply in self.session:
            is_late = late.is_late(reply.round_trip_s)
            if self.record is not None:
                self.record.frame(reply.round_trip_s, late=is_late)
            self._behind = is_late and self._behind
            too_late = self._behind and self._live
            if decoder is None or reply.codes is None or too_late:
                await self._tell(Frame(reply, None))
            else:
                codes = reply.codes[: self._codec.spec.codebooks]
                step = Step(decoder, codes, self._sound, self._batch.decoder)
                await self._tell(Frame(reply, *await self._threads.step(step)))
        await self._tell(Ended())

    def _sound(self, decoded: Pcm) -> tuple[Pcm, bytes]:
        """A frame's sound at the caller's rate, and packed; in a thread."""
        pcm = self._resample_down(decoded)
        return pcm, self._manner.pack(pcm) if self._manner.pack else b""

    async def _tell(self, event: Event) -> None:
        if not self._events.full():
            self._events.put_nowait(event)
            return
        try:
            async with asyncio.timeout(READER_S):
                await self._events.put(event)
        except TimeoutError:
            raise SlowClientError(
                f"the client has read nothing for {READER_S:g} s: read what is sent, or connect again"
            ) from None

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that fails ends the call; its reader hears why, whatever else waited."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, AntiphonError):
            logger.error("a call ended by a fault of the gateway's own", exc_info=error)
            error = AntiphonError("the gateway's own code failed: connect again, and tell its operator")
        for other in self._tasks:
            other.cancel()
        while self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(Ended(error))
        self.end()


@asynccontextmanager
async def open_call(fleet: Fleet, threads: CodecThreads, wanted: Wanted, manner: Manner) -> AsyncIterator[Call]:
    """A call on one of the fleet's workers; its tasks and its session end with the block.

    Raises:
        NoFreeSlotError: the workers are full.
        UnavailableError: no worker answers.
        AntiphonError: as `connect`.
    """
    calls: list[Call] = []

    def on_change(change: Change) -> None:
        for call in calls:
            call.on_change(change)

    async with fleet.session(wanted, on_change) as session:
        call = Call(session, fleet.codec, threads, manner, fleet.batch)
        calls.append(call)
        call.start()
        try:
            yield call
        finally:
            await call.stop()
