"""A TCP relay that counts what really crosses the socket each way, HTTP/2 and all, and that breaks it on demand.

async with relay("127.0.0.1:50051") as network:
    network.up.delay_s = 0.04  # connect to network.address; change, break and mend it while bytes flow
    network.cut()
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from antiphon.address import split_address

CHUNK_BYTES = 65_536
CHUNKS_HELD = 64  # of a connection and direction; full: the sender's own TCP window fills
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, drop what is unsent


@dataclass
class Traffic:
    """TCP payload bytes since the start, with the time of every chunk for a rate over a span."""

    up: list[tuple[float, int]] = field(default_factory=list)
    down: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, direction: str, begin_s: float, end_s: float) -> float:
        """Bytes a second that went "up" or "down" in [begin_s, end_s) of `time.perf_counter`."""
        chunks: list[tuple[float, int]] = getattr(self, direction)
        return sum(size for at, size in chunks if begin_s <= at < end_s) / (end_s - begin_s)


class Way:
    """One direction of every connection, and what is wrong with it. Set at any time; bytes stay in order.

    Attributes:
        delay_s: between a chunk's arrival and its departure.
        jitter_s: added to that, at most, drawn anew for each chunk from a seeded generator.
        drip_bytes: what goes on at a time; 0 for all there is.
        drip_s: between two of those.
    """

    def __init__(self, log: list[tuple[float, int]], seed: int) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.drip_bytes = 0
        self.drip_s = 0.0
        self.held = 0  # chunks that wait for the end of a stall
        self._log = log
        self._random = random.Random(seed)  # noqa: S311 - faults that can be repeated
        self._flowing = asyncio.Event()
        self._flowing.set()

    def stall(self) -> None:
        """Holds every byte, as an outage does that TCP has not noticed yet."""
        self._flowing.clear()

    def resume(self) -> None:
        """Lets the held bytes go on, in order."""
        self._flowing.set()

    def due_s(self, now_s: float) -> float:
        """When a chunk that has come now may leave."""
        return now_s + self.delay_s + self._random.uniform(0, self.jitter_s)

    async def pass_on(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Writes a chunk as this way allows."""
        size = self.drip_bytes or len(chunk)
        for begin in range(0, len(chunk), size):
            self.held += 1
            try:
                await self._flowing.wait()
            finally:
                self.held -= 1
            part = chunk[begin : begin + size]
            self._log.append((time.perf_counter(), len(part)))
            writer.write(part)
            await writer.drain()
            if self.drip_bytes:
                await asyncio.sleep(self.drip_s)


@dataclass(eq=False)
class _Connection:
    """A client's socket and the one that was opened for it."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    swallowing: bool = False

    def reset(self) -> None:
        """Ends both with RST."""
        for end in self.ends:
            raw = end.get_extra_info("socket")
            with suppress(OSError, ValueError):  # closed before; uvloop raises the latter
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()


class Relay:
    """Forwards every connection to a target; see the module. `address` is HOST:PORT, where clients connect."""

    def __init__(self, target: str, seed: int) -> None:
        self.address = ""
        self.traffic = Traffic()
        self.up, self.down = Way(self.traffic.up, seed), Way(self.traffic.down, seed + 1)
        self.refusing = False  # True: whoever connects is reset at once
        self.target = target  # of new connections: change it to move who comes back
        self._connections: set[_Connection] = set()
        self._served: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def stall(self) -> None:
        """A network outage: nothing passes either way, nobody is told, and new connections are not answered."""
        self.up.stall()
        self.down.stall()

    def resume(self) -> None:
        """The outage ends; TCP delivers what was held."""
        self.up.resume()
        self.down.resume()

    def cut(self) -> None:
        """Resets every connection there is, on both sides; new ones are welcome."""
        for connection in tuple(self._connections):
            connection.reset()

    def half_open(self) -> None:
        """Every connection there is goes dead without a word: what is sent vanishes. New ones are welcome."""
        for connection in self._connections:
            connection.swallowing = True

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def close(self) -> None:
        """Ends every connection."""
        self.cut()
        for task in tuple(self._served):
            task.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(*split_address(self.target))
        except OSError:
            _Connection((writer, writer)).reset()
            return
        connection = _Connection((writer, far_writer))
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, far_writer, self.up, connection))
                tasks.create_task(_pump(far_reader, writer, self.down, connection))
        finally:
            self._connections.discard(connection)
            for end in connection.ends:
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, connection: _Connection) -> None:
    """Forwards one direction of one connection to its end, which it passes on too."""
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_HELD)

    async def read() -> None:
        chunk = b"begun"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except ConnectionError:
                chunk = b""
            await held.put((way.due_s(time.perf_counter()), chunk))

    reading = asyncio.create_task(read())
    try:
        while True:
            due_s, chunk = await held.get()
            await asyncio.sleep(due_s - time.perf_counter())
            if connection.swallowing:
                if not chunk:
                    return
                continue
            if not chunk:
                break
            await way.pass_on(chunk, writer)
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):  # uvloop raises the latter for a closed transport
        return  # the far end is gone: the other direction hears of it by itself
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def relay(target: str, seed: int = 0) -> AsyncIterator[Relay]:
    """Listens on a port of its own and forwards to `target` (HOST:PORT) until the block ends.

    Args:
        target: HOST:PORT.
        seed: of the jitter; the same seed and the same chunks give the same delays.
    """
    network = Relay(target, seed)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield network
    finally:
        server.close()
        await network.close()
        await server.wait_closed()
