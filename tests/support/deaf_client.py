"""A client of a WebSocket that sends and never reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from antiphon.address import split_address

BUFFER_BYTES = 4096
TEXT, BINARY = 0x81, 0x82


def masked(message: str | bytes) -> bytes:
    """A message as a client frames it, masked with zeros."""
    data = message.encode() if isinstance(message, str) else message
    kind = TEXT if isinstance(message, str) else BINARY
    return bytes((kind, 0xFF)) + len(data).to_bytes(8, "big") + bytes(4) + data


@asynccontextmanager
async def deaf(
    address: str,
    path: str,
    first: Sequence[str | bytes],
    again: str | bytes | None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[None]:
    """A client that sends its first messages, and another one again and again, until the block ends.

    Args:
        address: HOST:PORT.
        path: of the WebSocket, with its query.
        first: messages.
        again: one; None for none.
        headers: of its request.
    """
    loop = asyncio.get_running_loop()
    wanted = {
        "Host": address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **(headers or {}),
    }
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in wanted.items()) + "\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        client.setblocking(False)
        await loop.sock_connect(client, split_address(address))
        await loop.sock_sendall(client, request.encode() + b"".join(map(masked, first)))

        async def flood() -> None:
            while again is not None:
                await loop.sock_sendall(client, masked(again))

        flooding = asyncio.create_task(flood())
        try:
            yield
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
