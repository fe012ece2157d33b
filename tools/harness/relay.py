"""A TCP relay that counts the bytes on the socket each way, HTTP/2 included, and injects network faults.

async with relay("127.0.0.1:50051") as network:
    network.up.delay_s = 0.04  # connect to network.address; all settings can change while bytes flow
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
CHUNKS_HELD = 64  # per connection and direction; when full, the sender's TCP window fills
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, drop unsent data


@dataclass
class Traffic:
    """TCP payload since the start: the time and size of every chunk."""

    up: list[tuple[float, int]] = field(default_factory=list)
    down: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, direction: str, begin_s: float, end_s: float) -> float:
        """Bytes per second in `direction` ("up" or "down") in [begin_s, end_s) of `time.perf_counter`."""
        chunks: list[tuple[float, int]] = getattr(self, direction)
        return sum(size for at, size in chunks if begin_s <= at < end_s) / (end_s - begin_s)


class Way:
    """The faults of one direction, for all connections. They can change at any time; bytes stay in order.

    Attributes:
        delay_s: time from a chunk's arrival to its departure.
        jitter_s: greatest addition to the delay, drawn for each chunk from a seeded generator.
        drip_bytes: bytes forwarded at a time; 0 for the whole chunk.
        drip_s: time between two drips.
    """

    def __init__(self, log: list[tuple[float, int]], seed: int) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.drip_bytes = 0
        self.drip_s = 0.0
        self.held = 0  # chunks that wait for the end of a stall
        self._log = log
        self._random = random.Random(seed)  # noqa: S311 - repeatable faults
        self._flowing = asyncio.Event()
        self._flowing.set()

    def stall(self) -> None:
        """Holds all bytes, like an outage that TCP has not noticed yet."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forwards the held bytes, in order."""
        self._flowing.set()

    def due_s(self, now_s: float) -> float:
        """When a chunk that arrived now may leave."""
        return now_s + self.delay_s + self._random.uniform(0, self.jitter_s)

    async def pass_on(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Writes a chunk under the faults of this direction."""
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
    """A client's socket and the relay's socket to the target."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    swallowing: bool = False

    def reset(self) -> None:
        """Closes both with RST."""
        for end in self.ends:
            raw = end.get_extra_info("socket")
            with suppress(OSError, ValueError):  # already closed; uvloop raises ValueError
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()


class Relay:
    """Forwards every connection to a target; see the module. Clients connect to `address` (HOST:PORT)."""

    def __init__(self, target: str, seed: int) -> None:
        self.address = ""
        self.traffic = Traffic()
        self.up, self.down = Way(self.traffic.up, seed), Way(self.traffic.down, seed + 1)
        self.refusing = False  # True: new connections are reset at once
        self.target = target  # of new connections; change it to redirect clients that reconnect
        self._connections: set[_Connection] = set()
        self._served: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def stall(self) -> None:
        """Starts an outage: no bytes pass either way, sockets see no error, and new connections get no answer."""
        self.up.stall()
        self.down.stall()

    def resume(self) -> None:
        """Ends the outage; the held bytes are delivered."""
        self.up.resume()
        self.down.resume()

    def cut(self) -> None:
        """Resets all open connections on both sides; accepts new ones."""
        for connection in tuple(self._connections):
            connection.reset()

    def half_open(self) -> None:
        """Makes all open connections silently drop what they get; accepts new ones."""
        for connection in self._connections:
            connection.swallowing = True

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a new client."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def close(self) -> None:
        """Closes all connections."""
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
    """Forwards one direction of one connection until its end, and forwards the end too."""
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
    except (OSError, RuntimeError):  # uvloop raises RuntimeError for a closed transport
        return  # the far end has closed; the other direction notices by itself
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def relay(target: str, seed: int = 0) -> AsyncIterator[Relay]:
    """Listens on a free port and forwards to `target` until the block ends.

    Args:
        target: HOST:PORT.
        seed: seed of the jitter; the same seed and chunks give the same delays.
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
