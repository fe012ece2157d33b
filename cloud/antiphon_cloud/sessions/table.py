"""The worker's sessions: those that a call carries now, and those kept a moment for an edge that lost its stream.

A session has a slot of the engine and its last replies. A call that breaks leaves both behind for a few seconds: the
edge that comes back with the resume token goes on at once, and frames whose replies were lost on the way are answered
again without being stepped again. A kept slot is not a lost slot: a new session takes it where no other is free. So it
does with the slot of an edge that lets its Opened lie.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PermissionDeniedError, PreconditionError, SequenceError
from antiphon.spec import Limits
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.slot import Lease, Reply
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.sessions.protocol import OpenRequested

logger = logging.getLogger(__name__)

# An edge that lost its stream takes its session from a call that still hangs, once, and again when the next stream
# breaks. Two edges that hold one token take it from each other as soon as they have lost it.
TAKEN_AGAIN_S = 1.0  # no edge notices sooner that a stream hangs
TAKEN_A_MINUTE = 12
MINUTE_S = 60.0
OPENED_GRACE_S = 0.25  # an edge takes Opened at once; the worker notices a moment later, with many at the same time


class LiveSession:
    """A conversation's place on this worker; it outlives the call that carries it.

    Args:
        first_step: the number of its first frame here.
        replies_kept: as many frames as an edge may have unanswered.
    """

    def __init__(self, first_step: int, replies_kept: int) -> None:
        self.id = secrets.token_hex(8)
        self.resume_token = secrets.token_bytes(16)
        self.lease: Lease
        self.evict: Callable[[str], None] | None = None
        """Ends the call that carries the session, with a reason; None while no call does."""
        self.expiry: asyncio.TimerHandle | None = None
        self._next = first_step  # the first frame that was not submitted yet
        self._taken_s: deque[float] = deque(maxlen=TAKEN_A_MINUTE)  # when a call took it from another
        self._fought_over = False
        self._frames: deque[tuple[int, Codes]] = deque(maxlen=replies_kept)
        self._replies: deque[Reply] = deque(maxlen=replies_kept)
        self._failure: AntiphonError | None = None
        self._news = asyncio.Event()

    def deliver(self, reply: Reply | AntiphonError) -> None:
        """Takes what the engine made of a frame, whether or not a call waits for it."""
        if isinstance(reply, AntiphonError):
            self._failure = reply
        else:
            self._replies.append(reply)
        self._news.set()

    def take(self, now_s: float) -> None:
        """A call takes the session from another that still carries it.

        Raises:
            PreconditionError: it was taken just before, or over and over: two edges hold its token.
        """
        taken_s = self._taken_s
        just = bool(taken_s) and now_s - taken_s[-1] < TAKEN_AGAIN_S
        if just or (len(taken_s) == TAKEN_A_MINUTE and now_s - taken_s[0] < MINUTE_S):
            if not self._fought_over:
                logger.warning("session %s: two edges hold its token; it stays with the one that took it", self.id)
            self._fought_over = True
            raise PreconditionError(
                "open.resume_token: another edge holds this session and has just taken it: open a new one"
            )
        taken_s.append(now_s)

    def can_go_on_from(self, step: int) -> bool:
        """Whether an edge that has seen the replies to all frames before `step` finds the rest here."""
        oldest = self._frames[0][0] if self._frames else self._next
        return self._failure is None and oldest <= step <= self._next

    async def answer(self, sequence: int, codes: Codes) -> Reply:
        """The reply to a frame [user_codebooks]: it is stepped, unless it was already.

        Raises:
            SequenceError: the frame was sent before, with other codes.
            AntiphonError: its step failed.
        """
        if sequence == self._next:
            self._next += 1
            self._frames.append((sequence, codes))
            self.lease.submit(sequence, codes)
        elif not np.array_equal(codes, next(codes for number, codes in self._frames if number == sequence)):
            raise SequenceError(f"codes: frame {sequence} was sent before with other codes")
        while True:
            if self._failure is not None:
                raise self._failure
            for reply in reversed(self._replies):  # nearly always the last one
                if reply.sequence == sequence:
                    return reply
            self._news.clear()
            await self._news.wait()


class Sessions:
    """All sessions of an engine. Belongs to the event loop.

    Args:
        engine: whose slots they take.
        limits: what an edge may have unanswered, and for how long a session is kept.
        clock: seconds.
    """

    def __init__(self, engine: Engine, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._keep_s = limits.keep_slot_ms / 1000
        self._replies_kept = limits.max_frames_in_flight
        self._by_token: dict[bytes, LiveSession] = {}
        self._kept: dict[LiveSession, None] = {}  # in the order of their coming
        self._told: dict[LiveSession, float] = {}  # since when their edges let Opened lie, in that order

    @property
    def carried(self) -> int:
        """Sessions that a call carries now."""
        return len(self._by_token) - len(self._kept)

    def resume(self, request: OpenRequested, client: Client, evict: Callable[[str], None]) -> LiveSession | None:
        """The session that the request goes on with, where this worker still holds it, taken from the call that still
        carried it; None where it does not.

        Args:
            request: what the edge asks for.
            client: who asks.
            evict: ends the call that carries the session from now on.

        Raises:
            PermissionDeniedError: another client's key or certificate opened the session.
            PreconditionError: two edges take it from each other.
        """
        session = self._by_token.get(request.resume_token)
        if session is None or request.past is None:
            return None
        owner = session.lease.client
        if (owner.proven or client.proven) and owner.name != client.name:
            raise PermissionDeniedError("open.resume_token: the session belongs to another client: open a new one")
        if session.evict is not None:
            session.take(self._clock())
        if not session.lease.ready.done() or not session.can_go_on_from(request.past.steps):
            self._end(session)
            return None
        self._kept.pop(session, None)
        session.lease.kept = False
        session.lease.client = client  # its limits may be new, and so may an address
        if session.expiry is not None:
            session.expiry.cancel()
        if session.evict is not None:
            session.evict("the session goes on in another call")
        session.evict = evict
        logger.info("session %s goes on in slot %d at step %d", session.id, session.lease.slot, request.past.steps)
        return session

    def open(self, request: OpenRequested, client: Client, evict: Callable[[str], None]) -> LiveSession:
        """A slot for a new session, or for one that is rebuilt from its past.

        Raises:
            RefusedError: there is none for this client, kept ones included.
        """
        first_step = request.past.steps if request.past is not None else 0
        session = LiveSession(first_step, self._replies_kept)
        session.lease = self._lease(request, client, session)
        session.evict = evict
        self._by_token[session.resume_token] = session
        logger.info("session %s took slot %d at step %d", session.id, session.lease.slot, first_step)
        return session

    @contextmanager
    def telling(self, session: LiveSession) -> Iterator[None]:
        """While Opened is on its way to the edge: where that takes long, another client may have the slot."""
        self._told[session] = self._clock()
        try:
            yield
        finally:
            self._told.pop(session, None)

    def leave(self, session: LiveSession, evict: Callable[[str], None], *, keep: bool) -> None:
        """The call that `evict` ends has ended; nothing happens where another one carries the session by now.

        Args:
            session: what it carried.
            evict: what `open` was given.
            keep: the stream broke: the edge may come back.
        """
        if session.evict != evict:
            return
        session.evict = None
        if not keep or not self._keep_s or not session.lease.ready.done():
            self._end(session)
            return
        logger.info("session %s lost its stream; its slot is kept for %g s", session.id, self._keep_s)
        session.lease.kept = True
        session.expiry = asyncio.get_running_loop().call_later(self._keep_s, self._end, session)
        self._kept[session] = None

    def end_kept(self) -> None:
        """Gives back the slots of all sessions that no call carries."""
        for session in list(self._kept):
            self._end(session)

    def _lease(self, request: OpenRequested, client: Client, session: LiveSession) -> Lease:
        """A slot, if need be another session's that has less right to it."""
        while True:
            try:
                return self._engine.lease(request.seed, request.sampling, session.deliver, client, request.past)
            except RefusedError as refused:
                other = self._own_kept(client)
                if other is None and refused.reason is not Refusal.CLIENT_SESSIONS:
                    other = next(iter(self._kept), None) or self._untaken(client)
                if other is None:
                    raise
                self._end(other, "another session needs the slot")

    def _own_kept(self, client: Client) -> LiveSession | None:
        """The client's session that has been kept longest."""
        return next((kept for kept in self._kept if kept.lease.client.name == client.name), None)

    def _untaken(self, client: Client) -> LiveSession | None:
        """Another client's session whose Opened has been lying longest, and too long."""
        told_by_s = self._clock() - OPENED_GRACE_S
        for session, since_s in self._told.items():
            if since_s <= told_by_s and session.lease.client.name != client.name:
                return session
        return None

    def _end(self, session: LiveSession, reason: str = "the session was opened again") -> None:
        """Gives the slot back, and ends the call that still carries the session."""
        self._by_token.pop(session.resume_token, None)
        self._kept.pop(session, None)
        self._told.pop(session, None)
        if session.expiry is not None:
            session.expiry.cancel()
        session.lease.release()
        if session.evict is not None:
            evict, session.evict = session.evict, None
            evict(reason)
