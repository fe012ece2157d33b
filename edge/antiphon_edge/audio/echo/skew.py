"""By how much a speaker's clock is faster than a microphone's: what the echoes told, beside what the callbacks tell.

Callbacks are late on a busy machine, and tell a skew in a minute. An echo that is heard tells it in seconds.
"""

from __future__ import annotations

from collections import deque

from antiphon_edge.audio.echo.timing import EchoTiming

KEPT_FRAMES = 4096  # of which it is known where the far end was
WANDER = 1e-13  # by how much the skew changes from frame to frame, squared
LEAST_ERROR = 5e-5  # of what callbacks tell: a machine that gets busier is ever later, which looks like a skew
ALIKE = 14  # frames in a row tell little more than one, as the filter has learnt from the same


class EchoSkew:
    """A Kalman filter of one number, the skew in samples a sample."""

    def __init__(self) -> None:
        self._value, self._error = 0.0, float("inf")
        self._ran: deque[float] = deque(maxlen=KEPT_FRAMES)

    def ran(self, samples: float) -> None:
        """In this frame the far end stood `samples` further on than the microphone."""
        self._ran.append(samples)

    def learn(self, timing: EchoTiming, frame_samples: int) -> None:
        """The echo in the frame that ran last came at this time."""
        known = [(ago, weight) for ago, weight in timing.learnt if ago < len(self._ran)]
        whole = sum(weight for _, weight in known)
        if whole == 0:
            return
        age = sum(ago * weight for ago, weight in known) / whole * frame_samples
        moved = self._ran[-1] - sum(self._ran[-1 - ago] * weight for ago, weight in known) / whole
        if age < frame_samples:
            return
        measured = (moved - timing.late_samples) / age
        error = ALIKE * (timing.error_samples / age) ** 2
        before = self._error + WANDER
        gain = 1.0 if before == float("inf") else before / (before + error)
        self._value += gain * (measured - self._value)
        if timing.moved:
            self._ran[-1] -= timing.late_samples
        self._error = error if before == float("inf") else (1 - gain) * before

    def beside(self, skew: float, error: float) -> float:
        """The skew, where callbacks tell it with this standard error."""
        if self._error == float("inf"):
            return skew
        error = max(error, LEAST_ERROR)
        weight = error**2 / (error**2 + self._error)
        return weight * self._value + (1 - weight) * skew
