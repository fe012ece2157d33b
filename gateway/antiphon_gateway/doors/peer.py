"""A client's TCP connection, bounded: in how long it may leave ours unread, and in how long it may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from antiphon.errors import SessionTimeoutError
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.doors import socket
from antiphon_gateway.errors import SlowClientError

READ_BYTES = 1 << 16


class Peer:
    """An open connection.

    Args:
        reader: of what the client sends.
        writer: to the client.
        idle_s: seconds without a byte after which the client is taken for gone.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_s: float) -> None:
        self._reader, self._writer, self._idle_s = reader, writer, idle_s
        host = writer.get_extra_info("peername")[0]
        self.visitor = Visitor(f"the address {host}")

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the client sends, in pieces of any size, until it closes.

        Raises:
            SessionTimeoutError: nothing came for `idle_s`.
            ConnectionError: the client is gone.
        """
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                raise SessionTimeoutError(f"nothing came for {self._idle_s:g} s: connect again") from None
            if not data:
                return
            yield data

    async def send(self, data: bytes) -> None:
        """Sends all of it.

        Raises:
            SlowClientError: the client has not read for `socket.SEND_S`.
            ConnectionError: it is gone.
        """
        self._writer.write(data)
        try:
            async with asyncio.timeout(socket.SEND_S):
                await self._writer.drain()
        except TimeoutError:
            raise SlowClientError(f"the client has read nothing for {socket.SEND_S:g} s: connection ended") from None

    async def close(self) -> None:
        """Closes the connection; what was not read by then is lost."""
        self._writer.close()
        try:
            async with asyncio.timeout(socket.CLOSE_S):
                with suppress(ConnectionError):
                    await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
