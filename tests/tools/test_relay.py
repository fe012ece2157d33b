"""The relay that stands for a network: what it does to bytes, and that it does only what it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.ports import unused_address
from tests.support.time_travel import until
from tools.harness.relay import Relay, relay

END_S = 60.0


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that answers with what it hears; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while heard := await reader.read(65_536):
                writer.write(heard)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Client:
    """A connection to the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), END_S)

    async def hears_nothing_for(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.reader.readexactly(1), seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def connected(network: Relay) -> AsyncIterator[Client]:
    host, _, port = network.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def echo_through_a_relay() -> AsyncIterator[tuple[Relay, Client]]:
    async with echo() as target, relay(target) as network, connected(network) as client:
        await client.say(b"?")
        assert await client.hear(1) == b"?"
        yield network, client


async def test_bytes_pass_whole_and_in_order_and_are_counted() -> None:
    data = bytes(range(256)) * 2000
    async with echo_through_a_relay() as (network, client):
        telling = asyncio.create_task(client.say(data))
        assert await client.hear(len(data)) == data
        await telling
        assert sum(size for _, size in network.traffic.up) == len(data) + 1
        assert sum(size for _, size in network.traffic.down) == len(data) + 1


async def test_an_end_is_passed_on_after_the_last_byte() -> None:
    async with echo_through_a_relay() as (_, client):
        client.writer.write(b"last")
        client.writer.write_eof()
        assert await asyncio.wait_for(client.reader.read(), END_S) == b"last"


async def test_delay_and_jitter_hold_bytes_back_and_keep_their_order() -> None:
    async with echo_through_a_relay() as (network, client):
        network.up.delay_s, network.down.jitter_s = 0.1, 0.05
        begin = time.perf_counter()
        for number in range(5):
            await client.say(bytes([number]))
            await asyncio.sleep(0)
        assert await client.hear(5) == bytes(range(5))
        assert time.perf_counter() - begin >= 0.1


async def test_jitter_is_the_same_for_the_same_seed() -> None:
    async with relay("127.0.0.1:1", seed=3) as one, relay("127.0.0.1:1", seed=3) as other:
        one.up.jitter_s = other.up.jitter_s = 1.0
        assert [one.up.due_s(0) for _ in range(9)] == [other.up.due_s(0) for _ in range(9)]


async def test_a_stall_holds_everything_until_it_ends() -> None:
    async with echo_through_a_relay() as (network, client):
        network.stall()
        await client.say(b"held")
        await until(lambda: network.up.held)
        assert await client.hears_nothing_for(0.1)
        network.resume()
        assert await client.hear(4) == b"held"


async def test_a_stall_of_one_way_leaves_the_other() -> None:
    async with echo_through_a_relay() as (network, client):
        network.down.stall()
        await client.say(b"held")
        await until(lambda: sum(size for _, size in network.traffic.up) == len(b"?held"))
        assert await client.hears_nothing_for(0.1)
        network.resume()
        assert await client.hear(4) == b"held"


async def test_a_cut_resets_what_is_connected_and_welcomes_the_next() -> None:
    async with echo_through_a_relay() as (network, client):
        network.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), END_S)
        async with connected(network) as next_client:
            await next_client.say(b"again")
            assert await next_client.hear(5) == b"again"


async def test_a_half_open_connection_swallows_bytes_and_the_next_one_works() -> None:
    async with echo_through_a_relay() as (network, client):
        network.half_open()
        await client.say(b"lost")
        assert await client.hears_nothing_for(0.1)
        async with connected(network) as next_client:
            await next_client.say(b"found")
            assert await next_client.hear(5) == b"found"


async def test_a_slow_drip_passes_a_few_bytes_at_a_time() -> None:
    async with echo_through_a_relay() as (network, client):
        network.up.drip_bytes, network.up.drip_s = 2, 0.01
        await client.say(b"0123456789")
        assert await client.hear(10) == b"0123456789"
        assert [size for _, size in network.traffic.up[1:]] == [2] * 5


async def test_who_connects_to_nobody_is_reset() -> None:
    async with relay(unused_address()) as network, connected(network) as client:
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), END_S)


async def test_the_end_leaves_no_connection_behind() -> None:
    async with echo() as target:
        async with relay(target) as network, connected(network) as client:
            await client.say(b"?")
            assert await client.hear(1) == b"?"
            network.up.stall()
            await client.say(b"held")
            await until(lambda: network.up.held)
        assert network.connections == 0
