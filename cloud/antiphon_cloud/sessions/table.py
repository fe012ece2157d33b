"""The worker's sessions: those that a call carries, and those detached for a moment from an edge that lost its stream.

The edge that comes back with the resume token goes on at once, in the slot that its session still has. A detached
session's slot is not lost to others: a new session takes it where no other is free. So it does with the slot of an edge
that does not read its Opened.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from antiphon.errors import PermissionDeniedError
from antiphon.serving.tracing import NO_TRACES
from antiphon.spec import Limits
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.sessions.protocol import OpenRequested
from antiphon_cloud.sessions.session import Carrier, Session

OPENED_GRACE_S = 0.25  # an edge reads Opened at once; the worker notices a moment later, with many at the same time


class SessionTable:
    """All sessions of an engine. Belongs to the event loop.

    Args:
        engine: whose slots they take.
        admission: who may have one.
        limits: what an edge may have unanswered, and for how long a session stays detached.
        clock: seconds, those of the engine.
    """

    def __init__(
        self, engine: Engine, admission: Admission, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._clock = clock
        self._keep_s = limits.keep_slot_ms / 1000
        self._replies_kept = limits.max_frames_in_flight
        self._by_token: dict[bytes, Session] = {}
        self._detached: dict[Session, asyncio.TimerHandle] = {}  # what ends each; the oldest comes first
        self._opening: dict[Session, float] = {}  # since when Opened is on its way; the oldest comes first
        self.traces = NO_TRACES
        """Where the spans of the sessions to come go."""

    @property
    def carried(self) -> int:
        """Sessions that a call carries now."""
        return len(self._by_token) - len(self._detached)

    def resume(self, request: OpenRequested, client: Client, call: Carrier) -> Session | None:
        """The session that the request goes on with, taken over from the call that still carried it; None where this
        worker does not hold it any more.

        Args:
            request: what the edge asks for.
            client: who asks.
            call: carries the session from now on.

        Raises:
            PermissionDeniedError: another client's key or certificate opened the session.
            UnavailableError: it was taken over a moment ago.
            PreconditionError: two edges take it from each other.
        """
        session = self._by_token.get(request.resume_token)
        if session is None or request.history is None:
            return None
        owner = session.client
        if (owner.proven or client.proven) and owner.name != client.name:
            raise PermissionDeniedError("open.resume_token: the session belongs to another client: open a new one")
        if session.call is not None:
            session.take_over(self._clock())
        if not session.can_resume(request.history.steps) or session.beginning != request.beginning:
            self._end(session)
            return None
        if session in self._detached:
            self._detached.pop(session).cancel()
        if session.call is not None:
            session.call.evict("the session goes on in another call")
        session.call = call
        session.script = request.script  # where the edge knows it to be: it is followed through the replies kept here
        session.record.client = client  # its limits may be new, and so may an address
        session.record.say(logging.INFO, "session goes on", slot=session.slot.row, step=request.history.steps)
        return session

    def open(self, request: OpenRequested, client: Client, call: Carrier) -> Session:
        """A new session, or one that goes on from its history.

        Args:
            request: what the edge asks for.
            client: who asks.
            call: carries the session.

        Raises:
            RefusedError: there is no slot for this client, not even a detached session's.
            PreconditionError: there is no adapter of that name.
            UnavailableError: the engine has ended.
        """
        self._make_room(client, request)
        began_s = asyncio.get_running_loop().time()
        session = Session(self._engine, request, client, call, self._replies_kept, self.traces, began_s)
        self._by_token[session.resume_token] = session
        first_step = request.history.steps if request.history is not None else 0
        what = "session is rebuilt" if request.history is not None else "session opened"
        session.record.say(logging.INFO, what, slot=session.slot.row, step=first_step)
        return session

    @contextmanager
    def opening(self, session: Session) -> Iterator[None]:
        """While Opened is on its way to the edge: where that takes long, another client may have the slot."""
        self._opening[session] = self._clock()
        try:
            yield
        finally:
            self._opening.pop(session, None)

    def leave(self, session: Session, call: Carrier, *, detach: bool, status: str = "OK") -> None:
        """A call has ended; nothing happens where another one carries the session by now.

        Args:
            session: what it carried.
            call: which has ended.
            detach: the stream broke, and the edge may come back.
            status: with which the call has ended.
        """
        if session.call is not call:
            return
        session.call = None
        if not detach or not self._keep_s or not session.slot.ready.done():
            self._end(session, status=status)
            return
        session.record.say(logging.INFO, "session lost its stream", kept_s=self._keep_s)
        self._detached[session] = asyncio.get_running_loop().call_later(
            self._keep_s, partial(self._end, session, status="CANCELLED")
        )

    def end(self, session: Session, status: str) -> None:
        """Gives a session's slot back, whichever call carries it."""
        self._end(session, status=status)

    def end_detached(self) -> None:
        """Gives back the slots of all sessions that no call carries."""
        for session in list(self._detached):
            self._end(session)

    def _make_room(self, client: Client, request: OpenRequested) -> None:
        """Returns once `client` may take a slot; ends other sessions that have less right to theirs.

        Args:
            client: who asks.
            request: what for.

        Raises:
            RefusedError: it may have none.
            PreconditionError: there is no adapter of that name.
            UnavailableError: the engine has ended.
        """
        memory, adapters, adapter = self._engine.memory, self._engine.adapters, request.settings.adapter
        past_steps = None if request.past is None else request.past.steps
        needed_steps = memory.needed_steps(past_steps or 0)
        while True:
            self._engine.require_running()
            held = sum(session.client.name == client.name for session in self._by_token.values())
            try:
                self._admission.check(
                    client,
                    held,
                    len(self._by_token),
                    self._engine.slots,
                    self._clock(),
                    past_steps is not None or self._engine.prefilling,
                    needed_steps=needed_steps,
                    free_steps=memory.free_steps,
                    adapters=adapters.places if adapter and not adapters.has_room(adapter) else None,
                    resumes=request.history is not None,
                )
            except RefusedError as refused:
                if refused.reason is Refusal.MEMORY and self._yielding_steps(client) + memory.free_steps < needed_steps:
                    raise  # nobody is ended in vain
                if refused.reason is Refusal.SLOTS and self._stays_full(client, request):
                    raise
                if refused.reason is Refusal.ADAPTERS:
                    freeing = (session for session in self._detached if adapters.frees(session.slot.row))
                    if (other := next(freeing, None)) is None:
                        raise
                    self._end(other, "another session needs its adapter's place")
                    continue
                other = self._own_detached(client)
                if other is None and refused.reason is not Refusal.CLIENT_SESSIONS:
                    other = next(iter(self._detached), None) or self._unread(client)
                if other is None:
                    raise
                self._end(other, "another session needs the slot")
            else:
                return

    def _stays_full(self, client: Client, request: OpenRequested) -> bool:
        """Whether no slot that the client may take would be free even if all others made room for it."""
        reserve = 0 if request.history is not None else self._admission.reserve
        return len(self._by_token) - len(self._yielding(client)) >= self._engine.slots - reserve

    def _yielding(self, client: Client) -> set[Session]:
        """Sessions that would make room for the client."""
        unread = (session for session in self._opening if self._is_unread(session, client))
        return {*self._detached, *unread}

    def _yielding_steps(self, client: Client) -> int:
        """Steps of memory of all sessions that would make room for the client."""
        return sum(self._engine.memory.held_steps(session.slot.row) for session in self._yielding(client))

    def _own_detached(self, client: Client) -> Session | None:
        """The client's session that has been detached longest."""
        return next((session for session in self._detached if session.client.name == client.name), None)

    def _unread(self, client: Client) -> Session | None:
        """Another client's session whose Opened has been on its way longest, and too long."""
        return next((session for session in self._opening if self._is_unread(session, client)), None)

    def _is_unread(self, session: Session, client: Client) -> bool:
        """Whether it is another client's, and its Opened has been on its way too long."""
        too_long = self._opening[session] <= self._clock() - OPENED_GRACE_S
        return too_long and session.client.name != client.name

    def _end(self, session: Session, reason: str = "the session was opened again", status: str = "UNAVAILABLE") -> None:
        """Gives the slot back, and ends the call that still carries the session."""
        session.record.end(status)
        self._by_token.pop(session.resume_token, None)
        self._opening.pop(session, None)
        if session in self._detached:
            self._detached.pop(session).cancel()
        self._engine.release(session.slot)
        if session.call is not None:
            call, session.call = session.call, None
            call.evict(reason)
