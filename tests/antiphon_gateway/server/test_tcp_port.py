"""A port of a protocol that stands on TCP alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.address import split_address
from antiphon.errors import AntiphonError
from antiphon.tls import ExposedError
from antiphon_gateway.server.tcp_port import TcpPort


class Echo:
    """Sends back what comes; `open` counts connections."""

    def __init__(self) -> None:
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while data := await reader.read(100):
                writer.write(data)
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def listening(echo: Echo) -> AsyncIterator[tuple[TcpPort, str]]:
    port = TcpPort("Echo", "--echo", echo.serve)
    try:
        yield port, await port.open("127.0.0.1:0", insecure=False)
    finally:
        await port.close()


async def test_connections_are_served_until_the_port_closes() -> None:
    echo = Echo()
    async with listening(echo) as (port, address):
        clients = [await asyncio.open_connection(*split_address(address)) for _ in range(3)]
        for reader, writer in clients:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
        assert echo.open == 3
        await port.close()
        assert echo.open == 0
        for reader, writer in clients:
            assert await reader.read(-1) == b""
            writer.close()


async def test_a_port_that_is_taken_is_one_sentence() -> None:
    async with listening(Echo()) as (_, taken):
        with pytest.raises(AntiphonError, match=f"cannot listen on {taken}: .*; choose another with --echo HOST:PORT"):
            await TcpPort("Echo", "--echo", Echo().serve).open(taken, insecure=False)


async def test_others_do_not_reach_it_by_mistake() -> None:
    port = TcpPort("Echo", "--echo", Echo().serve)
    with pytest.raises(ExposedError, match="Echo has no encryption and no key: give --insecure"):
        await port.open("0.0.0.0:0", insecure=False)
    await port.open("0.0.0.0:0", insecure=True)
    await port.close()
