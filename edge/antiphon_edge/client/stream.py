"""One call's share of a session: what went out on it, what was answered, and whether it still works."""

from __future__ import annotations

import asyncio
import logging

from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon.plain_text import plain_line
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.events import GoAway, Totals
from antiphon_edge.client.journal import Journal
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.messages import LEAVE_S

logger = logging.getLogger(__name__)

NUMBERED_EVERY = 256  # frames between two that carry their number: 20 s, for 0.2 bytes/s


class Stream:
    """Carries a journal over one call, in a task that writes and one that reads; a `Carrier` owns it until `leave`."""

    def __init__(self, call: Call, journal: Journal) -> None:
        self.call = call
        self.limits = Limits.from_message(call.opened.limits)
        self.answered = call.opened.step_offset  # the number of the next frame to be answered
        self._loop = loop = asyncio.get_running_loop()
        self.began_s = loop.time()
        self._ends_s = self.began_s + call.opened.ends_in_ms / 1000 if call.opened.ends_in_ms else None
        self.go_away: asyncio.Future[GoAway] = loop.create_future()
        """Done when the worker asks the session to move."""
        self.ended: asyncio.Future[AntiphonError | None] = loop.create_future()
        """Done when nothing more comes: with None the session was closed, with an error the call is lost."""
        self._journal = journal
        self._first = self._sent = self.answered  # the number of the next frame to go out
        self._given = call.given  # parts of the script that went out
        self._leaving = False  # the session needs no more of it
        self._closing = False  # Close has been said
        self._progress_s = self.began_s  # when a frame was last answered, or sent with none before it
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._work = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        for task in self._tasks:
            task.add_done_callback(self._check)

    def wake(self) -> None:
        """There is something to send."""
        self._work.set()

    @property
    def ends_in_s(self) -> float | None:
        """Seconds until the worker ends the session for good; None where it may last."""
        return None if self._ends_s is None else max(0.0, self._ends_s - self._loop.time())

    def stalled_s(self) -> float:
        """Seconds that the oldest unanswered frame has waited, unless it may wait for words."""
        if self._sent == self.answered or self._journal.speech.starved:
            return 0.0
        return self._loop.time() - self._progress_s

    def reached(self, number: int) -> asyncio.Future[None]:
        """Done once every frame below `number` was answered on this stream."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((number, future))
        self._resolve_waiting()
        return future

    async def leave(self) -> None:
        """Says Close, gives the worker `LEAVE_S` for its Closed, and ends the call and its tasks."""
        self._leaving = True
        self.wake()
        if not self.ended.done():
            await asyncio.wait((self.ended,), timeout=LEAVE_S)
        await self.call.close()  # ends what the tasks wait for: cancelled, they would leave gRPC's operations behind
        await asyncio.wait(self._tasks, timeout=LEAVE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end(UnavailableError(f"the call to the worker at {self.call.address} was left"))

    async def _write(self) -> None:
        journal = self._journal
        try:
            while True:
                self._work.clear()
                await self._give()
                while self._sent < min(journal.next_number, self.answered + self.limits.max_frames_in_flight):
                    if self._leaving:
                        break
                    await self.call.write(self._request())
                    await self._give()
                over = journal.ending and self._sent == journal.next_number
                if (over or self._leaving) and not self._closing:
                    self._closing = True
                    await self.call.write(pb.ConverseRequest(close=pb.Close()))
                if self._leaving and self._closing:
                    return
                await self._work.wait()
        except AntiphonError as error:
            self._end(error)

    async def _give(self) -> None:
        """Sends the parts of the script that the next frame's step knows."""
        script = self._journal.history.script
        while self._given < script.known(self._sent) and not self._leaving:
            part = script[self._given]
            self._given += 1
            self._progress_s = self._loop.time()
            await self.call.write(pb.ConverseRequest(say=part.to_message()))

    def _request(self) -> pb.ConverseRequest:
        """The message of the next frame, which is about to be sent."""
        request = pb.ConverseRequest(codes=self._journal.send(self._sent))
        if self._sent % NUMBERED_EVERY == 0 or self._sent == self._first:
            request.sequence = self._sent
        if self._sent == self.answered:
            self._progress_s = self._loop.time()
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
                        self._on_go_away(
                            GoAway(plain_line(response.go_away.reason), response.go_away.time_left_ms / 1000)
                        )
                    case "closed":
                        self._end(self._closed(response.closed))
                        return
        except AntiphonError as error:
            self._end(error)

    def _closed(self, closed: pb.Closed) -> AntiphonError | None:
        """The worker has closed the session: nothing more comes; an error where the edge has not asked for that."""
        if self._leaving:
            return None
        if not self._journal.finished.done():
            return UnavailableError(f"the worker at {self.call.address} closed a session that nobody had ended")
        self._journal.close(Totals(closed.frames, list(closed.timings.wait_us), list(closed.timings.step_us)))
        return None

    def _accept(self, message: pb.ConverseResponse) -> None:
        """Takes a reply; one that another stream has brought already is passed over."""
        sequence = message.sequence if message.HasField("sequence") else self.answered
        if self.answered == self._sent or sequence != self.answered:
            raise SequenceError(
                f"the worker at {self.call.address} answered frame {sequence} out of turn: open a new session"
            )
        self.answered += 1
        self._progress_s = self._loop.time()
        self._work.set()
        if sequence == self._journal.history.steps and not self._leaving:
            self._journal.answer(message)
        if self._waiting:
            self._resolve_waiting()

    def _resolve_waiting(self) -> None:
        for number, future in self._waiting:
            if number <= self.answered and not future.done():
                future.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]

    def _on_go_away(self, go_away: GoAway) -> None:
        logger.info("%s; %.0f s left", go_away.reason, go_away.time_left_s)
        if not self.go_away.done():
            self.go_away.set_result(go_away)

    def _end(self, error: AntiphonError | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that fails by a bug of ours ends the stream too."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(AntiphonError(f"the session's own code failed: {error!r}"))
