"""The door: Ogg-Opus up to a call, its frames down as Ogg-Opus and text."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from antiphon.errors import AntiphonError
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.chat.query import wanted
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.requests import admitted
from antiphon_gateway.doors.socket import Socket, open_socket
from antiphon_gateway.wire.chat import Kind, pack, unpack
from antiphon_gateway.wire.opus import OpusReader, OpusWriter

RATE_HZ = 24_000
PATH = "/api/chat"
PING_S = 5.0  # the page hangs up after 10 s without a message
SHORT_BYTES = 2048  # of Opus: a third of a second, which takes a millisecond to decode; longer ones go to a thread


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The door's."""

    async def handle(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request, request.query.get("worker_auth_id"))
        async with open_socket(gateway, request) as (socket, response):
            try:
                fleet = gateway.need(gateway.dialogue, "a dialogue")
                asked = fleet.fitting(wanted(request.query, fleet.model.sampling))
                writer = OpusWriter(RATE_HZ)
                head = writer.head()
                manner = Manner(RATE_HZ, live=True, pack=writer.write)
                async with gateway.call("chat", visitor, fleet, asked, manner) as call:
                    await socket.send(pack(Kind.HANDSHAKE))
                    if request.query:  # pages take it; the command line, which asks for nothing, would warn of it
                        told = msgspec.json.encode(_metadata(call))
                        await socket.send(pack(Kind.METADATA, told))
                    await socket.send(pack(Kind.AUDIO, head))
                    await _Conversation(gateway, socket, call).run()
            except AntiphonError as error:
                with suppress(AntiphonError, ConnectionError):
                    await socket.send(pack(Kind.ERROR, str(error).encode()))
                await socket.close(error)
        return response

    return [web.get(PATH, handle)]


class _Conversation:
    """One connection, once its session is open."""

    def __init__(self, gateway: Gateway, socket: Socket, call: Call) -> None:
        self._gateway, self._socket, self._call = gateway, socket, call

    async def run(self) -> None:
        """Until the client goes, or the call ends.

        Raises:
            AntiphonError: why it ended.
        """
        await both_ways(self._up(), self._down())

    async def _up(self) -> None:
        reader = OpusReader(RATE_HZ)
        async for message in self._socket.messages():
            kind, payload = unpack(message)
            if kind is not Kind.AUDIO:
                continue
            if len(payload) <= SHORT_BYTES:
                pcm = reader.feed(payload)
            else:
                pcm = await self._gateway.threads.run(reader.feed, payload)
            await self._call.send_pcm(pcm)

    async def _down(self) -> None:
        events = self._call.events()
        pinging = asyncio.create_task(self._ping())
        try:
            async for event in events:
                self._quiet = False
                match event:
                    case Frame(reply, _, page):
                        if page:
                            await self._socket.send(pack(Kind.AUDIO, page))
                        if reply.text:
                            await self._socket.send(pack(Kind.TEXT, reply.text.encode()))
                    case Moved():
                        self._gateway.note(event)
                    case Ended(error):
                        if error is not None:
                            raise error
        finally:
            pinging.cancel()

    async def _ping(self) -> None:
        """Keeps a page from hanging up while the model waits for it, or for another worker."""
        while True:
            self._quiet = True
            await asyncio.sleep(PING_S)
            if self._quiet:
                await self._socket.send(pack(Kind.PING))


def _metadata(call: Call) -> dict[str, Any]:
    """What the pages show of the server."""
    sampling, model = call.session.sampling, call.session.model
    return {
        "text_temperature": sampling.text_temperature,
        "text_topk": sampling.text_top_k,
        "audio_temperature": sampling.audio_temperature,
        "audio_topk": sampling.audio_top_k,
        "pad_mult": 0,
        "repetition_penalty": 1,
        "repetition_penalty_context": 0,
        "lm_model_file": model.name,
        "instance_name": "antiphon",
        "build_info": dict.fromkeys(BUILD_FIELDS, ""),
    }


BUILD_FIELDS = (
    "build_timestamp",
    "build_date",
    "git_branch",
    "git_timestamp",
    "git_date",
    "git_hash",
    "git_describe",
    "rustc_host_triple",
    "rustc_version",
    "cargo_target_triple",
)
"""Without which the page shows none of it."""
