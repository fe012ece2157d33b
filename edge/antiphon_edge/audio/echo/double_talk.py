"""Whether a person speaks, while the speaker does or not."""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import Pcm

MARGIN = 8.0  # times (9 dB) what is left of the echo: more than that is a person
OUTLIER = 8.0  # times the usual leak: such a block says nothing about the leak
RISE, FALL = 0.1, 0.025  # of the leak, a block: near the top of what is usual
MOST_LEAK = 0.15  # so that a person who speaks on is not taken for it
DECAY = 0.55  # of the echo's power, a block: a room rings on
AUDIBLE = 1e-5  # power: −50 dBFS
ECHO = 1e-6  # power of an echo that tells anything
CLIPPED = 0.98  # of full scale; no filter knows what is beyond
HOLD_BLOCKS = 10  # after the last sign: the end of a word is soft
NOISE_RISE = 1.01  # a block


class DoubleTalkDetector:
    """Finds a person in what a linear filter leaves, block by block.

    It learns how much of an echo the filter leaves (its leak), and the noise of the room. What is well above both is a
    person.
    """

    def __init__(self) -> None:
        self._leak = MOST_LEAK
        self._noise = 1e-4
        self._echo = 0.0
        self._hold = 0

    def is_near(self, mic: Pcm, echo: Pcm, rest: Pcm) -> bool:
        """Whether a person is in this block.

        Args:
            mic: what was heard, [N].
            echo: what of it the filter takes for the echo, [N].
            rest: what is left, [N].
        """
        power = float(np.mean(rest**2))
        self._echo = max(float(np.mean(echo**2)), DECAY * self._echo)
        if self._echo > ECHO:
            self._learn(max(0.0, power - 2 * self._noise) / self._echo)
        self._noise = min(power, self._noise * NOISE_RISE)
        above = power > MARGIN * (self._leak * self._echo + self._noise)
        if above and power > AUDIBLE and float(np.abs(mic).max()) < CLIPPED:
            self._hold = HOLD_BLOCKS
        elif self._hold:
            self._hold -= 1
        return self._hold > 0

    def _learn(self, leak: float) -> None:
        if leak < OUTLIER * self._leak:
            self._leak += (RISE if leak > self._leak else FALL) * (leak - self._leak)
        else:
            self._leak *= 1.005
        self._leak = min(self._leak, MOST_LEAK)
