"""A call: one RPC that carries a session, or part of it, from Open to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import grpc

from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon.history import History
from antiphon.to_the_end import to_the_end
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import CONNECT_TIMEOUT_S, open_channel, translate
from antiphon_edge.transport.grpc_workarounds import CallOverError, CallStatus, end_call
from antiphon_edge.transport.handshake import Opening, check_opened

T = TypeVar("T")

OPEN_TIMEOUT_S = 10.0  # from Open to Opened
PREFILL_TIMEOUT_S = 30.0  # the same, where it computes a history or a prompt or reads an adapter, with others to serve
LEAVE_S = 1.0  # from Close to Closed; after that the call is cancelled


class Call:
    """One RPC to one worker, from Opened on; `dial` opens it and a `Stream` owns it. One task reads, one writes."""

    def __init__(self, messages: _Messages, opened: pb.Opened, channel: AsyncExitStack, given: int) -> None:
        self.address = messages.address
        self.opened = opened
        """What the worker said first."""
        self.given = given
        """Parts of the session's script that Open gave to the worker."""
        self._messages = messages
        self._channel = channel

    @classmethod
    async def dial(
        cls,
        address: str,
        opening: Opening,
        history: History | None = None,
        resume_token: bytes = b"",
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Call:
        """Opens a call on the worker at `address`.

        Cancelled, it gives back what the worker has given already, within `LEAVE_S`.

        Raises:
            UnavailableError: nobody answers, or not in time, or the worker is starting or draining.
            ProtocolError: what the worker announces cannot be.
            AntiphonError: whatever status the worker refused it with.
        """
        stack = AsyncExitStack()
        try:
            stub = await stack.enter_async_context(open_channel(address, opening.credentials, connect_timeout_s))
            messages = _Messages(stub.Converse(), address)
            stack.push_async_callback(messages.cancel)
            at_once = history is None and opening.prompt is None and not opening.adapter
            timeout_s = OPEN_TIMEOUT_S if at_once else PREFILL_TIMEOUT_S
            given = 0 if history is None else history.script.known(history.steps)
            opened = await _open(messages, opening.request(history, resume_token), timeout_s)
            return cls(messages, opened, stack, given)
        except BaseException:
            await to_the_end(stack.aclose())
            raise

    async def read(self) -> pb.ConverseResponse:
        """The next message.

        Raises:
            AntiphonError: the call has ended; the error says why. `UnavailableError` where the stream broke.
        """
        return await self._messages.read()

    async def write(self, request: pb.ConverseRequest) -> None:
        """Sends a message; errors as in `read`."""
        await self._messages.write(request)

    async def close(self) -> None:
        """Ends the call, wherever it stands, and its connection."""
        await to_the_end(self._channel.aclose())

    async def abandon(self) -> None:
        """Says Close, waits a moment for Closed and ends the call: nothing has read or written yet."""
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._messages.say_close()
        await self.close()


class _Messages:
    """The messages of one RPC, both ways, with errors of ours."""

    def __init__(self, rpc: Any, address: str) -> None:
        self.address = address
        self._rpc = rpc
        self._status = CallStatus(rpc)

    async def read(self) -> pb.ConverseResponse:
        response = await self._translated(self._rpc.read())
        if response is grpc.aio.EOF:
            raise UnavailableError(f"the worker at {self.address} ended the call before Closed")
        return response  # type: ignore[no-any-return]

    async def write(self, request: pb.ConverseRequest) -> None:
        await self._translated(self._rpc.write(request))

    async def say_close(self) -> None:
        """Says Close and waits for Closed."""
        await self.write(pb.ConverseRequest(close=pb.Close()))
        while not (await self.read()).HasField("closed"):
            pass

    async def cancel(self) -> None:
        end_call(self._rpc)

    async def _translated(self, operation: Awaitable[T]) -> T:
        """The operation's result, or the reason why the call ended as an error of ours."""
        try:
            return await self._status.result(operation)
        except CallOverError as over:
            if over.status is None or over.status.code() is grpc.StatusCode.OK:
                raise UnavailableError(f"lost the worker at {self.address}: the call has ended") from None
            raise translate(over.status, self.address) from None


async def _open(messages: _Messages, request: pb.ConverseRequest, timeout_s: float) -> pb.Opened:
    """Says Open and waits for Opened."""
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


async def _first_answer(messages: _Messages, request: pb.ConverseRequest) -> pb.ConverseResponse:
    await messages.write(request)
    return await messages.read()


async def _take_back(messages: _Messages, reading: asyncio.Task[pb.ConverseResponse]) -> None:
    """Says Close to a worker that may have given a slot, or be about to, and waits a moment for its Closed."""
    with suppress(AntiphonError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await asyncio.wait((reading,))
            if not reading.result().HasField("opened"):
                return
            await messages.say_close()
    await _stop(messages, reading)


async def _stop(messages: _Messages, reading: asyncio.Task[pb.ConverseResponse]) -> None:
    """Ends the call below the task that reads: cancelled itself, the task would leave gRPC's operation behind."""
    await messages.cancel()
    await asyncio.wait((reading,), timeout=LEAVE_S)
    if reading.done() and not reading.cancelled():
        reading.exception()
