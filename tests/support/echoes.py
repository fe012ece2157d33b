"""Sound as a loudspeaker plays it, and what a microphone beside it hears."""

from __future__ import annotations

import numpy as np

from antiphon_edge.audio.pcm import Pcm

RATE_HZ = 24_000
FRAME = 1_920


def noise(seconds: float, seed: int, level: float = 0.1) -> Pcm:
    """Pink-ish noise whose loudness comes and goes as syllables do."""
    count = round(seconds * RATE_HZ)
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.sqrt(1 + np.fft.rfftfreq(count, 1 / RATE_HZ) / 300)
    syllables = 0.55 + 0.45 * np.sin(np.arange(count) * 2 * np.pi * 4 / RATE_HZ + seed)
    sound = np.fft.irfft(spectrum, count) * syllables
    scaled: Pcm = (level * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
    return scaled


def room(far: Pcm, seed: int = 5) -> Pcm:
    """What a microphone hears of it: 65 ms later, with 100 ms of reverberation."""
    rng = np.random.default_rng(seed)
    tail = rng.standard_normal(2_400) * np.exp(-np.linspace(0, 5, 2_400)) * 0.02
    response = np.concatenate((np.zeros(1_560), [0.8], tail))
    return np.convolve(far, response)[: len(far)].astype(np.float32)


def softer_db(loud: Pcm, soft: Pcm) -> float:
    """By how many dB the second has less power."""
    return float(10 * np.log10(np.sum(loud**2) / np.sum(soft**2)))
