"""The percentiles of the last steps, computed at most a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from antiphon_cloud.engine.forecast import StepTimes

FRESH_S = 0.25


class RecentSteps:
    """Percentiles that are at most `FRESH_S` old.

    Args:
        measure: computes them; this blocks the event loop.
        clock: seconds.
    """

    def __init__(self, measure: Callable[[], StepTimes], clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._known: tuple[float, StepTimes] | None = None  # when, and what

    def now(self) -> StepTimes:
        """Percentiles of the last steps."""
        now_s = self._clock()
        if self._known is None or now_s - self._known[0] >= FRESH_S:
            self._known = now_s, self._measure()
        return self._known[1]
