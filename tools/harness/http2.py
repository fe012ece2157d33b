"""A minimal HTTP/2 client (RFC 9113) that misbehaves as gRPC's library cannot: its windows may stay shut.

Tests of bad clients and `tools/load/attacks.py` use it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8
FRAME_BYTES, WINDOW_BYTES = 16_384, 65_535  # HTTP/2's defaults before SETTINGS
Metadata = Sequence[tuple[str, str]]


def message(data: bytes) -> bytes:
    """A gRPC message with its length prefix."""
    return b"\x00" + len(data).to_bytes(4, "big") + data


class Connection:
    """One connection; it answers only what HTTP/2 requires an answer to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.ended: dict[int, asyncio.Event] = {}
        """By stream: set when the server has ended it."""
        self.data: dict[int, bytearray] = {}
        """By stream: received bytes of messages that were not read yet."""
        self.settings: dict[int, int] = {}
        """The server's settings; complete once `settled` is set."""
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()
        self._reader, self._writer, self._address = reader, writer, address
        self._next = 1
        self._block: tuple[tuple[str, Metadata], bytes] | None = None  # the last call's encoded header block
        self._rooms: dict[int, int] = {0: WINDOW_BYTES}  # send windows by stream; 0 is the connection's
        self._news = asyncio.Event()  # a frame came, or the connection closed

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def call(self, method: str, *messages: bytes, metadata: Metadata = (), end: bool = True) -> int:
        """Starts a call of `method` (`/service/name`) with whole messages; returns its stream."""
        stream, self._next = self._next, self._next + 2
        self.ended[stream], self.data[stream] = asyncio.Event(), bytearray()
        self._rooms[stream] = self.settings.get(INITIAL_WINDOW_SIZE, WINDOW_BYTES)
        self._write(
            HEADERS, END_HEADERS | (END_STREAM if end and not messages else 0), stream, self._fields(method, metadata)
        )
        for number, each in enumerate(messages, 1):
            self.send(stream, message(each), end=end and number == len(messages))
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends bytes on a stream."""
        self._write(DATA, END_STREAM if end else 0, stream, data)

    async def upload(self, stream: int, data: bytes) -> None:
        """Sends bytes on a stream as the server's windows allow; returns early if the server ends the stream."""
        while data and not (self.ended[stream].is_set() or self.closed.is_set()):
            if room := max(0, min(len(data), FRAME_BYTES, self._rooms[0], self._rooms[stream])):
                self.send(stream, data[:room])
                self._rooms[0] -= room
                self._rooms[stream] -= room
                data = data[room:]
            else:
                await self._hear()

    async def read(self, stream: int) -> bytes | None:
        """The next message of a stream; None if the stream or the connection ends first."""
        data = self.data[stream]
        while True:
            if len(data) >= 5 and len(data) >= (size := 5 + int.from_bytes(data[1:5], "big")):
                whole = bytes(data[5:size])
                del data[:size]
                return whole
            if self.ended[stream].is_set() or self.closed.is_set():
                return None
            await self._hear()

    def forget(self, stream: int) -> None:
        """Drops the record of a stream; later data on it is ignored."""
        del self.ended[stream], self.data[stream], self._rooms[stream]

    def reset(self, stream: int) -> None:
        """Cancels a call."""
        self._write(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))

    def open_window(self, stream: int, room: int) -> None:
        """Grants `room` more bytes of a stream to the server."""
        self._write(WINDOW_UPDATE, 0, stream, struct.pack(">I", room))

    async def end_of(self, stream: int) -> None:
        """Returns once the server has ended the stream."""
        await self.ended[stream].wait()

    def _fields(self, method: str, metadata: Metadata) -> bytes:
        if self._block is None or self._block[0] != (method, metadata):
            fields = {
                ":method": "POST",
                ":scheme": "http",
                ":path": method,
                ":authority": self._address,
                "content-type": "application/grpc",
                "te": "trailers",
            }
            # HPACK: literals without indexing, names and values uncompressed.
            literals = (b"\x00" + _literal(name) + _literal(value) for name, value in (*fields.items(), *metadata))
            self._block = (method, metadata), b"".join(literals)
        return self._block[1]

    async def _hear(self) -> None:
        """Waits for the next frame, or for the connection to close."""
        self._news.clear()
        await self._news.wait()

    def _write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._writer.transport.is_closing():
            return
        length = len(payload).to_bytes(3, "big")
        self._writer.write(length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        except (OSError, asyncio.IncompleteReadError):
            self.closed.set()
            self._news.set()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._write(kind, ACK, 0, payload if kind == PING else b"")
        if kind == SETTINGS and not flags & ACK:
            before = self.settings.get(INITIAL_WINDOW_SIZE, WINDOW_BYTES)
            self.settings |= dict(struct.iter_unpack(">HI", payload))
            more = self.settings.get(INITIAL_WINDOW_SIZE, WINDOW_BYTES) - before
            self._rooms |= {each: room + more for each, room in self._rooms.items() if each}
            self.settled.set()
        elif kind == WINDOW_UPDATE and stream in self._rooms:
            self._rooms[stream] += int.from_bytes(payload, "big")
        elif kind == DATA:
            if stream in self.data:
                self.data[stream] += payload
            if payload:  # keeps the connection's window open; only a stream's may shut
                self._write(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload)))
        self._news.set()
        if stream in self.ended and (kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM)):
            self.ended[stream].set()


def _literal(text: str) -> bytes:
    """An uncompressed HPACK string."""
    assert len(text) < 127, "one byte of length is enough here"
    return bytes([len(text)]) + text.encode()


@asynccontextmanager
async def connection(
    address: str, initial_window: int | None = None, source: str | None = None
) -> AsyncIterator[Connection]:
    """A connection to `address`, open until the block ends.

    Args:
        address: HOST:PORT.
        initial_window: bytes that the server may send on a stream; 0 shuts it. None keeps HTTP/2's 65,535.
        source: the local address to connect from; None for the system's choice.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0) if source else None)
    opened = Connection(reader, writer, address)
    settings = b"" if initial_window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, initial_window)
    writer.write(PREFACE)
    opened._write(SETTINGS, 0, 0, settings)
    reading = asyncio.create_task(opened._read())
    try:
        yield opened
    finally:
        reading.cancel()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        await asyncio.gather(reading, return_exceptions=True)
