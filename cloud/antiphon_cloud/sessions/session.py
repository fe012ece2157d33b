"""A session on this worker: its slot, its last frames and replies, and the call that carries it now.

It outlives its calls: a frame whose reply was lost on the way is answered again without being stepped again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from typing import Protocol

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PreconditionError, SequenceError, UnavailableError
from antiphon.serving.tracing import NO_TRACES, Traces
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.sessions.protocol import OpenRequested
from antiphon_cloud.sessions.record import SessionRecord
from antiphon_cloud.sessions.script.machine import Outcome
from antiphon_cloud.sessions.script.script import FREE, Forcing

# An edge that lost its stream takes its session over from a call that still hangs, once, and again when the next
# stream breaks. Two edges that hold one token take it from each other as soon as they have lost it.
TAKEN_AGAIN_S = 1.0  # no edge notices sooner that a stream hangs
TAKEN_A_MINUTE = 12
MINUTE_S = 60.0


class Carrier(Protocol):
    """The call that carries a session."""

    def evict(self, reason: str) -> None:
        """Ends the call."""


class Session:
    """A conversation on this worker, in a slot of the engine.

    Args:
        engine: which has a free slot.
        request: what the edge asks for.
        client: whose session it is.
        call: carries it first.
        replies_kept: as many frames as an edge may have unanswered.
        traces: where its span goes.
        began_s: now, on the event loop's clock.

    Raises:
        UnavailableError: the engine has ended.
        PreconditionError: the adapter that it asks for has gone.
    """

    def __init__(
        self,
        engine: Engine,
        request: OpenRequested,
        client: Client,
        call: Carrier,
        replies_kept: int,
        traces: Traces = NO_TRACES,
        began_s: float = 0.0,
    ) -> None:
        history = request.history
        self.id = secrets.token_hex(8)
        self.steps_before = 0 if history is None else history.steps
        """That other workers took."""
        self.began_s = began_s
        """On the event loop's clock."""
        self.unpaid = 0
        """Minutes in a row for which its client had nothing left."""
        self.due_s = began_s
        """When the fleet's limits are asked for its next minute, on the same clock."""
        self.resume_token = secrets.token_bytes(16)
        self.call: Carrier | None = call
        """None while it waits for its edge to come back."""
        self._engine = engine
        self._newest = (history.steps if history is not None else 0) - 1  # frame that was submitted
        self._frames: deque[tuple[int, Codes, Forcing]] = deque(maxlen=replies_kept)
        self._replies: deque[Reply] = deque(maxlen=replies_kept)
        self.beginning = request.beginning
        """What an edge that comes back asks for again."""
        self.script = request.script
        """What it is given to say; None where the model only listens."""
        self._failure: AntiphonError | None = None
        self._news = asyncio.Event()
        self._taken_over_s: deque[float] = deque(maxlen=TAKEN_A_MINUTE)
        self._fought_over = False
        self.slot = engine.take(
            request.seed,
            request.sampling,
            self.deliver,
            client.name,
            request.past,
            request.settings,
            request.adapter_sha256,
        )
        self.record = SessionRecord(
            self.id, request.conversation, client, engine.metrics.usage, traces, first=history is None
        )
        """What is said of it."""

    @property
    def client(self) -> Client:
        """Whose session it is."""
        return self.record.client

    def deliver(self, reply: Reply | AntiphonError) -> None:
        """Keeps the engine's reply to a frame, whether or not a call waits for it."""
        if isinstance(reply, AntiphonError):
            self._failure = reply
        else:
            self._replies.append(reply)
            self.record.reply(reply)
        self._news.set()

    def take_over(self, now_s: float) -> None:
        """Counts that a call takes the session from another, which still carries it.

        Raises:
            UnavailableError: it was taken just before, perhaps by an earlier call of the same edge, which gave that up.
            PreconditionError: it was taken over and over: two edges hold its token.
        """
        taken_s = self._taken_over_s
        if taken_s and now_s - taken_s[-1] < TAKEN_AGAIN_S:
            raise UnavailableError("open.resume_token: the session was taken over a moment ago: try again")
        if len(taken_s) == TAKEN_A_MINUTE and now_s - taken_s[0] < MINUTE_S:
            if not self._fought_over:
                self.record.say(logging.WARNING, "two edges hold a session's token; it stays with the one that took it")
            self._fought_over = True
            raise PreconditionError(
                "open.resume_token: another edge holds this session and takes it again and again: open a new one"
            )
        taken_s.append(now_s)

    def can_resume(self, step: int) -> bool:
        """Whether an edge that has seen the replies to all frames before `step` finds the rest here."""
        oldest = self._frames[0][0] if self._frames else self._newest + 1
        return self.slot.ready.done() and self._failure is None and oldest <= step <= self._newest + 1

    def starved(self, sequence: int) -> bool:
        """Whether a frame has to wait for words."""
        return self.script is not None and sequence > self._newest and self.script.starved

    async def answer(self, sequence: int, codes: Codes) -> tuple[Reply, Outcome]:
        """The reply to a frame [user_codebooks], and what it did of the script: it is stepped, unless it was already.

        Raises:
            SequenceError: the frame was sent before, with other codes.
            AntiphonError: its step failed.
        """
        if sequence > self._newest:
            assert sequence == self._newest + 1, "the protocol counts frames"
            self._newest = sequence
            forcing = FREE if self.script is None else self.script.forcing()
            self._frames.append((sequence, codes, forcing))
            self._engine.submit(self.slot, sequence, codes, forcing.tokens)
        elif not np.array_equal(codes, self._frame(sequence)[0]):
            raise SequenceError(f"codes: frame {sequence} was sent before with other codes")
        while True:
            if self._failure is not None:
                raise self._failure
            for reply in reversed(self._replies):  # nearly always the last one
                if reply.sequence == sequence:
                    return reply, self._advance(reply)
            self._news.clear()
            await self._news.wait()

    def _advance(self, reply: Reply) -> Outcome:
        """What a reply did of the script."""
        if self.script is None:
            return Outcome()
        _, forcing = self._frame(reply.sequence)
        return self.script.advance(forcing.event(reply), reply.text_token)

    def _frame(self, sequence: int) -> tuple[Codes, Forcing]:
        """A frame that was stepped, and what its step was forced to."""
        _, codes, forcing = self._frames[sequence - self._frames[0][0]]  # they follow one another
        return codes, forcing
