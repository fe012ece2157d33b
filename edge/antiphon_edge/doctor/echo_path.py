"""How sound goes from the speaker to the microphone: how late, how loud, and how fast the two clocks run apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

CLEAR = 7.0  # times the strongest chance likeness: the peak is the echo
PART_S = 0.5  # of the parts whose delays are compared: over longer ones clocks that differ blur them
FEWEST_PARTS = 6
FINE = 16  # steps between two samples


@dataclass(frozen=True, slots=True)
class EchoPath:
    """What the microphone hears of the speaker."""

    delay_ms: float
    """From handing sound over to be played until a frame that holds it is there."""
    gain_db: float
    skew_ppm: float | None
    """By how much faster the microphone's clock runs than the speaker's; None where the sound was too short."""


def probe(rate_hz: int, seconds: float) -> Pcm:
    """Soft noise between 300 and 4,000 Hz, the same each time: no two moments of it are alike."""
    samples = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / rate_hz)
    spectrum[(frequencies < 300) | (frequencies > 4_000)] = 0
    noise = np.fft.irfft(spectrum, samples)
    signal: Pcm = (0.1 * noise / np.abs(noise).max()).astype(np.float32)
    return signal


def find_echo(heard: Pcm, played: Pcm, rate_hz: int, noise_power: float = 0.0) -> EchoPath | None:
    """The echo of `played` [N] in `heard` [M], which began at the same moment; None where there is none.

    Args:
        heard: by the microphone.
        played: the signal of `probe`.
        rate_hz: of both.
        noise_power: mean square of the microphone while nothing is played.
    """
    whole = _lag(heard, played)
    if whole is None:
        return None
    start = round(whole)
    echo = heard[start : start + len(played)]
    echo_power = max(1e-12, float(np.mean(np.square(echo))) - noise_power)
    return EchoPath(
        delay_ms=round(1e3 * whole / rate_hz, 1),
        gain_db=round(10 * math.log10(echo_power / float(np.mean(np.square(played)))), 1),
        skew_ppm=_skew_ppm(heard, played, start, rate_hz),
    )


def _skew_ppm(heard: Pcm, played: Pcm, start: int, rate_hz: int) -> float | None:
    """The slope of the delays of one part after another."""
    part = round(PART_S * rate_hz)
    margin = part // 4  # so much may the echo be off where it is looked for
    begins, lags = [], []
    for begin in range(0, len(played) - part + 1, part):
        at = max(0, start + begin - margin)
        lag = _lag(heard[at : at + part + 2 * margin], played[begin : begin + part])
        if lag is not None:
            begins.append(begin)
            lags.append(at - begin + lag)
    if len(lags) < FEWEST_PARTS:
        return None
    return round(1e6 * float(np.polyfit(begins, lags, 1)[0]), 1)


def _lag(heard: Pcm, said: Pcm) -> float | None:
    """Samples by which `said` comes later in `heard`, to a sixteenth of one; None where it does not come."""
    size = 1 << (len(heard) + len(said)).bit_length()
    spectrum = np.conj(np.fft.rfft(said, size)) * np.fft.rfft(heard, size)
    likeness = np.abs(np.fft.irfft(spectrum, size)[: len(heard)])
    lag = int(likeness.argmax())
    usual = float(np.sqrt(np.mean(np.square(likeness))))
    if usual == 0 or likeness[lag] < CLEAR * usual:
        return None
    return lag + _fraction(spectrum, lag, size)


def _fraction(spectrum: npt.NDArray[np.complexfloating], lag: int, size: int) -> float:
    steps = np.arange(-FINE, FINE + 1) / FINE
    turns = 2j * np.pi * np.fft.rfftfreq(size)
    values = [abs(float(np.real(np.sum(spectrum * np.exp(turns * (lag + step)))))) for step in steps]
    return float(steps[int(np.argmax(values))])
