"""Measures what the gateway adds to a conversation, and how many conversations one core of it carries.

    python -m tools.bench.gateway [--model DIR] [--codec DIR] [--sessions 8] [--seconds 20]

Each way talks to the same worker on this machine in real time: the SDK with the codec in this process, and clients of
the doors. The latency of a frame goes from its last sample, sent, to the first of the reply to it, heard; what
a door adds is the difference of the medians. Opus' own 13 ms (it looks ahead on both ways) and a client's playout are
not in it. Sessions a core are those of the gateway's processor time, which other load on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np

from antiphon_edge import Codec, Hearing, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.opus import OpusReader, OpusWriter
from antiphon_gateway.wire.pcm16 import pcm_from_bytes, pcm_to_bytes
from antiphon_number_clerk import NUMBER_CLERK
from tools.harness.worker_process import BIN, worker

RATE_HZ, FRAME = 24_000, 1920
FRAME_S = FRAME / RATE_HZ
PACKET = 960  # 40 ms: what Moshi's page sends at once
WARM_UP = 25  # frames that are not counted
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Conversation = Callable[[str, Codec, int], Awaitable[list[float]]]


class Clock:
    """When each frame was sent whole, and when its reply was heard."""

    def __init__(self, delay_steps: int) -> None:
        self.sent: list[float] = []
        self.heard: list[float] = []
        self._delay_steps = delay_steps
        self._samples = 0

    def hear(self, samples: int) -> None:
        """So many samples of the reply came."""
        self._samples += samples
        while len(self.heard) < self._samples // FRAME:
            self.heard.append(time.perf_counter())

    def latencies_ms(self) -> list[float]:
        """Of each frame after the warm-up; the first replies have no sound."""
        pairs = zip(self.sent[self._delay_steps :], self.heard, strict=False)
        return [1e3 * (heard - sent) for sent, heard in pairs][WARM_UP:]


async def paced(frames: int, block: int) -> AsyncIterator[Pcm]:
    """Faint noise in real time, `block` samples at a time."""
    noise = (0.001 * np.random.default_rng(0).standard_normal(block)).astype(np.float32)
    start, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
    for number in range(1, frames * FRAME // block + 1):
        await asyncio.sleep(start + number * block / RATE_HZ - loop.time())
        yield noise


async def direct(address: str, codec: Codec, frames: int) -> list[float]:
    """The SDK, with the codec here."""
    async with connect(address, codec.spec, seed=1) as session:
        clock, hearing, decoder = Clock(session.model.delay_steps), Hearing(codec, session.model), codec.decoder()

        async def listen() -> None:
            async for reply in session:
                if reply.codes is not None:
                    clock.hear(len(await asyncio.to_thread(decoder.step, reply.codes)))

        listening = asyncio.create_task(listen())
        async for pcm in paced(frames, FRAME):
            clock.sent.append(time.perf_counter())
            await session.send(await asyncio.to_thread(hearing.step, pcm))
        await session.end()
        await listening
    return clock.latencies_ms()


async def chat(address: str, codec: Codec, frames: int) -> list[float]:
    """`/api/chat`, two packets of 20 ms a page."""
    clock, reader, writer = Clock(1), OpusReader(RATE_HZ), OpusWriter(RATE_HZ)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://{address}/api/chat") as socket:

        async def listen() -> None:
            async for message in socket:
                if message.data[0] == 5:
                    sys.exit(message.data[1:].decode())
                if message.data[0] == 1:
                    clock.hear(len(reader.feed(message.data[1:])))

        await socket.receive()
        listening = asyncio.create_task(listen())
        await socket.send_bytes(b"\x01" + writer.head())
        async for number, pcm in _numbered(paced(frames, PACKET)):
            if number % (FRAME // PACKET) == 0:
                clock.sent.append(time.perf_counter())
            await socket.send_bytes(b"\x01" + writer.write(pcm))
        await asyncio.sleep(0.5)
        await socket.close()
        await listening
    return clock.latencies_ms()


async def realtime(address: str, codec: Codec, frames: int) -> list[float]:
    """`/v1/realtime`, PCM of 40 ms an event, one response that stays open."""
    clock = Clock(1)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://{address}/v1/realtime?duplex=1") as socket:

        async def listen() -> None:
            async for message in socket:
                event = json.loads(message.data)
                if event["type"] == "error":
                    sys.exit(event["error"]["message"])
                if event["type"] == "response.output_audio.delta":
                    clock.hear(len(pcm_from_bytes(base64.b64decode(event["delta"]))))

        listening = asyncio.create_task(listen())
        async for number, pcm in _numbered(paced(frames, PACKET)):
            if number % (FRAME // PACKET) == 0:
                clock.sent.append(time.perf_counter())
            audio = base64.b64encode(pcm_to_bytes(pcm)).decode()
            await socket.send_str(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        await asyncio.sleep(0.5)
        await socket.close()
        await listening
    return clock.latencies_ms()


async def _numbered(blocks: AsyncIterator[Pcm]) -> AsyncIterator[tuple[int, Pcm]]:
    number = 0
    async for block in blocks:
        number += 1
        yield number, block


@contextmanager
def gateway(server: str, threads: int) -> Iterator[tuple[str, int]]:
    """The address and the process of a gateway, until the block ends."""
    command: list[str | Path] = [BIN / "antiphon-gateway", "serve", "--server", server, "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(process.wait() or 1)
        try:
            yield line.removeprefix("listening on ").strip(), process.pid
        finally:
            process.terminate()


def processor_s(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def measure(way: Conversation, address: str, codec: Codec, frames: int, sessions: int) -> list[float]:
    """The latencies of so many conversations at once, begun at different times within a frame."""

    async def one(number: int) -> list[float]:
        await asyncio.sleep(number * FRAME_S / sessions)
        return await way(address, codec, frames)

    return [latency for latencies in await asyncio.gather(*map(one, range(sessions))) for latency in latencies]


def row(name: str, latencies_ms: list[float], beside_ms: float | None) -> float:
    """Prints a line of the table, and returns its median."""
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99])
    added = "" if beside_ms is None else f"{p50 - beside_ms:>10.1f}"
    print(f"{name:<16}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}{added}", flush=True)
    return float(p50)


def main() -> None:
    """Measures one conversation each way, then many through each door."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    frames = round(arguments.seconds / FRAME_S)
    codec = Codec.load(arguments.model / "codec")
    model = () if arguments.model == NUMBER_CLERK else ("--model", arguments.model)
    slots = ("--slots", str(2 * arguments.sessions), "--threads", "1", "--step-budget", "1e9")
    with worker(*model, *slots) as served, gateway(served.address, arguments.threads) as (address, pid):
        print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.model.name}, {arguments.seconds:g} s each")
        print(f"\n{'1 session (ms)':<16}{'p50':>9}{'p95':>9}{'p99':>9}{'added':>10}")
        beside = row("direct edge", asyncio.run(measure(direct, served.address, codec, frames, 1)), None)
        ways: dict[str, Conversation] = {"/api/chat": chat, "/v1/realtime": realtime}
        for name, way in ways.items():
            row(name, asyncio.run(measure(way, address, codec, frames, 1)), beside)
        print(f"\n{f'{arguments.sessions} sessions (ms)':<16}{'p50':>9}{'p95':>9}{'p99':>9}{'added':>10}")
        many = asyncio.run(measure(direct, served.address, codec, frames, arguments.sessions))
        beside = row("direct edges", many, None)
        for name, way in ways.items():
            begun_s = processor_s(pid)
            row(name, asyncio.run(measure(way, address, codec, frames, arguments.sessions)), beside)
            used_ms = 1e3 * (processor_s(pid) - begun_s) / arguments.sessions / frames
            print(
                f"{'':<16}{used_ms:.2f} ms of a core a frame: {1e3 * FRAME_S / used_ms:.0f} sessions a core", flush=True
            )


if __name__ == "__main__":
    main()
