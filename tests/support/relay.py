"""A byte relay between an edge and its worker: to move one of them while they talk, and to break what is between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Listens at `address` and forwards every connection to `target`, which may change."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def cut(self) -> None:
        """Breaks every connection; new ones are served."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Holds all bytes from now on, and new connections too."""
        self._open.clear()

    def flow(self) -> None:
        """Lets the bytes go that were held."""
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._open.wait()
        host, _, port = self.target.rpartition(":")
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def relay(target: str) -> AsyncIterator[Relay]:
    running = Relay(target)
    server = await running.start()
    try:
        yield running
    finally:
        running.flow()
        running.cut()
        server.close()
        await server.wait_closed()
