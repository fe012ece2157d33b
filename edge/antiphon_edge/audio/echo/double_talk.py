"""Whether a person speaks, while the speaker does or not."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

BLOCK = 240  # samples: 10 ms
KEPT = 112  # blocks, by which the leak is known
LOW = 25  # percent of them that leak less: most may be a person's
RISE = 1.15  # of the leak, a frame at most
FEWEST = 16  # blocks that tell the leak
BEST_LEAK = 1e-5
MARGIN = 8.0  # times (9 dB) what is left of the echo: more than that is a person
LEAST_LEAK = 0.02  # as it may be again at once, after a person has spoken into what is learnt
WEIGHT_MARGIN = 4.0
DECAY = 0.55  # of the echo's power, a block: a room rings on
AUDIBLE = 1e-5  # power: −50 dBFS
ECHO = 1e-5  # power of an echo that tells anything
FLOOR = 1e-7
SHUT_BLOCKS = 15  # after the microphone was overdriven by an echo
HOLD_BLOCKS = 10  # after the last sign: the end of a word is soft
NOISE_RISE = 1.01  # a block

Powers = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def powers(pcm: Pcm) -> Powers:
    """Of each block of 10 ms of `pcm` [N], [N / BLOCK]."""
    squares: Powers = (pcm.reshape(-1, BLOCK) ** 2).mean(1)
    return squares


class DoubleTalkDetector:
    """Finds a person in what a linear filter leaves, block by block.

    It learns how much of an echo the filter leaves (its leak), and the noise of the room. What is well above both is a
    person.
    """

    def __init__(self) -> None:
        self.leak = 1.0
        self._ratios: deque[float] = deque(maxlen=KEPT)
        self._noise = 1e-4
        self._echo = 0.0
        self._hold = 0
        self._shut = 0

    def learn(self, mic: Powers, before: Powers, echo: Powers) -> None:
        """A frame in which the speaker was heard.

        Args:
            mic: what was heard, [B].
            before: what the filter left of it before it learnt from it, [B].
            echo: what it is now taken for, [B].
        """
        heard = np.minimum(mic, echo) > ECHO
        self._ratios.extend(np.minimum(1, before[heard] / echo[heard]).tolist())
        if len(self._ratios) >= FEWEST:
            usual = float(np.percentile(self._ratios, LOW))
            self.leak = max(BEST_LEAK, min(self.leak * RISE, usual))

    def weights(self, mic: Powers, rest: Powers, echo: Powers) -> Powers:
        """How much each block tells about the room, [B] from 0 to 1: little where a person speaks.

        As long as the filter knows little, any of what is heard may be the echo.
        """
        ringing = np.maximum(echo, DECAY * np.concatenate((echo[:1], echo[:-1])))
        usual = WEIGHT_MARGIN * self.leak * np.maximum(ringing, self.leak * mic) + FLOOR
        weights: Powers = (usual / (usual + rest)).astype(np.float32)
        return weights

    def is_near(self, rest: Powers, echo: Powers, clipped: Flags) -> Flags:
        """Whether a person is in each block.

        Args:
            rest: what the filter leaves, [B].
            echo: what it takes for the echo, [B].
            clipped: whether the microphone was overdriven, [B]; no filter knows what it left out.
        """
        blocks = zip(rest.tolist(), echo.tolist(), clipped.tolist(), strict=True)
        return np.array([self._is_near(*block) for block in blocks])

    def _is_near(self, power: float, echo: float, clipped: bool) -> bool:
        self._echo = max(echo, DECAY * self._echo)
        self._shut = SHUT_BLOCKS if clipped else max(0, self._shut - 1)
        if self._shut and self._echo > ECHO:
            self._hold = 0
            return False
        self._noise = min(power, self._noise * NOISE_RISE)
        if power > AUDIBLE and power > MARGIN * (max(self.leak, LEAST_LEAK) * self._echo + self._noise):
            self._hold = HOLD_BLOCKS
        elif self._hold:
            self._hold -= 1
        return self._hold > 0
