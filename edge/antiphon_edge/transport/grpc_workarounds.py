"""What is done by hand because of gRPC's faults and limits, each with the fault.

- `CallStatus`: a write that fails after the status arrived overwrites that status (grpc/grpc#36066). A read or a write
  on a call that has ended raises `asyncio.InvalidStateError`, and one under which the call is cancelled raises
  `asyncio.CancelledError`, as if its own task had been cancelled (no issue known).
- `Operations`, `end_call` and `_NoiseFilter`: grpc.aio has one queue of events for all event loops of the process. A
  call that is cancelled ends at once for its owner, but its last operation ends later, in a task that gRPC keeps to
  itself. A loop that closes before that leaves an event which the next loop finds: "PollerCompletionQueue... Event loop
  is closed", "Task was destroyed but it is pending" (grpc/grpc#25364, #36096).
- `ChannelWithMetadata`: gRPC's call credentials refuse plaintext, which is fine on loopback (by design of gRPC, so no
  issue).
- `FRESH_CHANNEL`: channels of one process share their connection attempts, so that a new channel to an address waits
  out the back-off of an earlier one (by design of gRPC, so no issue).
- `connect_channel`: `channel.channel_ready` goes on trying where the connection is refused, and a channel never says
  why it could not be connected: only a call on it does (no issue known).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc

from antiphon_edge.transport.credentials import Metadata

T = TypeVar("T")

LAST_OPERATION_S = 1.0  # longer than gRPC ever takes to drop a call
FRESH_CHANNEL = ("grpc.use_local_subchannel_pool", 1)


class CallOverError(Exception):
    """The call has ended; `status` is how, where gRPC tells it."""

    def __init__(self, status: grpc.aio.AioRpcError | None) -> None:
        super().__init__()
        self.status = status


class CallStatus:
    """The status that a call ended with, kept as it arrives, and the one error of an operation on a call that is over.

    Args:
        rpc: the call, which has just begun.
    """

    def __init__(self, rpc: Any) -> None:
        self._status: grpc.aio.AioRpcError | None = None
        rpc.add_done_callback(self._keep)

    async def result(self, operation: Awaitable[T]) -> T:
        """The result of a read or a write of the call.

        Raises:
            CallOverError: the call has ended.
        """
        try:
            return await operation
        except grpc.aio.AioRpcError as error:
            raise CallOverError(self._status or error) from None
        except asyncio.InvalidStateError:  # the call had ended before
            raise CallOverError(self._status) from None
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            raise CallOverError(self._status) from None  # the call was cancelled, not we

    def _keep(self, rpc: Any) -> None:
        async def status() -> grpc.aio.AioRpcError:
            return grpc.aio.AioRpcError(
                await rpc.code(), await rpc.initial_metadata(), await rpc.trailing_metadata(), await rpc.details()
            )

        coroutine = status()
        try:
            coroutine.send(None)  # the call has ended: nothing here waits
        except StopIteration as done:
            self._status = done.value
        finally:
            coroutine.close()


class _NoiseFilter(logging.Filter):
    """Drops what asyncio logs of an event that came for a closed loop: nobody waits for it.

    What ends here is ended in gRPC's core (`end_call`), and gRPC's tasks end by themselves; what the caller cancels (a
    single answer that it waits for) still leaves its operation.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """False for such a record."""
        error = record.exc_info[1] if record.exc_info else None
        closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        return not (closed and "PollerCompletionQueue._handle_events" in record.getMessage())


logging.getLogger("asyncio").addFilter(_NoiseFilter())


def end_call(rpc: Any) -> None:
    """Cancels a call in gRPC's core alone: `rpc.cancel` would cancel the tasks that wait for its operations too."""
    core = getattr(rpc, "_cython_call", None)
    if core is None:
        rpc.cancel()
    elif not rpc.done():
        core.cancel("the client has left")


class Operations:
    """The tasks that gRPC keeps for a channel's calls, waited for before anybody closes the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def watch(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Waits for this one too."""
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def start(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Begins a call: the result of `call`, whose tasks are watched from now on.

        gRPC begins one task here, and that one begins another in its first step. The loop takes steps in the order in
        which they were asked for: what is new between the step before it and the one after it is gRPC's.
        """
        loop = asyncio.get_running_loop()
        before: set[asyncio.Task[Any]] = set()
        already = asyncio.all_tasks(loop)
        loop.call_soon(lambda: before.update(asyncio.all_tasks(loop)))
        started = call(*args, **kwargs)
        self._watch(asyncio.all_tasks(loop) - already)
        loop.call_soon(lambda: self._watch(asyncio.all_tasks(loop) - before))
        return started

    async def ended(self) -> None:
        """Returns once nothing is under way any more."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=LAST_OPERATION_S)

    def _watch(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            self.watch(task)


class ChannelWithMetadata:
    """A channel whose calls all carry `metadata` and are watched, in the shape that the generated stub takes."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, operations: Operations) -> None:
        self._channel = channel
        self._metadata = metadata
        self._operations = operations

    def __getattr__(self, arity: str) -> Any:
        make = getattr(self._channel, arity)  # unary_unary, stream_stream, ...

        def with_metadata(*args: Any, **kwargs: Any) -> Callable[..., Any]:
            return partial(self._operations.start, partial(make(*args, **kwargs), metadata=self._metadata))

        return with_metadata


async def connect_channel(channel: grpc.aio.Channel) -> bool:
    """Waits for the channel; False as soon as the connection is refused, rather than tried again."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True
