"""What gRPC still does for a channel's calls after they have ended, waited for before anybody closes the event loop.

grpc.aio has one queue of events for all loops of the process. A call that is cancelled ends at once for its owner, but
its last operation ends later, in a task that gRPC keeps to itself. A loop that closes before that leaves an event which
the next loop finds: "PollerCompletionQueue... Event loop is closed", "Task was destroyed but it is pending"
(grpc/grpc#25364, #36096). What ends here is therefore ended in gRPC's core, and gRPC's tasks end by themselves; what
somebody else cancels (a single answer that he waits for) still leaves its operation, and `_Noise` keeps that quiet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LAST_OPERATION_S = 1.0  # longer than gRPC ever takes to drop a call


class _Noise(logging.Filter):
    """Drops what asyncio says of an event that came for a loop which is closed: nobody waits for it any more."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for such a record."""
        error = record.exc_info[1] if record.exc_info else None
        closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        return not (closed and "PollerCompletionQueue._handle_events" in record.getMessage())


logging.getLogger("asyncio").addFilter(_Noise())


def end_call(rpc: Any) -> None:
    """Cancels a call in gRPC's core alone: `rpc.cancel` would cancel the tasks that wait for its operations too."""
    core = getattr(rpc, "_cython_call", None)
    if core is None:
        rpc.cancel()
    elif not rpc.done():
        core.cancel("the client has left")


class Operations:
    """The tasks behind a channel's calls."""

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
