"""Admission: whether the next session still gets its steps in time. Without I/O: times go in, a decision comes out.

A new session is admitted while a slot is free, its client has not all that it may, and a step over every session, the
new one included, is forecast to take at most `budget_ms` of a frame's 80. The forecast is the p99 step:

    forecast(n) = slowdown · profile(n) + hiccup + chunk

- `profile(n)`: milliseconds of a step over n sessions, measured before the worker opens its doors (`calibration`);
- `slowdown`: the median of step ÷ profile over the last steps, so that a slower machine is noticed at any batch;
- `hiccup`: the 99th percentile of what the last steps took beyond slowdown · profile, so that the tail counts too;
- `chunk`: where a session goes on from its past, the part of it that is computed between two steps.

"The last steps" are at most 1,000 and at most 30 s old: a bad minute is forgotten although nobody was let in during it.
No hiccup comes from fewer than three slow steps, so one or two stalls lock no door. Decisions keep no state: the same
sessions and the same steps give the same answer. An idle worker always admits: a model that is too slow for real time
still serves one session, and says so in its log.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from antiphon_cloud.engine.pacing import SHORTEST_MS
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import FRAME_MS, STEP_BUDGET_MS

Floats = npt.NDArray[np.float64]

KEPT_STEPS = 1000
KEPT_S = 30.0
KEPT_CHUNKS = 20
STEPS_FOR_SLOWDOWN = 20
STEPS_FOR_HICCUP = 3

RETRY_SPAN_S = 10.0  # how far back refusals count, and the longest wait that is asked for
RETRY_SHORTEST_S = 1.0
RETURNS_PER_S = 10.0  # how fast those who were refused are asked to come back


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What the engine knows of its last steps."""

    p50_ms: float
    p99_ms: float
    lone_ms: float  # over one session, measured at the start; 0 where it was not

    @property
    def slower_than_real_time(self) -> bool:
        """Whether a step takes longer than a frame, by the last ones or, before the first, by the measurement."""
        return (self.p50_ms or self.lone_ms) > FRAME_MS


class Admission:
    """The rule above for one worker.

    Args:
        profile: batch → milliseconds of a step over so many sessions; empty where nothing was measured, and then the
            p99 of the last steps, whatever their batch, is the forecast.
        budget_ms: the longest step that a new session may bring about.
    """

    def __init__(self, profile: Mapping[int, float] | None = None, budget_ms: float = STEP_BUDGET_MS) -> None:
        self.budget_ms = budget_ms
        self._batches = np.array(sorted(profile or {}), np.float64)
        self._profile_ms = np.array([(profile or {})[int(batch)] for batch in self._batches], np.float64)
        self._lone_ms = (profile or {}).get(1, 0.0)
        self._steps = np.zeros((KEPT_STEPS, 3))  # when (s), batch, milliseconds: a ring
        self._seen = 0
        self._chunk_ms: deque[float] = deque(maxlen=KEPT_CHUNKS)
        self._pace = RetryPace()

    def observe(self, batch: int, step_ms: float, now_s: float) -> None:
        """Takes in one step over `batch` sessions, ended at `now_s`."""
        self._steps[self._seen % KEPT_STEPS] = now_s, batch, step_ms
        self._seen += 1

    def observe_chunk(self, took_ms: float) -> None:
        """Takes in one chunk of a session's past, computed between two steps of the others."""
        self._chunk_ms.append(took_ms)

    def check(
        self, client: Client, held: int, sessions: int, slots: int, now_s: float, rebuilding: bool = False
    ) -> None:
        """Returns where `client`, which has `held` of the `sessions`, may have one of the `slots`.

        Args:
            client: who asks.
            held: the client's sessions.
            sessions: all sessions.
            slots: as many as there can be.
            now_s: seconds of any clock, the one that `observe` is given.
            rebuilding: whether a session's past is computed between the steps that are to come.

        Raises:
            RefusedError: it may not; the error says why and when to come back.
        """
        allowed = client.allowance.sessions
        if allowed is not None and held >= allowed:
            raise self._refused(
                Refusal.CLIENT_SESSIONS,
                f"{client.name} has {held} sessions, as many as it may: end one first",
                now_s,
            )
        if sessions >= slots:
            message = f"all {slots} slots are taken: try again later, or on another worker"
            raise self._refused(Refusal.SLOTS, message, now_s)
        if not sessions:
            return
        forecast_ms = self.forecast_ms(sessions + 1, now_s)
        chunk_ms = self.chunk_ms() if rebuilding else 0.0
        if forecast_ms + chunk_ms > self.budget_ms:
            beside = f", beside {chunk_ms:.0f} for a session that goes on from its past" if chunk_ms else ""
            raise self._refused(
                Refusal.STEP_TIME,
                f"a step over {sessions + 1} sessions would take {forecast_ms:.0f} ms of a frame's {FRAME_MS:.0f}"
                f"{beside}, more than {self.budget_ms:.0f}: try again later, or on another worker",
                now_s,
            )

    def forecast_ms(self, sessions: int, now_s: float) -> float:
        """The p99 of a step over `sessions`, in milliseconds; 0 where nothing is known."""
        ended_s, batches, step_ms = self._kept().T
        recent = now_s - ended_s <= KEPT_S
        batches, step_ms = batches[recent], step_ms[recent]
        slowdown = 1.0
        if len(self._batches) and len(step_ms) >= STEPS_FOR_SLOWDOWN:
            slowdown = float(np.median(step_ms / self._expected(batches)))
        beyond = step_ms - slowdown * self._expected(batches)
        return slowdown * float(self._expected(np.array([sessions]))[0]) + _tail(beyond)

    def chunk_ms(self) -> float:
        """The longest of the last chunks; `SHORTEST_MS` before the first."""
        return max(self._chunk_ms, default=SHORTEST_MS)

    def step_times(self) -> StepTimes:
        """Percentiles of the last steps, whatever their batch and age; 0 before the first."""
        step_ms = self._kept()[:, 2]
        p50, p99 = np.percentile(step_ms, [50, 99]) if len(step_ms) else (0.0, 0.0)
        return StepTimes(float(p50), float(p99), self._lone_ms)

    def _kept(self) -> Floats:
        """The last steps [n, 3], in no order."""
        return self._steps[: min(self._seen, KEPT_STEPS)]

    def _expected(self, batches: Floats) -> Floats:
        """The profile at `batches` [n], between its points in a straight line."""
        if not len(self._batches):
            return np.zeros(len(batches))
        return np.asarray(np.interp(batches, self._batches, self._profile_ms), np.float64)

    def _refused(self, reason: Refusal, message: str, now_s: float) -> RefusedError:
        return RefusedError(reason, message, self._pace.delay_s(now_s))


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


def _tail(beyond_ms: Floats) -> float:
    """The 99th percentile of `beyond_ms` [n] where that is decided by three steps at least; 0 otherwise."""
    rank = max(STEPS_FOR_HICCUP, math.ceil(len(beyond_ms) / 100))
    if len(beyond_ms) < rank:
        return 0.0
    return max(0.0, float(np.partition(beyond_ms, -rank)[-rank]))
