"""The messages of one RPC, both ways, and the first of them: Open and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar

import grpc

from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon.to_the_end import to_the_end
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import translate
from antiphon_edge.transport.grpc_workarounds import CallOverError, CallStatus, end_call
from antiphon_edge.transport.handshake import check_opened

T = TypeVar("T")

OPEN_TIMEOUT_S = 10.0  # from Open to Opened
PREFILL_TIMEOUT_S = 30.0  # the same, where it computes a history or a prompt or reads an adapter, with others to serve
LEAVE_S = 1.0  # from Close to Closed; after that the call is cancelled


class Messages:
    """The messages of one RPC, both ways, with errors of ours."""

    def __init__(self, rpc: Any, address: str) -> None:
        self.address = address
        self._rpc = rpc
        self._status = CallStatus(rpc)

    async def read(self) -> pb.ConverseResponse:
        """The next message; raises `UnavailableError` where the stream broke, else the status that ended the call."""
        response = await self._translated(self._rpc.read())
        if response is grpc.aio.EOF:
            raise UnavailableError(f"the worker at {self.address} ended the call before Closed")
        return response  # type: ignore[no-any-return]

    async def write(self, request: pb.ConverseRequest) -> None:
        """Sends a message; errors as in `read`."""
        await self._translated(self._rpc.write(request))

    async def say_close(self) -> None:
        """Says Close and waits for Closed."""
        await self.write(pb.ConverseRequest(close=pb.Close()))
        while not (await self.read()).HasField("closed"):
            pass

    async def cancel(self) -> None:
        """Ends the call, wherever it stands."""
        end_call(self._rpc)

    async def _translated(self, operation: Awaitable[T]) -> T:
        """The operation's result, or the reason why the call ended as an error of ours."""
        try:
            return await self._status.result(operation)
        except CallOverError as over:
            if over.status is None or over.status.code() is grpc.StatusCode.OK:
                raise UnavailableError(f"lost the worker at {self.address}: the call has ended") from None
            raise translate(over.status, self.address) from None


async def say_open(messages: Messages, request: pb.ConverseRequest, timeout_s: float) -> pb.Opened:
    """Says Open and waits for Opened.

    Args:
        messages: of a call on which nothing was said.
        request: has Open.
        timeout_s: for both; cancelled or too late, it gives back what the worker has given.

    Raises:
        UnavailableError: no answer in time, or the worker takes no session.
        AntiphonError: the status that it was refused with, or an answer that cannot be.
    """
    reading = asyncio.ensure_future(_first_answer(messages, request))
    try:
        done, _ = await asyncio.wait((reading,), timeout=timeout_s)
    except asyncio.CancelledError:
        await to_the_end(_take_back(messages, reading))
        raise
    if not done:
        await to_the_end(_stop(messages, reading))
        raise UnavailableError(f"the worker at {messages.address} did not answer Open: try again, or another one")
    response = reading.result()
    match response.WhichOneof("control"):
        case "opened":
            check_opened(response.opened, request.open, messages.address)
            return response.opened
        case "go_away":
            reason = response.go_away.reason
            raise UnavailableError(f"the worker at {messages.address} takes no session: {reason}: try another one")
        case _:
            raise SequenceError(
                f"the worker at {messages.address} did not answer Open with Opened: is it another version?"
            )


async def _first_answer(messages: Messages, request: pb.ConverseRequest) -> pb.ConverseResponse:
    await messages.write(request)
    return await messages.read()


async def _take_back(messages: Messages, reading: asyncio.Task[pb.ConverseResponse]) -> None:
    """Says Close to a worker that may have given a slot, or be about to, and waits a moment for its Closed."""
    with suppress(AntiphonError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await asyncio.wait((reading,))
            if not reading.result().HasField("opened"):
                return
            await messages.say_close()
    await _stop(messages, reading)


async def _stop(messages: Messages, reading: asyncio.Task[pb.ConverseResponse]) -> None:
    """Ends the call below the task that reads: cancelled itself, the task would leave gRPC's operation behind."""
    await messages.cancel()
    await asyncio.wait((reading,), timeout=LEAVE_S)
    if reading.done() and not reading.cancelled():
        reading.exception()
