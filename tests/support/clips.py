"""Speech of no synthesizer."""

import numpy as np

from train.clips import DIGITS, RATE, Clip, Word


def tones() -> list[Clip]:
    """One voice; every digit is a tone of 0.3 s."""
    tone = 0.5 * np.sin(np.arange(int(0.3 * RATE)) / 10).astype(np.float32)
    return [Clip("tone", tone, (Word(digit, 0.0, 0.3),)) for digit in DIGITS]
