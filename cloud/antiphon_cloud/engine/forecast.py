"""The forecast of a step: what the last steps took, and what one over more sessions would take. Without I/O.

The forecast is the p99 step:

    forecast(n) = slowdown · profile(n) + hiccup

- `profile(n)`: milliseconds of a step over n sessions, measured before the worker opens its doors (`calibration`);
- `slowdown`: the median of step ÷ profile over the last steps, so that a slower machine is noticed at any batch;
- `hiccup`: the 99th percentile of what the last steps took beyond slowdown · profile, so that the tail counts too.

"The last steps" are at most 1,000 and at most 30 s old: a bad minute is forgotten even if no session came after it.
No hiccup comes from fewer than three slow steps, so one or two stalls lock no door. The last chunks of prefill, which
are computed between two steps, are kept beside them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from antiphon_cloud.engine.pacing import SHORTEST_MS
from antiphon_cloud.timing import FRAME_MS

Floats = npt.NDArray[np.float64]

KEPT_STEPS = 1000
KEPT_S = 30.0
KEPT_CHUNKS = 20
STEPS_FOR_SLOWDOWN = 20
STEPS_FOR_HICCUP = 3


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Percentiles of the last steps."""

    p50_ms: float
    p99_ms: float
    lone_ms: float  # over one session, measured at the start; 0 where it was not

    @property
    def slower_than_real_time(self) -> bool:
        """Whether a step takes longer than a frame, by the last ones or, before the first, by the measurement."""
        return (self.p50_ms or self.lone_ms) > FRAME_MS


class StepForecast:
    """Takes in what steps and chunks took, and says what the next will take.

    Args:
        profile: batch → milliseconds of a step over so many sessions; empty where nothing was measured, and then the
            p99 of the last steps, whatever their batch, is the forecast.
    """

    def __init__(self, profile: Mapping[int, float] | None = None) -> None:
        profile = profile or {}
        self._batches = np.array(sorted(profile), np.float64)
        self._profile_ms = np.array([profile[batch] for batch in sorted(profile)], np.float64)
        self._lone_ms = profile.get(1, 0.0)
        self._steps = np.zeros((KEPT_STEPS, 3))  # when (s), batch, milliseconds: a ring
        self._seen = 0
        self._chunk_ms: deque[float] = deque(maxlen=KEPT_CHUNKS)

    def observe(self, batch: int, step_ms: float, now_s: float) -> None:
        """Takes in one step over `batch` sessions, ended at `now_s`."""
        self._steps[self._seen % KEPT_STEPS] = now_s, batch, step_ms
        self._seen += 1

    def observe_chunk(self, took_ms: float) -> None:
        """Takes in one chunk of a session's prefill, computed between two steps of the others."""
        self._chunk_ms.append(took_ms)

    def step_ms(self, sessions: int, now_s: float) -> float:
        """The p99 of a step over `sessions`, in milliseconds; 0 where nothing is known.

        Args:
            sessions: that are stepped together.
            now_s: seconds of any clock, the one that `observe` is given.
        """
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


def _tail(beyond_ms: Floats) -> float:
    """The 99th percentile of `beyond_ms` [n] where that is decided by three steps at least; 0 otherwise."""
    rank = max(STEPS_FOR_HICCUP, math.ceil(len(beyond_ms) / 100))
    if len(beyond_ms) < rank:
        return 0.0
    return max(0.0, float(np.partition(beyond_ms, -rank)[-rank]))
