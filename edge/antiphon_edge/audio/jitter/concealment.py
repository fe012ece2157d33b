"""What is heard where nothing is there to be played: the last period again and again, ever softer.

The method is that of ITU-T G.711 Appendix I.
"""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.jitter.splice import Splicer
from antiphon_edge.audio.pcm import Pcm

HOLD_MS = 10  # at full loudness
FADE_MS = 50  # and then to silence: what is longer sounds like a machine


class Concealment:
    """One gap, from its first sample on.

    Args:
        played: what was heard before it [n], `HISTORY_MS` of it.
        splicer: finds the period.
        samples_per_ms: of the sound.
    """

    def __init__(self, played: Pcm, splicer: Splicer, samples_per_ms: float) -> None:
        here = len(played) - splicer.overlap
        lag, _ = splicer.best_lag(played, here, -splicer.longest, -splicer.shortest)
        length = round((HOLD_MS + FADE_MS) * samples_per_ms)
        quarter = -lag // 4
        cycle = splicer.fade(played[-quarter:], played[lag - quarter : lag])  # so that its end leads to its beginning
        sound = np.resize(np.concatenate((played[lag:-quarter], cycle)), length)
        # The first sample comes after the last one as it did a period ago: the difference is no click if it fades.
        away = np.arange(length, dtype=np.float32)
        sound += (played[-1] - played[lag - 1]) * np.maximum(0, 1 - away / splicer.overlap)
        self._sound: Pcm = sound * np.clip((length - away) / (FADE_MS * samples_per_ms), 0, 1).astype(np.float32)

    def take(self, samples: int) -> Pcm:
        """The next samples [samples]; silence in the end."""
        out = np.zeros(samples, np.float32)
        now = min(samples, len(self._sound))
        out[:now], self._sound = self._sound[:now], self._sound[now:]
        return out
