"""`/api/asr-streaming`: sound up to a model that listens, words, steps and markers down.

A client sends as fast as it likes: what the model has not heard waits in the connection.
"""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from antiphon.errors import AntiphonError
from antiphon.spec import CodecSpec
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.hearing import lead_in_samples
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.moshi_server.clients import keys, sentence
from antiphon_gateway.doors.moshi_server.file import received, transcribe_file
from antiphon_gateway.doors.requests import admitted
from antiphon_gateway.doors.socket import Socket, open_socket
from antiphon_gateway.wire.moshi_server.listening import READY, Audio, Marker, OggOpus, Told, error, parse
from antiphon_gateway.wire.opus import OpusReader

RATE_HZ = 24_000
PATH = "/api/asr-streaming"
NAME = "asr"  # in the metrics
LISTENING = Wanted(mode="transcription")
MANNER = Manner(RATE_HZ)


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The door's."""

    async def stream(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request, *keys(request))
        async with open_socket(gateway, request) as (socket, response):
            try:
                fleet = gateway.need(gateway.transcription, "speech to text")
                async with gateway.call(NAME, visitor, fleet, LISTENING, MANNER) as call:
                    await socket.send(READY)
                    listening = _Listening(gateway, socket, call, fleet.spec)
                    await both_ways(listening.up(), listening.down())
            except AntiphonError as failure:
                with suppress(AntiphonError, ConnectionError):
                    await socket.send(error(sentence(failure)))
                await socket.close(failure)
        return response

    async def whole_file(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request, *keys(request))
        fleet = gateway.need(gateway.transcription, "speech to text")
        async with (
            received(request.content) as path,  # whole, before a slot is taken for it
            gateway.call(NAME, visitor, fleet, LISTENING, MANNER) as call,
        ):
            return web.json_response(await transcribe_file(call, path, fleet))

    return [web.get(PATH, stream), web.post(PATH, whole_file)]


class _Listening:
    """One connection, once its session is open."""

    def __init__(self, gateway: Gateway, socket: Socket, call: Call, codec: CodecSpec) -> None:
        self._gateway, self._socket, self._call = gateway, socket, call
        self._frame = codec.frame_samples
        self._lead_in_frames = lead_in_samples(call.session.model, codec) // codec.frame_samples
        self._told = Told(call.session.model, codec.frame_s, self._lead_in_frames)
        self._samples = 0  # that the client has sent

    async def up(self) -> None:
        """What the client says."""
        opus = OpusReader(RATE_HZ)
        async for message in self._socket.messages():
            if isinstance(message, str):
                continue  # as the published server does
            match parse(message):
                case Audio(pcm):
                    await self._hear(pcm)
                case OggOpus(data):
                    await self._hear(await self._gateway.threads.run(opus.feed, data))
                case Marker() as marker:
                    self._told.mark(marker, -(-self._samples // self._frame))

    async def _hear(self, pcm: Pcm) -> None:
        self._samples += len(pcm)
        await self._call.send_pcm(pcm)

    async def down(self) -> None:
        """What the model hears in it."""
        async for event in self._call.events():
            match event:
                case Frame(reply, _):
                    heard = (reply.sequence + 1 - self._lead_in_frames) * self._frame
                    for message in self._told.add(reply, max(0, self._samples - max(0, heard))):
                        await self._socket.send(message)
                case Moved():
                    self._gateway.note(event)
                case Ended(failure):
                    if failure is not None:
                        raise failure
