"""A switch between the person and the model: muted, the model hears silence."""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.view.events import Muted, Publish

FADE_SAMPLES = 240  # 10 ms at 24 kHz: no click


class Mute:
    """Silences frames while it is on; whoever turns it may be anybody in the event loop.

    Args:
        muted: at first.
        publish: told of every turn.
    """

    def __init__(self, publish: Publish, *, muted: bool = False) -> None:
        self._publish = publish
        self._gain = 0.0 if muted else 1.0  # of the last frame
        self.muted = muted

    def turn(self, muted: bool) -> None:
        """On or off; what it is already changes nothing."""
        if muted != self.muted:
            self.muted = muted
            self._publish(Muted(muted))

    def toggle(self) -> None:
        """On where it is off, off where it is on."""
        self.turn(not self.muted)

    def apply(self, frame: Pcm) -> Pcm:
        """The frame [N], silent while muted; a turn is a short fade."""
        before, self._gain = self._gain, 0.0 if self.muted else 1.0
        if before == self._gain:
            return frame if self._gain else np.zeros_like(frame)
        gains = np.full(len(frame), self._gain, np.float32)
        fade = min(FADE_SAMPLES, len(frame))
        gains[:fade] = np.linspace(before, self._gain, fade, dtype=np.float32)
        return frame * gains
