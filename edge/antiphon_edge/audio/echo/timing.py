"""When an echo comes, beside when a filter expects it: where the far end runs too slowly, it comes ever earlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from antiphon_edge.audio.echo.interpolation import TAPS, interpolate
from antiphon_edge.audio.pcm import Pcm

EXPLAINED = 0.25  # of the microphone's power may be left: more is a person, or an echo that is not known
AUDIBLE = 1e-5  # power of an echo that tells anything
ALIKE = 20  # samples in a row of speech tell as much as one
REACH = 60  # samples: no pitch is as high
SMOOTH = np.array([1, 4, 6, 4, 1], np.float32) / 16
SURE = 3.0  # standard errors
LEAST_ERROR = 0.05  # samples: the filter itself is still learning


@dataclass(frozen=True, slots=True)
class EchoTiming:
    """When the echo in the last frame came."""

    late_samples: float
    """Later than a filter expected it that has learnt from earlier frames."""
    error_samples: float
    """The standard error of that."""
    learnt: Sequence[tuple[int, float]]
    """How many frames ago those were, and how much each of them told."""
    moved: bool = False
    """The far end was moved by as much in that frame, and should stay so."""

    @property
    def is_sure(self) -> bool:
        """Whether the echo was not where it was expected."""
        return abs(self.late_samples) > SURE * self.error_samples


def echo_timing(mic: Pcm, expected: Pcm, learnt: Sequence[tuple[int, float]]) -> EchoTiming | None:
    """How much later than expected the echo came: the peak of a correlation, and one step of Gauss and Newton from it.

    Args:
        mic: what the microphone heard, [N].
        expected: what a filter expected of the echo before it had heard it, [N].
        learnt: what the filter has learnt from.

    Returns:
        None where the echo tells nothing.
    """
    if not learnt or float((expected**2).mean()) < AUDIBLE:
        return None
    inner, expected = _smooth(mic)[REACH:-REACH], _smooth(expected)
    lags = np.correlate(expected, inner, "valid")  # [2 · REACH + 1], the latest first
    shift = REACH - int(lags.argmax())
    found = expected[REACH - shift : len(expected) - REACH - shift]
    left = inner - found
    left_energy = float((left**2).sum())
    if left_energy > EXPLAINED * float((inner**2).sum()):
        return None
    slope = np.gradient(found)
    told = float((slope**2).sum())
    error = float(np.sqrt(ALIKE * left_energy / len(left) / told))
    return EchoTiming(shift - float((left * slope).sum()) / told, error + LEAST_ERROR, learnt)


def moved(far: Pcm, later_samples: float) -> Pcm:
    """A frame of the far end [N], so much later; what comes into it from outside is what stood there."""
    positions = np.arange(len(far), dtype=np.float64) - later_samples
    inside = (positions > TAPS) & (positions < len(far) - TAPS)
    return np.where(inside, interpolate(far, positions), far)


def _smooth(pcm: Pcm) -> Pcm:
    """Without the highest pitches, of which the difference of samples is no slope."""
    return np.convolve(pcm, SMOOTH, "same").astype(np.float32, copy=False)
