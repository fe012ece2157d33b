"""WebSockets of a test's own that end as no client should end one."""

from __future__ import annotations

import asyncio

import aiohttp


def vanish(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Breaks the connection without a goodbye, as a browser's tab that is gone."""
    connection = socket._response.connection
    assert connection is not None
    assert isinstance(connection.transport, asyncio.Transport)
    connection.transport.abort()
