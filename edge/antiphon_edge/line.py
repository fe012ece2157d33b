"""One call's share of a session: which frames went out on it, which were answered, and whether it still works."""

from __future__ import annotations

import asyncio
import time

from antiphon.errors import AntiphonError
from antiphon_edge.call import Call


class Line:
    """How far `call` has come with the session's frames, of which its first is number `step`."""

    def __init__(self, call: Call, step: int) -> None:
        self.call = call
        self.first = self.sent = self.answered = step  # numbers of the next frame to go out, and to be answered
        self.closing = False
        self.moved_s = time.perf_counter()  # when a frame was last answered, or sent with none before it
        self.work = asyncio.Event()
        self.go_away = asyncio.Event()
        self.ended: asyncio.Future[AntiphonError | None] = asyncio.get_running_loop().create_future()
        self.tasks: list[asyncio.Task[None]] = []

    def end(self, error: AntiphonError | None) -> None:
        """Nothing more comes: the session was closed, or an error says why."""
        if not self.ended.done():
            self.ended.set_result(error)

    def check(self, task: asyncio.Task[None]) -> None:
        """A task that fails for a reason nobody thought of ends the line too."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(AntiphonError(f"the session's own code failed: {error!r}"))

    def stalled_s(self) -> float:
        """Seconds that the oldest unanswered frame has waited."""
        return time.perf_counter() - self.moved_s if self.sent > self.answered else 0.0

    async def leave(self) -> None:
        """Ends the call and its tasks."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.call.close()
