"""A call: one RPC that carries a session, or part of it, from Open to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import grpc

from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon.history import History
from antiphon.spec import CodecSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.connection import CONNECT_TIMEOUT_S, open_channel, translate
from antiphon_edge.credentials import PLAINTEXT, Credentials

T = TypeVar("T")

OPEN_TIMEOUT_S = 10.0  # from Open to Opened
REBUILD_TIMEOUT_S = 30.0  # the same, where the worker has a past to compute and others to serve


@dataclass(frozen=True, slots=True)
class Opening:
    """What every call of a session says first."""

    codec: CodecSpec
    seed: int
    sampling: Sampling | None = None  # None: the model's own
    mode: pb.Mode = pb.MODE_UNSPECIFIED
    timings: bool = False
    credentials: Credentials = PLAINTEXT

    def with_sampling(self, sampling: Sampling) -> Opening:
        """The same, where nothing was asked for with the sampling that the model chose: a worker that the session moves
        to may have another."""
        return replace(self, sampling=self.sampling or sampling)

    def request(self, history: History | None, resume_token: bytes) -> pb.ConverseRequest:
        """The message; a history makes it a session that goes on."""
        message = pb.Open(
            codec_fingerprint=self.codec.fingerprint,
            mode=self.mode,
            seed=self.seed,
            timings=self.timings,
            resume_token=resume_token,
        )
        if self.sampling is not None:
            message.sampling.CopyFrom(self.sampling.to_message())
        if history is not None:
            message.history.CopyFrom(history.to_message())
        return pb.ConverseRequest(open=message)


class Call:
    """An open call; `dial` makes it. One task reads, one writes."""

    def __init__(self, rpc: Any, address: str) -> None:
        self.address = address
        self.opened: pb.Opened
        self._rpc = rpc
        self._channel = AsyncExitStack()
        self._ended_with: grpc.aio.AioRpcError | None = None
        rpc.add_done_callback(self._remember_status)

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

        Raises:
            UnavailableError: nobody answers, or not in time, or the worker is starting or draining.
            AntiphonError: whatever status the worker refused it with.
        """
        async with AsyncExitStack() as stack:
            stub = await stack.enter_async_context(open_channel(address, opening.credentials, connect_timeout_s))
            call = cls(stub.Converse(), address)
            stack.callback(call._rpc.cancel)
            request = opening.request(history, resume_token)  # now: the history grows while another call goes on
            timeout_s = OPEN_TIMEOUT_S if history is None else REBUILD_TIMEOUT_S
            try:
                async with asyncio.timeout(timeout_s):
                    await call.write(request)
                    response = await call.read()
            except TimeoutError:
                raise UnavailableError(
                    f"the worker at {address} did not answer Open: try again, or another one"
                ) from None
            first_step = request.open.history.steps
            if response.WhichOneof("control") != "opened" or response.opened.step_offset != first_step:
                raise SequenceError(f"the worker at {address} did not answer Open with Opened: is it another version?")
            call.opened = response.opened
            call._channel = stack.pop_all()
        return call

    async def read(self) -> pb.ConverseResponse:
        """The next message.

        Raises:
            AntiphonError: the call has ended; the error says why. `UnavailableError` where the stream broke.
        """
        response = await self._translated(self._rpc.read())
        if response is grpc.aio.EOF:
            raise UnavailableError(f"the worker at {self.address} ended the call before Closed")
        return response  # type: ignore[no-any-return]

    async def write(self, request: pb.ConverseRequest) -> None:
        """Sends a message; errors as in `read`."""
        await self._translated(self._rpc.write(request))

    async def close(self) -> None:
        """Leaves the call, wherever it stands."""
        await self._channel.aclose()

    async def _translated(self, operation: Awaitable[T]) -> T:
        """The operation's result, or the reason why the call ended as an error of ours."""
        try:
            return await operation
        except grpc.aio.AioRpcError as error:
            raise self._reason(error) from None
        except asyncio.InvalidStateError:  # the call had ended before
            raise self._reason(self._ended_with) from None
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            raise self._reason(None) from None  # the call was cancelled, not we

    def _reason(self, error: grpc.aio.AioRpcError | None) -> AntiphonError:
        error = self._ended_with or error
        if error is None or error.code() is grpc.StatusCode.OK:
            return UnavailableError(f"lost the worker at {self.address}: the call has ended")
        return translate(error, self.address)

    def _remember_status(self, rpc: Any) -> None:
        """Keeps the worker's status as it arrives: a write that fails after it would overwrite it (grpc#36066)."""

        async def status() -> grpc.aio.AioRpcError:
            return grpc.aio.AioRpcError(
                await rpc.code(), await rpc.initial_metadata(), await rpc.trailing_metadata(), await rpc.details()
            )

        coroutine = status()
        try:
            coroutine.send(None)  # the call has ended: nothing here waits
        except StopIteration as done:
            self._ended_with = done.value
        finally:
            coroutine.close()
