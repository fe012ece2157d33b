"""A client that stops in the middle of a message, which no gRPC library lets one write: HTTP/2 by hand (RFC 9113)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_HEADERS = 0x4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _headers(address: str, method: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": address,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # HPACK: each a literal without indexing, neither name nor value compressed.
    return b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


@asynccontextmanager
async def half_message(address: str, method: str, whole: list[bytes], half: bytes) -> AsyncIterator[None]:
    """Sends the `whole` messages and the first half of one more, and then nothing, until the block ends."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    messages = b"".join(b"\x00" + len(message).to_bytes(4, "big") + message for message in whole)
    cut = b"\x00" + len(half).to_bytes(4, "big") + half[: len(half) // 2]
    writer.write(PREFACE + _frame(SETTINGS, 0, 0, b"") + _frame(HEADERS, END_HEADERS, 1, _headers(address, method)))
    writer.write(_frame(DATA, 0, 1, messages + cut))
    try:
        await writer.drain()
        yield
    finally:
        writer.close()
