"""What a loudspeaker does to a sound before the room has it: it flattens what is loud.

A Hammerstein model (Narendra and Gallman 1966): a curve without memory, then a linear filter. The curve is a sum of
given ones, softly limited at several levels; how much of each is found by least squares.
"""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import Pcm

LEVELS = (0.5, 0.25, 0.125)  # of full scale, at which the given curves are flat
CURVES = 1 + len(LEVELS)  # the first is a straight line


def curves(far: Pcm) -> Pcm:
    """Each given curve of `far` [N], [CURVES, N]."""
    return np.stack([far, *(far / np.sqrt(1 + (far / np.float32(level)) ** 2) for level in LEVELS)])


class Loudspeaker:
    """The curve of a loudspeaker, straight to begin with."""

    def __init__(self) -> None:
        self.shares: Pcm = np.eye(1, CURVES, dtype=np.float32)[0]
        """Of each given curve in it."""

    def played(self, given: Pcm) -> Pcm:
        """What leaves the loudspeaker, [N], where the given curves make `given` [CURVES, N] of what goes in."""
        played: Pcm = self.shares @ given
        return played

    def learn(self, more: Pcm, given: Pcm) -> float:
        """Adds `more` [CURVES] to the shares; what leaves the loudspeaker for `given` is as loud as before.

        Returns:
            By how much louder a filter behind it must be now.
        """
        before = float((self.played(given) ** 2).sum())
        self.shares = self.shares + more
        after = float((self.played(given) ** 2).sum())
        louder = float(np.sqrt(after / before)) if before > 0 and after > 0 else 1.0
        self.shares = (self.shares / louder).astype(np.float32)
        return louder
