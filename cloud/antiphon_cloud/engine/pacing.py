"""How many steps of a session's prefill are computed between two steps of the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from antiphon_cloud.timing import FRAME_MS

SHORTEST_MS, LONGEST_MS = 5.0, 12.0  # of a chunk beside other sessions: so long a frame of theirs may wait for it
ALONE_MS = 40.0  # of a chunk while no session steps: so long a new session's first frame may wait
ALONE_S = 1.0  # without a step, after which no session counts as stepping
RECENT_STEPS = 25  # from which the spare part of a frame is known
FIRST_STEPS = 16  # of a chunk: at most before one was measured, at least while no session steps
MOST_STEPS = 512


class PrefillPacer:
    """Chooses chunks that take at most half of what the steps leave of a frame, and never long; for one thread.

    While nobody waits, a chunk is never so short that a busy machine spends its time on reading weights.

    Args:
        clock_s: for tests.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._step_ms: deque[float] = deque(maxlen=RECENT_STEPS)
        self._stepped_s = -ALONE_S + clock_s()
        self._prefill_step_ms: float | None = None  # a step's share of the last chunk
        self._last = FIRST_STEPS

    @property
    def alone(self) -> bool:
        """Whether no session steps at present."""
        return self._clock_s() - self._stepped_s >= ALONE_S

    @property
    def target_ms(self) -> float:
        """How long the next chunk may take."""
        if self.alone:
            return ALONE_MS
        spare = FRAME_MS - max(self._step_ms)
        return min(max(spare / 2, SHORTEST_MS), LONGEST_MS)

    @property
    def steps(self) -> int:
        """Of the next chunk."""
        if self._prefill_step_ms is None:  # a step of the prefill takes no longer than one of the others
            step_ms, most = max(self._step_ms, default=0.0), FIRST_STEPS
        else:  # the last chunk may have been a lucky one
            step_ms, most = self._prefill_step_ms, min(self._last * 2, MOST_STEPS)
        fewest = FIRST_STEPS if self.alone else 1  # a chunk reads all weights: a short one takes about as long
        return int(min(max(self.target_ms / max(step_ms, 1e-6), fewest), most))

    def stepped(self, took_ms: float) -> None:
        """A step of the other sessions took so long."""
        self._step_ms.append(took_ms)
        self._stepped_s = self._clock_s()

    def measured(self, steps: int, took_ms: float) -> None:
        """A chunk of so many steps took so long."""
        self._last = steps
        self._prefill_step_ms = took_ms / steps
