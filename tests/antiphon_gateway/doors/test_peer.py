"""A client's TCP connection, bounded both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.errors import SessionTimeoutError
from antiphon_gateway.doors import socket
from antiphon_gateway.doors.peer import Peer
from antiphon_gateway.errors import SlowClientError
from tests.support.time_travel import Clock

IDLE_S = 1000.0  # no other limit is near


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Both ends of a connection: the gateway's, and the client's."""
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.put_nowait(Peer(reader, writer, IDLE_S))
        await ended.wait()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        peer = await peers.get()
        try:
            yield peer, reader, writer
        finally:
            writer.close()
            await peer.close()
            ended.set()


async def test_bytes_come_until_the_client_closes() -> None:
    async with connected() as (peer, _, writer):
        assert peer.visitor.name == "the address 127.0.0.1"
        writer.write(b"hello")
        writer.write_eof()
        assert b"".join([data async for data in peer.chunks()]) == b"hello"


async def test_what_is_sent_arrives_before_the_connection_closes() -> None:
    async with connected() as (peer, reader, _):
        await peer.send(b"hello")
        await peer.close()
        assert await reader.read(-1) == b"hello"


async def test_a_client_that_is_silent_for_long_is_gone(clock: Clock) -> None:
    async with connected() as (peer, _, _):
        waiting = asyncio.ensure_future(anext(peer.chunks()))
        await clock.outlast(IDLE_S)
        with pytest.raises(SessionTimeoutError, match="nothing came for 1000 s"):
            await waiting


async def test_a_client_that_never_reads_is_cut_off(clock: Clock) -> None:
    async with connected() as (peer, _, _):

        async def send() -> None:
            while True:
                await peer.send(bytes(1 << 20))

        sending = asyncio.create_task(send())
        await clock.outlast(socket.SEND_S)
        with pytest.raises(SlowClientError, match=f"the client has read nothing for {socket.SEND_S:g} s"):
            await asyncio.wait_for(sending, 60)
