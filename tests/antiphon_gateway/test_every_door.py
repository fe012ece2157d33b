"""What all doors have in common: who does not get in, at none of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from antiphon_gateway.access.tokens import LONGEST_S
from antiphon_gateway.server.config import Workers
from antiphon_gateway.server.process import Server
from tests.support.gateways import gateway

SOCKETS = ("/api/chat", "/v1/realtime", "/v1/frames", "/api/asr-streaming", "/api/tts_streaming")
BODIES = ("/v1/realtime/client_secrets", "/api/asr-streaming")


@pytest.fixture
async def served() -> AsyncIterator[Server]:
    """Who does not get in is not asked what for: no worker is needed."""
    async with gateway((), workers=Workers()) as server:
        yield server


async def refused(server: Server, path: str, headers: dict[str, str]) -> int:
    """The status with which a WebSocket is refused."""
    async with aiohttp.ClientSession(f"http://{server.address}") as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await client.ws_connect(path, headers=headers)
    return refusal.value.status


@pytest.mark.parametrize("path", SOCKETS)
async def test_another_sites_page_opens_no_socket(path: str, served: Server) -> None:
    assert await refused(served, path, {"Origin": "https://foe.example"}) == 403


@pytest.mark.parametrize("path", BODIES)
async def test_another_sites_page_sends_nothing(path: str, served: Server) -> None:
    foe = {"Origin": "https://foe.example"}
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.post(path, data=b"{}", headers=foe) as answer,
    ):
        assert answer.status == 403
        assert "a page of https://foe.example may not connect" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("path", SOCKETS)
async def test_an_expired_token_opens_no_socket(path: str, served: Server) -> None:
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.post("/v1/realtime/client_secrets") as answer,
    ):
        token = (await answer.json())["value"]
    tokens = served.gateway.access.tokens
    now = tokens._clock
    tokens._clock = lambda: now() + LONGEST_S + 1
    assert await refused(served, path, {"Authorization": f"Bearer {token}"}) == 401
