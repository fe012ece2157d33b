"""How late frames come, and so how long the fastest of them must wait that nearly all are in time.

The target is that of adaptive playout (Ramjee, Kurose, Towsley and Schulzrinne, "Adaptive playout mechanisms for
packetized audio applications in wide-area networks", 1994), with a quantile, as in WebRTC's NetEQ, in place of the
variance: delays have long tails.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

FASTEST_FRAMES = 25  # 2 s: a network that is slower from now on is the usual one after so long
SLOWEST_FRAMES = 5  # a network that has just become slower
KEPT_FRAMES = 250  # 20 s
LATE_FRAMES = 1  # of those may come too late
STALL_MS = 160.0  # later than that is an outage: to wait for the next one would cost more than it would save
MARGIN_MS = 12.0  # the speaker takes 10 at once


class Arrivals:
    """Learns from one number a frame: by how much it came ahead of the moment when nothing would be left to play.

    That is measured in samples that the speaker has played, as if nothing had been put in or left out since the start.
    So it knows no other clock, and how far the speaker's is from the one that paces the frames shows as a drift.

    Args:
        samples_per_ms: of the speaker.
        first_ms: the least target until `FASTEST_FRAMES` have come.
    """

    def __init__(self, samples_per_ms: float, first_ms: float) -> None:
        self._first = first_ms * samples_per_ms
        self._margin = MARGIN_MS * samples_per_ms
        self._stall = STALL_MS * samples_per_ms
        self._latest: deque[float] = deque(maxlen=FASTEST_FRAMES)
        self._delays: deque[float] = deque()
        self._sorted: list[float] = []  # the same
        self.fastest: float | None = None
        """Of the latest frames, how far ahead the fastest came; None before the first."""
        self.target = max(self._first, self._margin)
        """Samples that should wait when the fastest frame comes."""

    @property
    def spare(self) -> float:
        """How many samples fewer need wait before the fastest frame, or, negative, how many more must.

        Those of the last frames that were slow count too: they may be the first of many.
        """
        assert self.fastest is not None, "nothing came"
        slowest = min(list(self._latest)[-SLOWEST_FRAMES:])
        return min(self.fastest - self.target, slowest - self._margin)

    def came(self, ahead: float) -> None:
        """The next frame came `ahead` samples before its turn, or after it where that is negative."""
        if self.fastest is not None and self.fastest - ahead > self._stall:
            self._latest.clear()
        self._latest.append(ahead)
        self.fastest = max(self._latest)
        if len(self._delays) == KEPT_FRAMES:
            oldest = self._delays.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        delay = self.fastest - ahead
        self._delays.append(delay)
        insort(self._sorted, delay)
        least = self._first if len(self._delays) < FASTEST_FRAMES else 0.0
        self.target = max(least, self._sorted[max(0, len(self._sorted) - 1 - LATE_FRAMES)] + self._margin)
