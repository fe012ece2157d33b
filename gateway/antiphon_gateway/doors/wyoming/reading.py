"""A turn of text to speech: a text up, whole or in parts; its sound down as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStop

from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.wyoming.info import DEFAULT_VOICE
from antiphon_gateway.doors.wyoming.listening import Tell
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.pcm16 import pcm_to_bytes

NAME = "wyoming-tts"  # in the metrics
RATE_HZ = 24_000
MANNER = Manner(RATE_HZ)
SSML = "ssml"


def wanted(event: Event) -> Wanted:
    """The session that `synthesize` or `synthesize-start` asks for.

    Raises:
        MessageError: the voice is none, or the text is marked up.
    """
    voice, form = event.data.get("voice") or {}, event.data.get("text_format")
    name = voice.get("name") if isinstance(voice, dict) else voice
    if name is not None and not isinstance(name, str):
        raise MessageError(f"{event.type}.voice: expected an object with a name")
    if form == SSML:
        raise MessageError(f"{event.type}.text_format: SSML is not read here: send text")
    return Wanted(mode="speech", voice=None if name == DEFAULT_VOICE else name or None)


def text_of(event: Event) -> str:
    """The event's text.

    Raises:
        MessageError: it has none.
    """
    if not isinstance(text := event.data.get("text"), str):
        raise MessageError(f"{event.type}.text: expected a string")
    return text


class Reading:
    """A turn, once its session is open.

    Args:
        gateway: counts.
        call: the session.
        tell: sends an event to the client.
    """

    def __init__(self, gateway: Gateway, call: Call, tell: Tell) -> None:
        self._gateway, self._call, self._tell = gateway, call, tell

    async def say(self, text: str) -> None:
        """The whole text.

        Raises:
            ArgumentError: it has no words.
        """
        await self._call.say(text)
        await self._call.finish_saying()
        await asyncio.Future()  # what comes next belongs to another turn

    async def up(self, events: AsyncIterator[Event]) -> None:
        """The text in parts, until the turn has ended, or the client.

        Raises:
            MessageError: the client says something else.
            ArgumentError: the text has no words.
        """
        async for event in events:
            if SynthesizeChunk.is_type(event.type):
                await self._call.say(text_of(event))
            elif SynthesizeStop.is_type(event.type):
                await self._call.finish_saying()
                await asyncio.Future()
            elif not Synthesize.is_type(event.type):  # the whole text once more, for servers that know no parts
                raise MessageError(f"{event.type[:40]!r} amid a text: send synthesize-chunk or synthesize-stop")

    async def down(self) -> None:
        """Tells its sound, until all is said.

        Raises:
            AntiphonError: whatever ended the call.
        """
        await self._tell(AudioStart(RATE_HZ, 2, 1))
        async for event in self._call.events():
            match event:
                case Frame(reply, pcm):
                    if pcm is not None:
                        await self._tell(AudioChunk(RATE_HZ, 2, 1, pcm_to_bytes(pcm)))
                    if reply.said_all:
                        break
                case Moved():
                    self._gateway.note(event)
                case Ended(error):
                    if error is not None:
                        raise error
        await self._tell(AudioStop())
