"""A client of `/api/chat` that does what Moshi's page does, with sphn's Opus where there is a wheel of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.chat import Kind
from antiphon_gateway.wire.opus import OpusReader, OpusWriter
from tests.support.gateways import RATE_HZ, Listener

PACKET = 480  # 20 ms
ENOUGH_S = 100.0


class ChatClient:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard = Listener()
        self.metadata = b""
        self.errors: list[str] = []
        self._reader, self._writer = OpusReader(RATE_HZ), OpusWriter(RATE_HZ)
        self._begun = False

    async def greet(self) -> None:
        """Waits for the handshake."""
        assert await self.socket.receive_bytes() == bytes((Kind.HANDSHAKE,))

    async def say(self, samples: Pcm) -> None:
        """Sends samples [N], two packets an Ogg page as the page does, as fast as the gateway takes them."""
        if not self._begun:
            await self._send(Kind.AUDIO, self._writer.head())
            self._begun = True
        for at in range(0, len(samples), 2 * PACKET):
            if page := self._writer.write(samples[at : at + 2 * PACKET]):
                await self._send(Kind.AUDIO, page)

    async def take(self) -> Kind | None:
        """Takes one message and returns its kind; None once the connection is closed."""
        message = await asyncio.wait_for(self.socket.receive(), ENOUGH_S)
        if message.type is not aiohttp.WSMsgType.BINARY:
            return None
        kind, payload = Kind(message.data[0]), message.data[1:]
        match kind:
            case Kind.AUDIO:
                self.heard.sound(self._reader.feed(payload))
            case Kind.TEXT:
                self.heard.read(payload.decode())
            case Kind.METADATA:
                self.metadata = payload
            case Kind.ERROR:
                self.errors.append(payload.decode())
        return kind

    async def until(self, done: Callable[[], bool]) -> None:
        """Takes messages until `done` says so."""
        while not done():
            assert await self.take() is not None, self.errors

    async def converse(self, samples: Pcm) -> Listener:
        """Says samples [N] and hears as much."""
        saying = asyncio.create_task(self.say(np.concatenate([samples, np.zeros(RATE_HZ, np.float32)])))
        try:
            await self.until(lambda: self.heard.heard_s >= len(samples) / RATE_HZ)
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
        return self.heard

    async def _send(self, kind: Kind, payload: bytes) -> None:
        await self.socket.send_bytes(bytes((kind,)) + payload)


@asynccontextmanager
async def chat(address: str, query: str = "", **options: Any) -> AsyncIterator[ChatClient]:
    """A connection to the gateway at `address`, until the block ends."""
    url = f"http://{address}/api/chat{query and '?' + query}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        yield ChatClient(socket)
