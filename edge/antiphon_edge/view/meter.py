"""How loud a signal is, and whether somebody speaks in it."""

from __future__ import annotations

import math

import numpy as np

from antiphon_edge.audio.pcm import Pcm

VOICE_DBFS = -45.0  # of a frame, root mean square; what a codec makes of silence stays far below
HOLD_S = 0.5  # a pause between words is no silence
FLOOR_DBFS = -100.0


class Meter:
    """The loudest of the frames since it was last read."""

    def __init__(self) -> None:
        self._peak = self._last = 0.0

    def put(self, frame: Pcm) -> None:
        """The next samples [N]."""
        self._last = float(np.abs(frame).max(initial=0.0))
        self._peak = max(self._peak, self._last)

    @property
    def now(self) -> float | None:
        """Decibels below full scale, of the loudest sample of the last frame; None in digital silence."""
        return _dbfs(self._last)

    def read(self) -> float | None:
        """The same of all frames since the last reading."""
        peak, self._peak = self._peak, 0.0
        return _dbfs(peak)


class VoiceGate:
    """Whether the frames of one signal hold a voice: at once when it begins, `HOLD_S` after it has ended."""

    def __init__(self) -> None:
        self._silent_s = HOLD_S
        self.open = False
        """Somebody speaks."""

    def put(self, frame: Pcm, frame_s: float) -> bool:
        """Takes the next frame [frame_samples] of `frame_s` seconds; True where `open` has changed by it."""
        power = float(np.mean(np.square(frame))) if len(frame) else 0.0
        loud = power > 10 ** (VOICE_DBFS / 10)
        self._silent_s = 0.0 if loud else self._silent_s + frame_s
        before, self.open = self.open, self._silent_s < HOLD_S
        return before != self.open


def _dbfs(peak: float) -> float | None:
    return round(20 * math.log10(peak), 1) if peak > 0 else None
