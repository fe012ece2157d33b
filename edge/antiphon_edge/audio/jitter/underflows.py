"""How much sound a speaker's device should hold: more where this process is too slow to bring it in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MANY, WITHIN_S = 5, 10.0
LONGEST_MS = 40


class Underflows:
    """Doubles what a callback asks for where the device has run dry `MANY` times `WITHIN_S`.

    Args:
        callback_ms: what it asks for at first; the device holds two of them.
        clock: seconds, from anywhere.
    """

    def __init__(self, callback_ms: int, clock: Callable[[], float]) -> None:
        self._callback_ms = callback_ms
        self._clock = clock
        self._latest_s: deque[float] = deque(maxlen=MANY)

    def another(self) -> int | None:
        """The device has run dry; how much a callback should ask for from now on, where that is more than before."""
        self._latest_s.append(self._clock())
        many = len(self._latest_s) == MANY and self._latest_s[-1] - self._latest_s[0] <= WITHIN_S
        if not many or self._callback_ms >= LONGEST_MS:
            return None
        self._latest_s.clear()
        self._callback_ms *= 2
        return self._callback_ms
