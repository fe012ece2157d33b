"""`/api/tts_streaming`: words up to a model that reads aloud, its sound down, and when each word is heard."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from antiphon.errors import AntiphonError
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.moshi_server.clients import keys, sentence
from antiphon_gateway.doors.requests import admitted
from antiphon_gateway.doors.socket import Socket, open_socket
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.reading import Eos, Query, Text, Told, parse, parse_query
from antiphon_gateway.wire.opus import OpusWriter

PATH = "/api/tts_streaming"
NAME = "tts"  # in the metrics
RATE_HZ = 24_000
CFG = "cfg"


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The door's."""

    async def stream(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request, *keys(request))
        query = parse_query(request.query)
        async with open_socket(gateway, request) as (socket, response):
            told = Told(query.format)
            opus = OpusWriter(RATE_HZ) if query.format.opus else None
            manner = Manner(RATE_HZ, pack=opus.write if opus else None)
            try:
                fleet = gateway.need(gateway.speech, "text to speech")
                async with gateway.call(NAME, visitor, fleet, wanted(query, fleet), manner) as call:
                    reading = _Reading(gateway, socket, call, told, fleet.spec.frame_s, query.max_seq_len)
                    await reading.send(told.ready(opus.head() if opus else b""))
                    await both_ways(reading.up(), reading.down())
            except AntiphonError as failure:
                with suppress(AntiphonError, ConnectionError):
                    for message in told.error(sentence(failure)):
                        await socket.send(message)
                await socket.close(failure)
        return response

    return [web.get(PATH, stream)]


def wanted(query: Query, fleet: Fleet) -> Wanted:
    """The session that a query asks for. A model without a `cfg` is told of none: clients send it to all."""
    sampling = fleet.model.sampling
    if query.temperature is not None:
        sampling = replace(sampling, text_temperature=query.temperature, audio_temperature=query.temperature)
    if query.top_k is not None:
        sampling = replace(sampling, text_top_k=query.top_k, audio_top_k=query.top_k)
    has_cfg = query.cfg_alpha is not None and CFG in fleet.conditions
    return Wanted(
        sampling=None if sampling == fleet.model.sampling else sampling,
        seed=query.seed,
        mode="speech",
        voice=query.voices or None,
        conditions={CFG: f"{query.cfg_alpha:.1f}"} if has_cfg else None,
    )


class _Reading:
    """One connection, once its session is open."""

    def __init__(
        self, gateway: Gateway, socket: Socket, call: Call, told: Told, frame_s: float, most_frames: int | None
    ) -> None:
        self._gateway, self._socket, self._call, self._told = gateway, socket, call, told
        self._frame_s, self._most_frames = frame_s, most_frames

    async def send(self, messages: list[bytes]) -> None:
        """Sends each of the messages."""
        for message in messages:
            await self._socket.send(message)

    async def up(self) -> None:
        """What is to be read aloud; each message is whole words. Ends with the client."""
        has_text = ended = False
        async for data in self._socket.messages():
            message = parse(data)
            if ended:
                raise MessageError("the text was ended with Eos: open another connection for another one")
            match message:
                case Text(text):
                    await self._call.say(f"{text} ")
                    has_text = has_text or bool(text.strip())
                case Eos():
                    if not has_text:
                        return
                    await self._call.finish_saying()
                    ended = True

    async def down(self) -> None:
        """Its sound, until all is said."""
        frames = 0
        async for event in self._call.events():
            match event:
                case Frame(reply, pcm, pages):
                    frames += pcm is not None
                    await self.send(list(self._told.add(reply, pcm, pages, frames * self._frame_s)))
                    if reply.said_all or frames == self._most_frames:
                        return
                case Moved():
                    self._gateway.note(event)
                case Ended(failure):
                    if failure is not None:
                        raise failure
