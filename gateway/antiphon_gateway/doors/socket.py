"""A client's WebSocket, bounded: in the size of its messages, and in how long it may leave ours unread."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from antiphon.errors import (
    AntiphonError,
    NoFreeSlotError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from antiphon.serving.rates import Buckets
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.errors import MessageError, SlowClientError

MESSAGE_BYTES = 1 << 20
MESSAGES_PER_S = 500.0  # of one client; who sends more is read more slowly
MESSAGES_AT_ONCE_S = 2.0
SEND_S = 10.0  # that a client may take to read
HEARTBEAT_S = 15.0  # a client that answers no ping for so long is gone
CLOSE_S = 2.0
AT_ONCE = 8192  # characters of a message that a connection takes without a wait: an eighth of its high-water mark
SEND_BUFFER_BYTES = 128 << 10  # that the system keeps for a client that does not read; it would take megabytes

STATUSES: dict[type[AntiphonError], HTTPStatus] = {
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    NoFreeSlotError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    MessageError: HTTPStatus.BAD_REQUEST,
}


def http_status(error: AntiphonError) -> HTTPStatus:
    """The status of a request that fails with `error`."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)


class Socket:
    """An open WebSocket; `open_socket` makes it."""

    def __init__(self, response: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        self._response, self._transport = response, transport
        self._rate = Buckets()

    async def messages(self) -> AsyncIterator[bytes | str]:
        """What the client sends, until it closes, or sends what no WebSocket has."""
        loop = asyncio.get_running_loop()
        async for message in self._response:
            if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                yield message.data
                if over_s := self._rate.take("", 1 / MESSAGES_PER_S, MESSAGES_AT_ONCE_S, loop.time()):
                    await asyncio.sleep(over_s)

    async def send(self, data: bytes | str) -> None:
        """Sends one message.

        Raises:
            SlowClientError: the client has not read for `SEND_S`.
            ConnectionError: it is gone.
        """
        if self._goes_out_at_once(data):
            await self._write(data)
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._write(data)
        except TimeoutError:
            raise SlowClientError(f"the client has read nothing for {SEND_S:g} s: connection ended") from None

    def _goes_out_at_once(self, data: bytes | str) -> bool:
        """Whether nothing waits to be sent and this is too little to be waited for, so that no clock is needed."""
        transport = self._transport
        if not isinstance(transport, asyncio.Transport) or len(data) > AT_ONCE:
            return False
        return transport.get_write_buffer_size() == 0

    async def _write(self, data: bytes | str) -> None:
        if isinstance(data, bytes):
            await self._response.send_bytes(data)
        else:
            await self._response.send_str(data)

    async def send_json(self, value: Any) -> None:
        """Sends a value as JSON; errors as `send`."""
        await self.send(msgspec.json.encode(value).decode())

    async def close(self, error: AntiphonError | None = None) -> None:
        """Closes the connection, with the reason."""
        code = WSCloseCode.OK if error is None else close_code(error)
        reason = b"" if error is None else str(error).encode()[:120]
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._response.close(code=code, message=reason)
        except TimeoutError:  # what it has not read waits to be sent, for ever
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()


def close_code(error: AntiphonError) -> WSCloseCode:
    """The code with which a connection ends."""
    if isinstance(error, MessageError):
        return WSCloseCode.UNSUPPORTED_DATA
    if isinstance(error, NoFreeSlotError | UnavailableError):
        return WSCloseCode.TRY_AGAIN_LATER
    if isinstance(error, UnauthenticatedError | PermissionDeniedError | SlowClientError):
        return WSCloseCode.POLICY_VIOLATION
    return WSCloseCode.INTERNAL_ERROR


class _Response(web.WebSocketResponse):
    """Says what is wrong with a message that is too large; aiohttp closes the connection at its first bytes."""

    message_bytes = MESSAGE_BYTES

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Closes the connection."""
        if code == WSCloseCode.MESSAGE_TOO_BIG:
            message = f"a message of more than {self.message_bytes} bytes: send sound in shorter ones".encode()
        return await super().close(code=code, message=message, drain=drain)


@asynccontextmanager
async def open_socket(
    gateway: Gateway, request: web.Request, protocols: tuple[str, ...] = (), message_bytes: int = MESSAGE_BYTES
) -> AsyncIterator[tuple[Socket, web.WebSocketResponse]]:
    """The request's WebSocket, until the block ends.

    Args:
        gateway: closes it when it ends.
        request: that asks for one.
        protocols: subprotocols that the door speaks.
        message_bytes: of the largest message.
    """
    response = _Response(
        heartbeat=HEARTBEAT_S, max_msg_size=message_bytes, protocols=protocols, compress=False, timeout=CLOSE_S
    )
    response.message_bytes = message_bytes
    await response.prepare(request)
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    gateway.sockets.add(response)
    opened = Socket(response, request.transport)
    try:
        yield opened, response
    finally:
        gateway.sockets.discard(response)
        await opened.close()
