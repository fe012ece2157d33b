"""A line: one call's share of a session. What went out on it, what was answered, and whether it still works."""

from __future__ import annotations

import asyncio
import logging
import time

from antiphon.errors import AntiphonError, SequenceError
from antiphon.plain_text import plain_line
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.call import Call
from antiphon_edge.exchange import Exchange
from antiphon_edge.replies import GoAway, Totals

logger = logging.getLogger(__name__)

NUMBERED_EVERY = 256  # frames between two that carry their number: 20 s, for 0.2 bytes/s


class Line:
    """Carries `exchange` over `call`, in a task that writes and one that reads, until `leave`."""

    def __init__(self, call: Call, exchange: Exchange) -> None:
        self.call = call
        self.limits = Limits.from_message(call.opened.limits)
        self.answered = call.opened.step_offset  # the number of the next frame to be answered
        loop = asyncio.get_running_loop()
        self.go_away: asyncio.Future[GoAway] = loop.create_future()
        """Done when the worker asks the session to move."""
        self.ended: asyncio.Future[AntiphonError | None] = loop.create_future()
        """Done when nothing more comes: with None the session was closed, with an error the call is lost."""
        self._exchange = exchange
        self._first = self._sent = self.answered  # the number of the next frame to go out
        self._closing = False
        self._moved_s = time.perf_counter()  # when a frame was last answered, or sent with none before it
        self._work = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        for task in self._tasks:
            task.add_done_callback(self._check)

    def wake(self) -> None:
        """There is something to send."""
        self._work.set()

    def stalled_s(self) -> float:
        """Seconds that the oldest unanswered frame has waited."""
        return time.perf_counter() - self._moved_s if self._sent > self.answered else 0.0

    async def leave(self) -> None:
        """Ends the call and its tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.call.close()

    async def _write(self) -> None:
        exchange = self._exchange
        try:
            while True:
                self._work.clear()
                while self._sent < min(exchange.end, self.answered + self.limits.max_frames_in_flight):
                    await self.call.write(self._request())
                if exchange.ending and self._sent == exchange.end and not self._closing:
                    self._closing = True
                    await self.call.write(pb.ConverseRequest(close=pb.Close()))
                await self._work.wait()
        except AntiphonError as error:
            self._end(error)

    def _request(self) -> pb.ConverseRequest:
        """The message of the next frame, which is about to be sent."""
        request = pb.ConverseRequest(codes=self._exchange.send(self._sent))
        if self._sent % NUMBERED_EVERY == 0 or self._sent == self._first:
            request.sequence = self._sent
        if self._sent == self.answered:
            self._moved_s = time.perf_counter()
        self._sent += 1
        return request

    async def _read(self) -> None:
        try:
            while True:
                response = await self.call.read()
                match response.WhichOneof("control"):
                    case None:
                        self._accept(response)
                    case "go_away":
                        self._told_to_go(
                            GoAway(plain_line(response.go_away.reason), response.go_away.time_left_ms / 1000)
                        )
                    case "closed":
                        timings = response.closed.timings
                        totals = Totals(response.closed.frames, list(timings.wait_us), list(timings.step_us))
                        self._exchange.close(totals)
                        self._end(None)
                        return
        except AntiphonError as error:
            self._end(error)

    def _accept(self, message: pb.ConverseResponse) -> None:
        """Takes a reply; one that another line has brought already is passed over."""
        sequence = message.sequence if message.HasField("sequence") else self.answered
        if self.answered == self._sent or sequence != self.answered:
            raise SequenceError(
                f"the worker at {self.call.address} answered frame {sequence} out of turn: open a new session"
            )
        self.answered += 1
        self._moved_s = time.perf_counter()
        self._work.set()
        if sequence == self._exchange.history.steps:
            self._exchange.answer(message)

    def _told_to_go(self, go_away: GoAway) -> None:
        logger.info("%s; %.0f s left", go_away.reason, go_away.time_left_s)
        if not self.go_away.done():
            self.go_away.set_result(go_away)

    def _end(self, error: AntiphonError | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that fails for a reason nobody thought of ends the line too."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(AntiphonError(f"the session's own code failed: {error!r}"))
