"""A client of `/v1/realtime` that speaks raw events, for what the published clients never send."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.formats import PCM16, Format
from tests.support.gateways import RATE_HZ, Listener

CHUNK_S = 0.1
ENOUGH_S = 100.0
Event = dict[str, Any]


class RealtimeClient:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, sound: Format = PCM16) -> None:
        self.socket = socket
        self.heard = Listener()
        self.events: list[Event] = []
        self._sound = sound
        self._read, self._write = sound.reader(), sound.writer()

    async def send(self, kind: str, **fields: Any) -> None:
        """Sends an event."""
        await self.socket.send_str(json.dumps({"type": kind} | fields))

    async def say(self, samples: Pcm) -> None:
        """Appends samples [N] at the format's rate, as fast as the gateway takes them."""
        chunk = int(CHUNK_S * self._sound.rate_hz)
        for at in range(0, len(samples), chunk):
            data = self._write(samples[at : at + chunk])
            await self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    async def take(self) -> Event:
        """The next event."""
        message = await asyncio.wait_for(self.socket.receive(), ENOUGH_S)
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.kinds()[-5:])
        event: Event = json.loads(message.data)
        self.events.append(event)
        match event["type"].removeprefix("response."):
            case "output_audio.delta" | "audio.delta":
                self.heard.sound(self._read(base64.b64decode(event["delta"])))
            case "output_audio_transcript.delta" | "audio_transcript.delta" | "text.delta":
                self.heard.read(event["delta"])
        return event

    async def until(self, kind: str, count: int = 1) -> Event:
        """Takes events until so many of a kind were taken; the last of them."""
        while sum(event["type"] == kind for event in self.events) < count:
            await self.take()
        return next(event for event in reversed(self.events) if event["type"] == kind)

    async def answer(self, samples: Pcm, responses: int = 2, done: str = "response.done") -> Listener:
        """Says samples [N] and hears so many responses: the greeting, and the answer."""
        saying = asyncio.create_task(self.say(samples))
        try:
            await self.until(done, responses)
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
        return self.heard

    def kinds(self) -> list[str]:
        """The types of the events so far; of sound and text in a row, one."""
        kinds = [event["type"] for event in self.events]
        return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]


@asynccontextmanager
async def realtime(
    address: str, query: str = "", sound: Format = PCM16, **options: Any
) -> AsyncIterator[RealtimeClient]:
    """A connection to the gateway at `address`, until the block ends."""
    url = f"http://{address}/v1/realtime{query and '?' + query}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        yield RealtimeClient(socket, sound)


def noise(seconds: float) -> Pcm:
    """So faint that nobody hears it."""
    return np.zeros(int(seconds * RATE_HZ), np.float32)
