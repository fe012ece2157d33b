"""An edge that speaks the contract by WebSocket, as the page does; and what it asks for before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from antiphon.codes import CodePacker
from antiphon.v1 import dialogue_pb2 as pb
from tests.support.servers import CODEC

CODES = CodePacker(CODEC.codebooks, CODEC.cardinality).pack(range(8))


class FramesClient:
    """One connection to `/v1/frames`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def open(self, **fields: object) -> pb.Opened:
        """Opens a session; `fields` are those of Open."""
        opening = pb.Open(codec_fingerprint=CODEC.fingerprint, **fields)  # type: ignore[arg-type]
        await self.send(pb.ConverseRequest(open=opening))
        return (await self.receive()).opened

    async def send(self, request: pb.ConverseRequest) -> None:
        await self.socket.send_bytes(request.SerializeToString())

    async def step(self) -> pb.ConverseResponse:
        """The reply to a frame."""
        await self.send(pb.ConverseRequest(codes=CODES))
        return await self.receive()

    async def receive(self) -> pb.ConverseResponse:
        return pb.ConverseResponse.FromString(await self.socket.receive_bytes())

    async def status(self) -> tuple[str, str, float]:
        """What is said before the connection is closed: status, message, seconds to wait."""
        told = msgspec.json.decode(await self.socket.receive_str())
        assert (await self.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        return told["status"], told["message"], told["retry_after_s"]


@asynccontextmanager
async def frames(address: str, path: str = "/v1/frames") -> AsyncIterator[FramesClient]:
    """A connection, until the block ends."""
    async with aiohttp.ClientSession() as client, client.ws_connect(f"ws://{address}{path}") as socket:
        yield FramesClient(socket)
