"""A TCP relay that counts: what really crosses the socket each way, HTTP/2 and all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """TCP payload bytes since the start, with the time of every chunk for a rate over a span."""

    up: list[tuple[float, int]] = field(default_factory=list)
    down: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, direction: str, begin_s: float, end_s: float) -> float:
        """Bytes a second that went "up" or "down" in [begin_s, end_s) of `time.perf_counter`."""
        chunks: list[tuple[float, int]] = getattr(self, direction)
        return sum(size for at, size in chunks if begin_s <= at < end_s) / (end_s - begin_s)


@asynccontextmanager
async def counting_relay(target: str) -> AsyncIterator[tuple[str, Traffic]]:
    """Listens on a port of its own and forwards to `target` (HOST:PORT); yields its address and the counts."""
    host, _, port = target.rpartition(":")
    traffic = Traffic()

    writers: set[asyncio.StreamWriter] = set()
    served: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: list[tuple[float, int]]) -> None:
        writers.add(writer)
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                log.append((time.perf_counter(), len(chunk)))
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, far_writer, traffic.up), pump(far_reader, writer, traffic.down))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.create_task(forward(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", traffic
        for writer in writers:
            writer.close()
        await asyncio.gather(*served)
