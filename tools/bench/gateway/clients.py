"""Clients that cost little: what they send is made beforehand, and of what they hear only the length is looked at."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

import aiohttp
import numpy as np

from antiphon_edge import Codec, Hearing, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.ogg import HEADER
from antiphon_gateway.wire.opus import DECODED_HZ, OpusWriter
from antiphon_gateway.wire.pcm16 import pcm_to_bytes

RATE_HZ, FRAME = 24_000, 1920
FRAME_S = FRAME / RATE_HZ
PACKET = 960  # 40 ms: what Moshi's page sends at once
PACKETS = FRAME // PACKET
WARM_UP = 12  # frames that are not counted
WINDOW = 2  # frames in flight of who sends as fast as possible
LAST_S = 1.0  # for the last replies

Message = TypeVar("Message", bytes, str)


class Clock:
    """When each frame was sent whole, and when its reply was heard."""

    def __init__(self, delay_steps: int) -> None:
        self.sent: list[float] = []
        self.heard: list[float] = []
        self.news = asyncio.Event()
        """Set where more was heard."""
        self._delay_steps = delay_steps

    def hear(self, samples: int) -> None:
        """So many samples of the reply have come in all."""
        while len(self.heard) < samples // FRAME:
            self.heard.append(time.perf_counter())
            self.news.set()

    async def reached(self, frames: int) -> None:
        """Returns when so many frames were heard."""
        while len(self.heard) < frames:
            self.news.clear()
            await self.news.wait()

    def latencies_ms(self) -> list[float]:
        """Of each frame after the warm-up; the first replies have no sound."""
        pairs = zip(self.sent[self._delay_steps :], self.heard, strict=False)
        return [1e3 * (heard - sent) for sent, heard in pairs][WARM_UP:]


def noise(frames: int) -> Pcm:
    """Faint noise [frames * FRAME]."""
    return (0.001 * np.random.default_rng(0).standard_normal(frames * FRAME)).astype(np.float32)


class Pace(Protocol):
    """When a client sends the blocks of its sound."""

    def blocks(self, clock: Clock, blocks: int, samples: int) -> AsyncGenerator[int]:
        """The number of each block of so many samples, when it is to be sent; ends when all was heard."""


class RealTime:
    """A block is sent when its last sample has been said."""

    async def blocks(self, clock: Clock, blocks: int, samples: int) -> AsyncGenerator[int]:
        """As in `Pace`."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(1, blocks + 1):
            await asyncio.sleep(start + number * samples / RATE_HZ - loop.time())
            yield number - 1
        await asyncio.sleep(LAST_S)


class Lockstep:
    """A frame is sent when the one `WINDOW` before it was answered, as fast as the gateway is.

    Args:
        begin: all clients meet there after their warm-up.
        end: and there when all was answered.
    """

    def __init__(self, begin: asyncio.Barrier, end: asyncio.Barrier) -> None:
        self._begin, self._end = begin, end
        self._clock: Clock | None = None

    @property
    def heard(self) -> int:
        """Frames that were answered; more than were sent where a door fills in silence for a client that is late."""
        return len(self._clock.heard) if self._clock else 0

    async def blocks(self, clock: Clock, blocks: int, samples: int) -> AsyncGenerator[int]:
        """As in `Pace`."""
        self._clock = clock
        for number in range(blocks):
            frame, rest = divmod(number * samples, FRAME)
            if not rest:
                await clock.reached(frame - WINDOW)
                if frame == WARM_UP:
                    await clock.reached(frame - 1)
                    await self._begin.wait()
            yield number
        await clock.reached(blocks * samples // FRAME - 1)
        await self._end.wait()


async def direct(address: str, pace: Pace, codec: Codec, frames: int) -> Clock:
    """The SDK, with the codec here."""
    pcm = noise(frames).reshape(frames, FRAME)
    async with connect(address, codec.spec, seed=1) as session:
        clock, hearing, decoder = Clock(session.model.delay_steps), Hearing(codec, session.model), codec.decoder()

        async def listen() -> None:
            samples = 0
            async for reply in session:
                if reply.codes is not None:
                    samples += len(await asyncio.to_thread(decoder.step, reply.codes))
                    clock.hear(samples)

        listening = asyncio.create_task(listen())
        async with aclosing(pace.blocks(clock, frames, FRAME)) as numbers:
            async for number in numbers:
                clock.sent.append(time.perf_counter())
                await session.send(await asyncio.to_thread(hearing.step, pcm[number]))
        await session.end()
        await listening
    return clock


def chat_messages(frames: int) -> list[bytes]:
    """`/api/chat`: the head, then two packets of 20 ms a page."""
    writer = OpusWriter(RATE_HZ)
    blocks = noise(frames).reshape(-1, PACKET)
    return [b"\x01" + writer.head(), *(b"\x01" + writer.write(block) for block in blocks)]


def realtime_messages(frames: int) -> list[str]:
    """`/v1/realtime`: PCM of 40 ms an event."""
    sounds = (base64.b64encode(pcm_to_bytes(block)).decode() for block in noise(frames).reshape(-1, PACKET))
    return [json.dumps({"type": "input_audio_buffer.append", "audio": sound}) for sound in sounds]


async def chat(address: str, pace: Pace, messages: Sequence[bytes]) -> Clock:
    """`/api/chat`, of which the pages' positions tell how much came."""
    clock = Clock(1)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://{address}/api/chat") as socket:

        async def listen() -> None:
            async for message in socket:
                if message.data[0] == 5:
                    sys.exit(message.data[1:].decode())
                if message.data[0] == 1:
                    clock.hear(HEADER.unpack_from(message.data, 1)[3] * RATE_HZ // DECODED_HZ)

        await socket.receive()
        listening = asyncio.create_task(listen())
        await socket.send_bytes(messages[0])
        await _say(clock, pace, messages[1:], socket.send_bytes)
        await socket.close()
        await listening
    return clock


async def realtime(address: str, pace: Pace, messages: Sequence[str]) -> Clock:
    """`/v1/realtime`, one response that stays open."""
    clock = Clock(1)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://{address}/v1/realtime?duplex=1") as socket:

        async def listen() -> None:
            samples = 0
            async for message in socket:
                event = json.loads(message.data)
                if event["type"] == "error":
                    sys.exit(event["error"]["message"])
                if event["type"] == "response.output_audio.delta":
                    samples += len(event["delta"]) * 3 // 8
                    clock.hear(samples)

        listening = asyncio.create_task(listen())
        await _say(clock, pace, messages, socket.send_str)
        await socket.close()
        await listening
    return clock


async def _say(
    clock: Clock, pace: Pace, messages: Sequence[Message], send: Callable[[Message], Awaitable[None]]
) -> None:
    async with aclosing(pace.blocks(clock, len(messages), PACKET)) as numbers:
        async for number in numbers:
            if number % PACKETS == PACKETS - 1:
                clock.sent.append(time.perf_counter())
            await send(messages[number])
