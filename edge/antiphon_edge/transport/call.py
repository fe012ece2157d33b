"""A call: one RPC that carries a session, or part of it, from Open to its end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from antiphon.errors import AntiphonError
from antiphon.history import History
from antiphon.to_the_end import to_the_end
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import CONNECT_TIMEOUT_S, open_channel
from antiphon_edge.transport.handshake import Opening
from antiphon_edge.transport.messages import LEAVE_S, OPEN_TIMEOUT_S, PREFILL_TIMEOUT_S, Messages, say_open


class Call:
    """One RPC to one worker, from Opened on; `dial` opens it and a `Stream` owns it. One task reads, one writes."""

    def __init__(self, messages: Messages, opened: pb.Opened, channel: AsyncExitStack, given: int) -> None:
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
            messages = Messages(stub.Converse(), address)
            stack.push_async_callback(messages.cancel)
            at_once = history is None and opening.prompt is None and not opening.adapter
            timeout_s = OPEN_TIMEOUT_S if at_once else PREFILL_TIMEOUT_S
            given = 0 if history is None else history.script.known(history.steps)
            opened = await say_open(messages, opening.request(history, resume_token), timeout_s)
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
