"""A way through to a worker for an edge that speaks the contract itself: its messages, unchanged.

async with open_passage(fleet, request) as passage:
    await passage.write(request)  # from one task
    response = await passage.read()  # in another

The edge keeps the session, so that a passage has no state: which worker takes it follows from the session's seed, and a
session that comes back is led to the worker that may hold its slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from antiphon.errors import AntiphonError, ClientLimitError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.reconnect import PASSING
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.messages import OPEN_TIMEOUT_S, PREFILL_TIMEOUT_S, Messages, say_open
from antiphon_gateway.calls.fleet import Fleet

CONNECT_TIMEOUT_S = 3.0  # then the next worker is tried
MODEL_TIMEOUT_S = 10.0


class Passage:
    """One call to a worker, open; `open_passage` makes it.

    Args:
        messages: of the call.
        opened: what the worker said first.
    """

    def __init__(self, messages: Messages, opened: pb.Opened) -> None:
        self.opened = pb.ConverseResponse(opened=opened)
        self._messages = messages

    async def read(self) -> pb.ConverseResponse:
        """The worker's next message.

        Raises:
            AntiphonError: the call has ended; the error says why.
        """
        return await self._messages.read()

    async def write(self, request: pb.ConverseRequest) -> None:
        """Sends a message to the worker; errors as in `read`."""
        await self._messages.write(request)


@asynccontextmanager
async def open_passage(fleet: Fleet, request: pb.ConverseRequest) -> AsyncIterator[Passage]:
    """A call to the first of the workers that takes it, until the block ends.

    Args:
        fleet: the workers.
        request: the edge's Open.

    Raises:
        AntiphonError: none takes it; the error is the last one's, or what no other would answer otherwise.
    """
    refused: AntiphonError | None = None
    for address in _turned(fleet, request.open.seed):
        async with AsyncExitStack() as stack:
            try:
                passage = await _open(stack, fleet, address, request)
            except ClientLimitError:
                raise  # which every worker has
            except PASSING as error:
                refused = error
                continue
            yield passage
            return
    assert refused is not None, "there is an address"
    raise refused


async def ask_model(fleet: Fleet) -> pb.GetModelResponse:
    """What the first worker that answers serves; errors as `open_passage`."""
    refused: AntiphonError | None = None
    for address in fleet.addresses:
        try:
            async with open_channel(address, fleet.credentials, CONNECT_TIMEOUT_S) as stub:
                told: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest(), timeout=MODEL_TIMEOUT_S)
                return told
        except PASSING as error:
            refused = error
    assert refused is not None, "there is an address"
    raise refused


async def _open(stack: AsyncExitStack, fleet: Fleet, address: str, request: pb.ConverseRequest) -> Passage:
    stub = await stack.enter_async_context(open_channel(address, fleet.credentials, CONNECT_TIMEOUT_S))
    messages = Messages(stub.Converse(), address)
    stack.push_async_callback(messages.cancel)
    at_once = not (request.open.HasField("history") or request.open.HasField("prompt") or request.open.adapter)
    opened = await say_open(messages, request, OPEN_TIMEOUT_S if at_once else PREFILL_TIMEOUT_S)
    return Passage(messages, opened)


def _turned(fleet: Fleet, seed: int) -> tuple[str, ...]:
    """The workers, the session's first."""
    first = seed % len(fleet.addresses)
    return fleet.addresses[first:] + fleet.addresses[:first]
