"""G.711, the telephone's codec: µ-law and A-law at 8 kHz, a byte a sample (ITU-T G.711), by table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

RATE_HZ = 8_000
_CODES = np.arange(256, dtype=np.int32)


def _mu_law_levels() -> npt.NDArray[np.int32]:
    """The 16-bit sample of each code [256]: sign, three bits of segment, four of step, all inverted."""
    bits = ~_CODES & 0xFF
    magnitude = (((bits & 0x0F) << 3) + 0x84 << (bits >> 4 & 0x07)) - 0x84
    return np.where(bits & 0x80, -magnitude, magnitude).astype(np.int32)


def _a_law_levels() -> npt.NDArray[np.int32]:
    """The same of A-law, whose every other bit is inverted and whose first two segments are one line."""
    bits = _CODES ^ 0x55
    segment, step = bits >> 4 & 0x07, bits & 0x0F
    magnitude = np.where(segment == 0, (step << 4) + 8, ((step << 4) + 0x108) << np.maximum(segment - 1, 0))
    return np.where(bits & 0x80, magnitude, -magnitude).astype(np.int32)


class G711:
    """One of the two laws.

    Args:
        levels: the 16-bit sample of each code [256].
    """

    def __init__(self, levels: npt.NDArray[np.int32]) -> None:
        self._levels = (levels / 32_768).astype(np.float32)
        order = np.argsort(levels, kind="stable")
        ordered = levels[order]
        # The code of each 16-bit sample is that of the nearest level.
        borders = (ordered[1:] + ordered[:-1]) / 2
        self._codes = order[np.searchsorted(borders, np.arange(-32_768, 32_768), side="right")].astype(np.uint8)

    def decode(self, data: bytes) -> Pcm:
        """Samples [N] of N bytes."""
        return self._levels[np.frombuffer(data, np.uint8)]

    def encode(self, pcm: Pcm) -> bytes:
        """N bytes of samples [N]; what is beyond full scale is clipped."""
        samples = np.clip(np.rint(pcm * 32_768), -32_768, 32_767).astype(np.int32)
        return self._codes[samples + 32_768].tobytes()


MU_LAW = G711(_mu_law_levels())
A_LAW = G711(_a_law_levels())
