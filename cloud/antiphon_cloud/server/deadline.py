"""How long a call waits for its edge.

One timer serves all waits of a call: two timers a frame, set and cancelled again, were a tenth of what a frame costs
the worker.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from antiphon.errors import SessionTimeoutError
from antiphon.to_the_end import to_the_end
from antiphon_cloud.server.statuses import Context

WRITE_TIMEOUT_S = 30.0  # for one message to be read, of a call that carries no session

_headers_sent: ContextVar[bool] = ContextVar("headers_sent", default=False)  # of the call whose task this is


class IdleTimeout:
    """Ends a wait that lasts too long; for one task, which waits for one thing at a time.

        with IdleTimeout(30.0) as timeout:
            while True:
                with timeout.waiting("no frame came"):
                    await something

    Args:
        timeout_s: of each wait.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._wait = _Wait(timeout_s)
        self._timer: asyncio.TimerHandle | None = None

    def waiting(self, what: str) -> _Wait:
        """A context manager around one wait.

        Args:
            what: went wrong if it ends too late, as the beginning of a sentence.

        Raises:
            SessionTimeoutError: it lasted too long; what was awaited is cancelled.
        """
        self._wait.what = what
        return self._wait

    def __enter__(self) -> Self:
        self._wait.task = asyncio.current_task()
        self._check_at(asyncio.get_running_loop().time() + self._timeout_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _check(self) -> None:
        now_s = asyncio.get_running_loop().time()
        since_s = self._wait.since_s
        if since_s is not None and now_s >= since_s + self._timeout_s:
            self._wait.end()
        else:  # a wait that begins later is over later
            self._check_at((now_s if since_s is None else since_s) + self._timeout_s)

    def _check_at(self, at_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(at_s, self._check)


class _Wait:
    def __init__(self, timeout_s: float) -> None:
        self.what = ""
        self.since_s: float | None = None
        self.task: asyncio.Task[object] | None = None
        self._timeout_s = timeout_s
        self._over = False
        self._time = asyncio.get_running_loop().time

    def end(self) -> None:
        """Cancels the task, which waits."""
        assert self.task is not None
        self._over = True
        self.task.cancel()

    def __enter__(self) -> None:
        self.since_s = self._time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.since_s = None
        if not self._over:
            return
        assert self.task is not None
        if self.task.uncancel() == 0 and kind is asyncio.CancelledError:  # else somebody else cancelled it too
            raise SessionTimeoutError(f"{self.what} for {self._timeout_s:g} s: the call is closed") from None


async def send_headers(context: Context) -> None:
    """Sends what comes before the first message by itself; safe to call twice in a call.

    They would go with that message otherwise. Where it is given up, grpc.aio takes them for unsent and sends them again
    with the status, which its core refuses: the client never hears the status. So they are sent to the end, whoever is
    cancelled meanwhile; no window holds them up.
    """
    if _headers_sent.get():
        return
    _headers_sent.set(True)
    await to_the_end(context.send_initial_metadata(()))


async def write(context: Context, response: Any) -> None:
    """Writes one message.

    Raises:
        SessionTimeoutError: it was not taken in time.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await send_headers(context)
            await context.write(response)
    except TimeoutError:
        raise SessionTimeoutError(f"no message was taken for {WRITE_TIMEOUT_S:g} s: the call is closed") from None
