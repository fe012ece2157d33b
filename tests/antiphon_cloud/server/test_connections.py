"""Connections and streams: how many there may be, and when one that is silent is closed."""

from __future__ import annotations

import asyncio
import resource
import urllib.request
from contextlib import AsyncExitStack

import grpc
import pytest

from antiphon_cloud.server import descriptors
from antiphon_cloud.server import process as server_options
from antiphon_cloud.server.process import ServerConfig
from antiphon_edge.transport import channel as connection_options
from tests.support.attacks import END_S, newcomer
from tests.support.servers import StubOptions, StubServer, stub_server
from tools.harness.http2 import connection


async def test_a_connection_has_a_bounded_number_of_streams() -> None:
    async with stub_server() as server, connection(server.address) as attacker:
        await asyncio.wait_for(attacker.settled.wait(), END_S)
        assert attacker.settings[3] == 256  # SETTINGS_MAX_CONCURRENT_STREAMS


async def test_connections_are_bounded_and_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "CONNECTIONS", 4)
    config = ServerConfig(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
    async with stub_server(StubOptions(config=config)) as server:
        async with AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(connection(server.address)) for _ in range(4)]
            await asyncio.gather(*(asyncio.wait_for(each.settled.wait(), END_S) for each in idle))
            one_more = await stack.enter_async_context(connection(server.address))
            await asyncio.wait_for(one_more.closed.wait(), END_S)
            assert await asyncio.to_thread(healthy, server.server.metrics_address)
        await until_admitted(server)  # idle ones are closed after 30 s; these have left


@pytest.mark.parametrize(
    ("limits", "raised", "connections"),
    [
        ((1024, 20_000), 8192, 4096),
        ((1024, 1024), 1024, 768),
        ((256, 256), 256, 128),
        ((20_000, 20_000), 20_000, 4096),
        ((1024, resource.RLIM_INFINITY), 8192, 4096),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 8192, 4096),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may(
    limits: tuple[int, int], raised: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda which: now[0])
    monkeypatch.setattr(resource, "setrlimit", lambda which, to: now.__setitem__(0, to))
    assert descriptors.raise_limit() == raised
    assert now[0] == (limits[0] if limits[0] in (raised, resource.RLIM_INFINITY) else raised, limits[1])
    assert descriptors.connections(raised) == connections


def test_an_unused_connection_is_closed_after_half_a_minute() -> None:
    assert dict(server_options.CHANNEL_OPTIONS)["grpc.max_connection_idle_ms"] == 30_000


def test_a_client_that_vanished_is_missed_after_half_a_minute_on_both_sides() -> None:
    for options in (server_options.CHANNEL_OPTIONS, connection_options.CHANNEL_OPTIONS):
        said = dict(options)
        # gRPC waits for a ping's answer as long as the longer of the two says.
        wait_ms = max(said["grpc.keepalive_timeout_ms"], said["grpc.http2.ping_timeout_ms"])
        assert said["grpc.keepalive_time_ms"] + wait_ms == 30_000


def healthy(address: str | None) -> bool:
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=END_S) as response:
        return bool(response.status == 200)


async def until_admitted(server: StubServer) -> None:
    """Returns once a newcomer is let in: gRPC takes a moment to see that others have left."""
    async with asyncio.timeout(END_S):
        while True:
            try:
                return await newcomer(server)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
