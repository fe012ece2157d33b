"""A turn of speech to text: `audio-start`, `audio-chunk`s, `audio-stop` up; the transcript down, in parts and whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioFormat, AudioStop
from wyoming.event import Event, Eventable

from antiphon_edge.transcript.words import Word, Words
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.pcm16 import pcm_from_bytes

NAME = "wyoming-asr"  # in the metrics
LISTENING = Wanted(mode="transcription")
RATES_HZ = (4_000, 192_000)

Tell = Callable[[Eventable], Awaitable[None]]
"""Sends an event to the client."""


def manner(sound: AudioFormat) -> Manner:
    """How a client speaks whose sound is such.

    Raises:
        MessageError: it is none that is taken.
    """
    if sound.width != 2 or sound.channels < 1 or not RATES_HZ[0] <= sound.rate <= RATES_HZ[1]:
        raise MessageError(
            f"audio: {sound.channels} channels of {8 * sound.width} bits at {sound.rate} Hz are not taken: "
            f"send 16 bits at {RATES_HZ[0]} to {RATES_HZ[1]} Hz"
        )
    return Manner(sound.rate)


class Listening:
    """A turn, once its session is open.

    Args:
        gateway: counts.
        fleet: whose the session is.
        call: the session.
        sound: what the client's is like.
        tell: sends an event to the client.
    """

    def __init__(self, gateway: Gateway, fleet: Fleet, call: Call, sound: AudioFormat, tell: Tell) -> None:
        self._gateway, self._call, self._sound, self._tell = gateway, call, sound, tell
        self._heard = Words(fleet.model, fleet.spec.frame_s)
        self._texts: list[str] = []

    async def up(self, events: AsyncIterator[Event]) -> None:
        """What the person says, until the turn has ended, or the client.

        Raises:
            MessageError: it is other sound than the turn began with, or none.
        """
        async for event in events:
            if AudioChunk.is_type(event.type):
                await self._hear(as_sound(event, AudioChunk))
            elif AudioStop.is_type(event.type):
                self._call.end()
                await asyncio.Future()  # what comes next belongs to another turn
            else:
                raise MessageError(f"{event.type[:40]!r} amid a turn: send audio-chunk or audio-stop")

    async def _hear(self, chunk: AudioChunk) -> None:
        channels = self._sound.channels
        if (chunk.rate, chunk.width, chunk.channels) != (self._sound.rate, self._sound.width, channels):
            raise MessageError("audio-chunk: its format is another than audio-start's: begin with audio-start again")
        if len(chunk.audio) % (2 * channels):
            raise MessageError(f"audio-chunk: {len(chunk.audio)} bytes are no whole number of samples")
        await self._call.send_pcm(pcm_from_bytes(chunk.audio)[::channels])

    async def down(self) -> None:
        """Tells what is heard, until all is.

        Raises:
            AntiphonError: whatever ended the call.
        """
        await self._tell(TranscriptStart())
        async for event in self._call.events():
            match event:
                case Frame(reply, _):
                    await self._add(self._heard.add(reply))
                case Moved():
                    self._gateway.note(event)
                case Ended(error):
                    if error is not None:
                        raise error
        await self._add(self._heard.end())
        await self._tell(Transcript(" ".join(self._texts)))
        await self._tell(TranscriptStop())

    async def _add(self, words: Iterable[Word]) -> None:
        for word in words:
            if word.end_s is None:  # it comes again with its end
                self._texts.append(word.text)
                await self._tell(TranscriptChunk(f"{word.text} "))


T = TypeVar("T", bound=AudioFormat)


def as_sound(event: Event, kind: type[T]) -> T:
    """The event as one of sound.

    Raises:
        MessageError: it does not say what sound.
    """
    for name in ("rate", "width", "channels"):
        if type(event.data.get(name)) is not int:
            raise MessageError(f"{event.type}.{name}: expected a whole number")
    made = kind.from_event(event)  # type: ignore[attr-defined]
    assert isinstance(made, kind)
    return made
