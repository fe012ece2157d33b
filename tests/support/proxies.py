"""An HTTP proxy on loopback that notes who asks it for what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class LoggingProxy:
    """Refuses whatever it is asked for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    """First lines of the requests."""


@asynccontextmanager
async def logging_proxy() -> AsyncIterator[LoggingProxy]:
    """Listens until the block ends."""
    proxy = LoggingProxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.asked.append((await reader.readline()).decode(errors="replace").strip())
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        proxy.address = f"{host}:{port}"
        yield proxy
