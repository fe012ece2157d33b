"""`/v1/frames`: the contract by WebSocket, for an edge in a browser, which can hold no gRPC stream both ways.

Each binary message is one message of the contract, unchanged: ConverseRequest up, the first of them Open, and
ConverseResponse down. The gateway looks at their size and their rate. A call that ends otherwise than by Closed ends
with one text message, {"status", "message", "retry_after_s"}: what gRPC's status would say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web
from google.protobuf.message import DecodeError

from antiphon.errors import AntiphonError, NoFreeSlotError, SessionTimeoutError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.fleet import Fleet
from antiphon_gateway.calls.passage import Passage, open_passage
from antiphon_gateway.calls.record import CallRecord
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.socket import Socket, open_socket
from antiphon_gateway.errors import MessageError

DOOR = "frames"  # in the metrics
MESSAGE_BYTES = 1 << 20  # a history of 4,096 steps has 98 kB, a voice of its own 8 kB a minute
OPEN_S = 10.0  # from the connection to Open

Find = Callable[[], Fleet]
"""The workers, where they have answered; raises UnavailableError before."""


async def serve(gateway: Gateway, request: web.Request, visitor: Visitor, find: Find) -> web.StreamResponse:
    """Passes one call through."""
    async with open_socket(gateway, request, message_bytes=MESSAGE_BYTES) as (socket, response):
        try:
            await _pass_through(gateway, socket, visitor, find())
        except ConnectionError:
            pass  # the client is gone
        except AntiphonError as error:
            with suppress(AntiphonError, ConnectionError):
                await socket.send_json(_status(error))
            await socket.close(error)
    return response


async def _pass_through(gateway: Gateway, socket: Socket, visitor: Visitor, fleet: Fleet) -> None:
    """The call, counted; returns when it is closed or the client has gone.

    Raises:
        AntiphonError: it has ended otherwise.
    """
    messages = socket.messages()
    with gateway.counted(DOOR, visitor) as seat, gateway.capacity.place(visitor.name, visitor.calls):
        try:
            async with asyncio.timeout(OPEN_S):
                first = await anext(messages, None)
        except TimeoutError:
            raise SessionTimeoutError(f"no Open within {OPEN_S:g} s: send it first") from None
        if first is None:
            return
        request = _request(first)
        async with gateway.access.lifetime(visitor), open_passage(fleet, request) as passage:
            record = seat.open(request.open.conversation, step=passage.opened.opened.step_offset)
            await socket.send(passage.opened.SerializeToString())
            await _relay(socket, messages, passage, record)


async def _relay(socket: Socket, messages: AsyncIterator[bytes | str], passage: Passage, record: CallRecord) -> None:
    """Carries messages both ways until either side has ended."""

    async def up() -> None:
        async for message in messages:
            await passage.write(_request(message))

    async def down() -> None:
        closed = False
        while not closed:
            response = await passage.read()
            closed = response.HasField("closed")
            if response.WhichOneof("control") is None:
                record.frame()
            await socket.send(response.SerializeToString())

    await both_ways(up(), down())


def _request(message: bytes | str) -> pb.ConverseRequest:
    """The message of the contract.

    Raises:
        MessageError: it is none.
    """
    if isinstance(message, str):
        raise MessageError("a text message: send the messages of the contract as binary ones")
    try:
        return pb.ConverseRequest.FromString(message)
    except DecodeError:
        raise MessageError(f"{len(message)} bytes that are no ConverseRequest: send the contract's messages") from None


def _status(error: AntiphonError) -> dict[str, str | float]:
    retry_after_s = error.retry_after_s if isinstance(error, NoFreeSlotError) else 0.0
    return {"status": error.status, "message": str(error), "retry_after_s": retry_after_s}
