"""Where a sound's power lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.clerk.train.data.clips import RATE, Clip


def power_of(clip: Clip) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Frequencies in Hz and the power at each."""
    return np.fft.rfftfreq(len(clip.samples), 1 / RATE), np.abs(np.fft.rfft(clip.samples)) ** 2


def centre_hz(clip: Clip, low: float = 0.0, high: float = RATE / 2) -> float:
    """The middle of the power between two frequencies."""
    frequency, power = power_of(clip)
    power = np.where((frequency >= low) & (frequency < high), power, 0)
    return float((frequency * power).sum() / power.sum())
