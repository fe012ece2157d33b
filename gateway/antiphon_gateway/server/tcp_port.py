"""A port of a protocol that stands on TCP alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from antiphon.address import join_address, split_address
from antiphon.errors import AntiphonError
from antiphon.tls import ExposedError, is_loopback

logger = logging.getLogger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TcpPort:
    """An open port, whose connections end with it.

    Args:
        name: of the protocol, in sentences.
        flag: that sets the address.
        serve: handles one connection, and closes it.
    """

    def __init__(self, name: str, flag: str, serve: Handler) -> None:
        self.name, self._flag, self._serve = name, flag, serve
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Future[None]] = set()

    async def open(self, listen: str, insecure: bool) -> str:
        """Lets clients in; returns HOST:PORT as bound (port 0 picks one).

        Args:
            listen: HOST:PORT.
            insecure: whether plaintext may leave this machine.

        Raises:
            ExposedError: others can reach the address, and `insecure` does not allow it.
            AntiphonError: it cannot be listened on.
        """
        if not (insecure or is_loopback(listen)):
            raise ExposedError(
                f"{listen} is reached from other machines, and {self.name} has no encryption and no key: give "
                "--insecure on a network that you trust"
            )
        host, port = split_address(listen)
        try:
            self._server = await asyncio.start_server(self._connected, host, port)
        except OSError as error:
            raise AntiphonError(
                f"cannot listen on {listen}: {error.strerror or error}; choose another with {self._flag} HOST:PORT"
            ) from None
        return join_address(host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Lets nobody in and ends the connections that are left."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(serving)
        try:
            await asyncio.wait({serving})  # a connection that `close` cancels is no error of this task's
        finally:
            self._connections.discard(serving)
        if not serving.cancelled():
            serving.result()
