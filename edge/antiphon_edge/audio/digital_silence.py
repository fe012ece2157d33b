"""Whether a microphone sends nothing but zeros: one that is muted or switched off does, a quiet room does not."""

from __future__ import annotations

from antiphon_edge.audio.pcm import Pcm

SILENT_S = 10.0
FLOOR = 0.5 / 32_768  # below the smallest step of 16 bits


class DigitalSilence:
    """Counts a microphone's zeros; no clock but that of the samples.

    Args:
        rate_hz: of the blocks.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._zeros = 0
        self.silent = False
        """Nothing but zeros has come for `SILENT_S`."""

    def put(self, block: Pcm) -> bool:
        """Takes the next samples [N]; True where `silent` has changed by them."""
        sounds = bool((abs(block) > FLOOR).any())
        self._zeros = 0 if sounds else self._zeros + len(block)
        before, self.silent = self.silent, self._zeros >= SILENT_S * self._rate_hz
        return before != self.silent
