"""Admission: who may have a slot. Without I/O: numbers go in, a decision comes out.

A new session is admitted while a slot is free, its client has not all that it may (nor is it the last slot, which the
client leaves to others), there is memory for what it is promised (`engine.memory`), and a step over every session, the
new one included, is forecast to take at most `budget_ms` of a frame's 80 (`engine.forecast`). While a session's prefill
is computed between the steps, its longest chunk counts too. Decisions keep no state: the same sessions and the same
steps give the same answer. An idle worker always admits: a model that is too slow for real time still serves one
session, and says so in its log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import FRAME_MS, FRAME_S, STEP_BUDGET_MS

RETRY_SPAN_S = 10.0  # how far back refusals count, and the longest wait that is asked for
RETRY_SHORTEST_S = 1.0
RETURNS_PER_S = 10.0  # how fast those who were refused are asked to come back


class Admission:
    """The rule above for one worker.

    Args:
        forecast: of the engine's steps.
        budget_ms: the longest step that a new session may bring about.
        reserve: slots that only sessions may take which go on from a history: those of a worker that was lost, or of a
            region.
    """

    def __init__(self, forecast: StepForecast, budget_ms: float = STEP_BUDGET_MS, reserve: int = 0) -> None:
        self.budget_ms = budget_ms
        self.reserve = reserve
        self._forecast = forecast
        self._pace = RetryPace()

    def check(
        self,
        client: Client,
        held: int,
        sessions: int,
        slots: int,
        now_s: float,
        prefilling: bool = False,
        *,
        needed_steps: int = 0,
        free_steps: int = 0,
        adapters: int | None = None,
        resumes: bool = False,
    ) -> None:
        """Returns where `client`, which has `held` of the `sessions`, may have one of the `slots`.

        Args:
            client: who asks.
            held: the client's sessions.
            sessions: all sessions.
            slots: as many as there can be.
            now_s: seconds of the clock that the forecast is given.
            prefilling: whether a session's prefill is computed between the steps that are to come.
            needed_steps: of memory, of the new session.
            free_steps: of memory, that nobody has nor was promised.
            adapters: that there is room for, where sessions have others than the new one wants; None where it may
                have its own.
            resumes: whether the session goes on from a history, which the reserve is for.

        Raises:
            RefusedError: it may not; the error says why and when to come back.
        """
        allowed = client.allowance.sessions
        if allowed is not None and held >= allowed:
            raise self._refused(
                Refusal.CLIENT_SESSIONS,
                f"{client.name} has {held} sessions, as many as it may: end one first",
                now_s,
                everywhere=True,
            )
        if client.allowance.leaves_last_slot and held and sessions == slots - 1:
            raise self._refused(
                Refusal.CLIENT_SESSIONS,
                f"{client.name} has {held} sessions, and the last of {slots} slots is for clients that have none: try "
                "again later, or on another worker",
                now_s,
            )
        if sessions >= slots:
            message = f"all {slots} slots are taken: try again later, or on another worker"
            raise self._refused(Refusal.SLOTS, message, now_s)
        if not resumes and sessions >= slots - self.reserve:
            raise self._refused(
                Refusal.SLOTS,
                f"{sessions} of {slots} slots are taken, and the rest are kept for sessions that go on: try again "
                "later, or on another worker",
                now_s,
            )
        if needed_steps > free_steps:
            raise self._refused(
                Refusal.MEMORY,
                f"the session needs memory for {needed_steps * FRAME_S:.0f} s, and {free_steps * FRAME_S:.0f} s are "
                "free that no other was promised: try again later, or on another worker",
                now_s,
            )
        if adapters is not None:
            raise self._refused(
                Refusal.ADAPTERS,
                f"there is memory for {adapters} adapters at once, and sessions have others than the one that is asked "
                "for: try again later, or on another worker",
                now_s,
            )
        if not sessions:
            return
        step_ms = self._forecast.step_ms(sessions + 1, now_s)
        chunk_ms = self._forecast.chunk_ms() if prefilling else 0.0
        if step_ms + chunk_ms > self.budget_ms:
            beside = f", beside {chunk_ms:.0f} for a session's prefill" if chunk_ms else ""
            raise self._refused(
                Refusal.STEP_TIME,
                f"a step over {sessions + 1} sessions would take {step_ms:.0f} ms of a frame's {FRAME_MS:.0f}"
                f"{beside}, more than {self.budget_ms:.0f}: try again later, or on another worker",
                now_s,
            )

    def _refused(self, reason: Refusal, message: str, now_s: float, *, everywhere: bool = False) -> RefusedError:
        return RefusedError(reason, message, self._pace.delay_s(now_s), everywhere=everywhere)


@dataclass(slots=True)
class RetryPace:
    """When the refused should come back: 1 s later, and later the more of them there are, at most 10 s.

    So a crowd comes back at ten a second, and not all at once.
    """

    _refused_s: deque[float] = field(default_factory=lambda: deque(maxlen=round(RETRY_SPAN_S * RETURNS_PER_S)))

    def delay_s(self, now_s: float) -> float:
        """The delay for one more that is refused at `now_s`."""
        self._refused_s.append(now_s)
        waiting = sum(now_s - refused_s <= RETRY_SPAN_S for refused_s in self._refused_s)
        return min(max(waiting / RETURNS_PER_S, RETRY_SHORTEST_S), RETRY_SPAN_S)
