"""The door: one connection's events, turn after turn.

What a client gets wrong is an `error` event. The connection goes on after it, unless what came cannot be read on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeStart, SynthesizeStopped

from antiphon.errors import AntiphonError
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.peer import Peer
from antiphon_gateway.doors.wyoming import listening, reading
from antiphon_gateway.doors.wyoming.info import info
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.wyoming import Framer, pack

IDLE_S = 300.0


async def serve(
    gateway: Gateway, languages: Sequence[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serves one client until it goes.

    Args:
        gateway: knows the workers.
        languages: that the models are said to know.
        reader: of what the client sends.
        writer: to the client.
    """
    peer = Peer(reader, writer, IDLE_S)
    connection = _Connection(gateway, languages, peer)
    try:
        await connection.run()
    except AntiphonError as error:
        with suppress(AntiphonError, ConnectionError):
            await connection.tell(_error(error))
    except ConnectionError:
        pass  # the client is gone
    finally:
        await peer.close()


class _Connection:
    """A client."""

    def __init__(self, gateway: Gateway, languages: Sequence[str], peer: Peer) -> None:
        self._gateway, self._languages, self._peer = gateway, languages, peer
        self._events = self._read()

    async def run(self) -> None:
        """Until the client goes.

        Raises:
            AntiphonError: what came cannot be read on, or the client does not read.
        """
        async for event in self._events:
            try:
                await self._handle(event)
            except AntiphonError as error:
                await self.tell(_error(error))

    async def tell(self, event: Eventable) -> None:
        """Sends an event; errors as `Peer.send`."""
        await self._peer.send(pack(event.event()))

    async def _read(self) -> AsyncIterator[Event]:
        framer = Framer()
        async for data in self._peer.chunks():
            for event in framer.feed(data):
                yield event

    async def _handle(self, event: Event) -> None:
        """One event, and all of the turn that it begins."""
        kind = event.type
        if Describe.is_type(kind):
            await self.tell(info(self._gateway, self._languages))
        elif Ping.is_type(kind):
            await self.tell(Pong(Ping.from_event(event).text))
        elif Transcribe.is_type(kind):
            return  # which model and which language: the worker has one
        elif AudioStart.is_type(kind):
            await self._listen(listening.as_sound(event, AudioStart))
        elif AudioChunk.is_type(kind) or AudioStop.is_type(kind):
            return  # of a turn that has failed
        elif Synthesize.is_type(kind) or SynthesizeStart.is_type(kind):
            await self._read_aloud(event)
        else:
            raise MessageError(f"{kind[:40]!r} is no event of speech to text or text to speech")

    async def _listen(self, sound: AudioStart) -> None:
        gateway, fleet = self._gateway, self._gateway.need(self._gateway.transcription, "speech to text")
        manner = listening.manner(sound)
        async with gateway.call(listening.NAME, self._peer.visitor, fleet, listening.LISTENING, manner) as call:
            turn = listening.Listening(gateway, fleet, call, sound, self.tell)
            await both_ways(turn.up(self._events), turn.down())

    async def _read_aloud(self, event: Event) -> None:
        gateway, fleet = self._gateway, self._gateway.need(self._gateway.speech, "text to speech")
        streams = SynthesizeStart.is_type(event.type)
        text = "" if streams else reading.text_of(event)
        wanted = fleet.fitting(reading.wanted(event))
        async with gateway.call(reading.NAME, self._peer.visitor, fleet, wanted, reading.MANNER) as call:
            turn = reading.Reading(gateway, call, self.tell)
            await both_ways(turn.up(self._events) if streams else turn.say(text), turn.down())
        if streams:
            await self.tell(SynthesizeStopped())


def _error(error: AntiphonError) -> Error:
    return Error(str(error), error.status.lower())
