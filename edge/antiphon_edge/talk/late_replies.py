"""Which replies come too late to be heard: after an outage the conversation catches up instead of staying behind."""

from __future__ import annotations

from collections import deque

MAX_LAG_S = 0.24  # three frames
WINDOW = 50  # replies: 4 s, after which a slower network is the usual one


class LateReplyFilter:
    """Compares each reply's round trip with the fastest of the last ones.

    What counts is the lag that was added: a network that is slow, but steadily so, delays the reply and loses nothing.

    Args:
        max_lag_s: how much later than usual a reply may come.
    """

    def __init__(self, max_lag_s: float = MAX_LAG_S) -> None:
        self._max_lag_s = max_lag_s
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def is_late(self, round_trip_s: float) -> bool:
        """Whether the reply with this round trip should be skipped."""
        self._recent.append(round_trip_s)
        return round_trip_s - min(self._recent) > self._max_lag_s
