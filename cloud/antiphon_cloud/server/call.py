"""One Converse call: reads a frame, has it stepped, writes the reply, reads the next."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError

from antiphon.errors import AntiphonError, ProtocolError, UnavailableError
from antiphon.history import HistoryTokens
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.server.access.limits import STEPS_AN_OPEN
from antiphon_cloud.server.deadline import IdleTimeout, send_headers
from antiphon_cloud.server.interceptor import Place
from antiphon_cloud.server.statuses import Context
from antiphon_cloud.server.worker import Worker
from antiphon_cloud.sessions.lifetime import End, end_of
from antiphon_cloud.sessions.protocol import (
    CallProtocol,
    CloseRequested,
    Event,
    FrameReceived,
    OpenRequested,
    SayReceived,
    State,
)
from antiphon_cloud.sessions.record import SessionRecord
from antiphon_cloud.sessions.session import Session

OPEN_TIMEOUT_S = 5.0  # for Open to come
READ_TIMEOUT_S = 5.0  # for Opened, and for Closed, to be read
NOTICE_S = 0.25  # for this side to notice that Opened was read


class Call:
    """Carries a session over one stream; made and run in the task that serves the stream.

    One frame at a time bounds both ways: a flood waits in HTTP/2's window, and a slow reader's next frame is not
    stepped before it has read its last reply. An edge that does nothing holds the call no longer than its idle timeout.

    Args:
        worker: which serves it.
        context: writes to the edge.
        place: among the calls without a session, held until this one has a slot.

    Raises:
        UnavailableError: the worker is starting or draining.
    """

    def __init__(self, worker: Worker, context: Context, place: Place) -> None:
        self._worker = worker
        self._served = served = worker.admit()
        self._context = context
        self._place = place
        self._protocol = CallProtocol(
            served.engine.spec,
            served.codec.spec,
            served.limits,
            served.piece_of,
            served.prompts,
            served.rules,
            served.conditions,
        )
        self._writing = asyncio.Lock()
        self._opened = asyncio.Event()  # the edge has read Opened
        self._opening = False  # Opened is on its way
        self._over: AntiphonError | None = None  # why this side ends the call
        self._record: SessionRecord | None = None  # of the session that it carries
        self._task = asyncio.current_task()

    async def run(self, requests: AsyncIterator[pb.ConverseRequest]) -> None:
        """Serves the call to its end; the slot goes back however it ends.

        Raises:
            AntiphonError: the status that ends it.
        """
        try:
            event = await self._open(requests)
            if (fleet := self._worker.fleet_limits) is not None:
                await fleet.open(self._place.client)
            session = self._session(event)
            self._record = session.record
            self._place.give_back()
            if await self._carry(session, requests, event.history):
                await self._close()
        except asyncio.CancelledError:
            if self._over is None:
                raise
            assert self._task is not None
            self._task.uncancel()
            raise self._over from None

    async def _open(self, requests: AsyncIterator[pb.ConverseRequest]) -> OpenRequested:
        """The edge's first message."""
        with IdleTimeout(OPEN_TIMEOUT_S) as timeout, timeout.waiting("no Open came"):
            request = await self._read(requests)
        if request is None:
            raise ProtocolError("open: the call ended before Open; the first message must be Open")
        event = self._protocol.receive(request)
        assert isinstance(event, OpenRequested), "the protocol accepts nothing else first"
        return event

    def _session(self, event: OpenRequested) -> Session:
        """The session that the edge resumes, or one that it opens."""
        client, sessions, rate = self._place.client, self._served.sessions, self._worker.open_rate
        self._worker.admit()  # again: Open may come long after the call
        rate.take(client, time.monotonic())
        session = sessions.resume(event, client, self)
        if session is not None:
            if (end := self._end_of(session)) is not None and end.in_s <= 0:
                session.call = None  # this call is not to be evicted: it says why
                sessions.end(session, end.error.status)
                raise end.error
            self._worker.metrics.resumed("slot")
            return session
        steps = 0 if event.history is None else event.history.steps
        if (end := end_of(client, steps, 0.0, time.time())) is not None and end.in_s <= 0:
            raise end.error
        if (past := event.past) is not None:
            rate.take(client, time.monotonic(), len(past) / STEPS_AN_OPEN)
        session = sessions.open(event, client, self)
        if (fleet := self._worker.fleet_limits) is not None:
            session.due_s = fleet.first_due_s(session.began_s, new=event.history is None)
        return session

    def _end_of(self, session: Session) -> End | None:
        """When the session has to end."""
        begun_s = asyncio.get_running_loop().time() - session.began_s
        return end_of(session.client, session.steps_before, begun_s, time.time())

    async def _carry(
        self, session: Session, requests: AsyncIterator[pb.ConverseRequest], history: HistoryTokens | None
    ) -> bool:
        """Serves the session until the edge closes it, and says whether Closed is still due: after Close the slot is
        free first. A stream that breaks leaves the session to the edge's next call, if the edge knows of it."""
        broken, status = False, "OK"
        end, ending = self._end_of(session), None
        if end is not None:
            ending = asyncio.get_running_loop().call_later(end.in_s, self._finish, end.error)
        paying = None
        if (fleet := self._worker.fleet_limits) is not None:
            paying = asyncio.create_task(fleet.pay(session))
            paying.add_done_callback(self._cannot_pay)
        try:
            if fleet is not None and history is None:
                await fleet.begin(session.client)
            rebuilt = 0 if history is None or session.slot.ready.done() else len(history)
            await asyncio.shield(session.slot.ready)
            self._opening = True
            with self._served.sessions.opening(session):
                left = None if end is None else end.in_s
                opened = self._protocol.opened(
                    session.id, session.resume_token, rebuilt, session.slot.adapter_sha256, left
                )
                await self._say(opened, "the edge took no Opened")
            self._opened.set()
            if await self._converse(requests, session):
                return True
            await self._close()  # fails where the stream did not end but broke, which looks the same from here
            return False
        except (asyncio.CancelledError, grpc.aio.InternalError):
            broken = self._opened.is_set() and self._over is None
            status = "CANCELLED" if self._over is None else self._over.status
            raise
        except AntiphonError as error:
            status = error.status
            raise
        finally:
            if ending is not None:
                ending.cancel()
            if paying is not None:
                paying.cancel()
            self._served.sessions.leave(session, self, detach=broken, status=status)
            self._place.take()

    async def _converse(self, requests: AsyncIterator[pb.ConverseRequest], session: Session) -> bool:
        """Answers frame after frame; True at Close, False at the end of the stream.

        A frame that has to wait for words waits here, unanswered, while more is read.
        """
        waiting: deque[FrameReceived] = deque()  # full: a ProtocolError
        with IdleTimeout(self._served.limits.idle_timeout_ms / 1000) as timeout:
            while True:
                with timeout.waiting("no frame came"):
                    request = await self._read(requests)
                if request is None:
                    return False
                event = self._protocol.receive(request)
                self._take(event, session, waiting)
                while waiting and not session.starved(waiting[0].sequence):
                    frame = waiting.popleft()
                    reply, outcome = await session.answer(frame.sequence, frame.codes)
                    begun_s = time.perf_counter()
                    with timeout.waiting("the edge took no reply"):
                        await self._write(self._protocol.reply(reply, outcome))
                    session.record.sent(reply, round((time.perf_counter() - begun_s) * 1e6))
                if isinstance(event, CloseRequested):
                    return True

    def _take(self, event: Event, session: Session, waiting: deque[FrameReceived]) -> None:
        """Takes one message of an open session; a frame joins those that wait.

        Raises:
            ProtocolError: too many frames wait, or the words are none that can be said.
        """
        if isinstance(event, FrameReceived):
            if len(waiting) == self._served.limits.max_frames_in_flight:
                raise ProtocolError(
                    f"codes: {len(waiting)} frames wait for words, as many as may be in flight: say more, or Say.end"
                )
            waiting.append(event)
        elif session.script is not None:
            if isinstance(event, SayReceived):
                session.script.add(event.say)
            else:
                session.script.close()

    @staticmethod
    async def _read(requests: AsyncIterator[pb.ConverseRequest]) -> pb.ConverseRequest | None:
        """The edge's next message; None at the end of its stream."""
        try:
            return await anext(requests, None)
        except DecodeError as error:
            raise ProtocolError(f"request: the bytes are no ConverseRequest ({error})") from error

    async def _close(self) -> None:
        await self._say(self._protocol.closed(), "the edge took no Closed")

    async def _say(self, response: pb.ConverseResponse, otherwise: str) -> None:
        """Writes what begins or ends a session; `otherwise` is what went wrong where it is not read in time."""
        with IdleTimeout(READ_TIMEOUT_S) as timeout, timeout.waiting(otherwise):
            await send_headers(self._context)
            await self._write(response)

    async def _write(self, response: pb.ConverseResponse) -> None:
        async with self._writing:
            await self._context.write(response)

    @property
    def closing(self) -> bool:
        """Whether all is said but Closed."""
        return self._protocol.state in (State.CLOSING, State.CLOSED)

    async def go_away(self, reason: str, time_left_s: float) -> None:
        """Asks the edge to move, and ends the call when the time is up; at once where the edge has no Opened yet, to
        which GoAway would be no answer."""
        if self.closing:
            return  # all is answered, and Closed has little time
        if self._opening:  # the edge may have it already, and this task not know it yet
            with suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), NOTICE_S)
        if self._opened.is_set() and self._protocol.state is State.OPEN:
            if self._record is not None:
                self._record.say(logging.INFO, "session is asked to move", time_left_s=time_left_s)
            go_away = pb.GoAway(reason=reason, time_left_ms=round(time_left_s * 1000))
            writing = asyncio.create_task(self._write(pb.ConverseResponse(go_away=go_away)))
            try:
                await asyncio.sleep(time_left_s)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        self.evict(reason)

    def evict(self, reason: str) -> None:
        """Ends the call with UNAVAILABLE."""
        self._finish(UnavailableError(f"{reason}: connect to another worker"))

    def _cannot_pay(self, paying: asyncio.Task[RefusedError]) -> None:
        if not paying.cancelled():
            self._finish(paying.result())

    def _finish(self, error: AntiphonError) -> None:
        """Ends the call with an error."""
        self._over = error
        assert self._task is not None
        self._task.cancel()
