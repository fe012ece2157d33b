"""How loud sound is played, as a person turns it."""

from __future__ import annotations

FULL = 100.0


def gain(volume: float) -> float:
    """What samples are multiplied with at a volume of 0 to 100: its cube, as PulseAudio has it.

    So half of the way sounds about half as loud (-18 dB).
    """
    return float((volume / FULL) ** 3)
