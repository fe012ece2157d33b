"""What a microphone hears beside people: things that beep, ring, rattle. Nobody answers them."""

from __future__ import annotations

import numpy as np

from train.clips import RATE, Samples

LONGEST_S = 4.0


def sound(rng: np.random.Generator) -> Samples:
    """One sound, often one that repeats, up to `LONGEST_S` long; its peak is that of a clip or up to 24 dB less."""
    kind = (beeps, struck, rattle)[int(rng.integers(3))]
    once, parts = kind(rng), list[Samples]()
    gap = np.zeros(int(rng.uniform(0.0, 0.7) * RATE), dtype=np.float32)
    for _ in range(int(rng.integers(2, 5)) if rng.random() < 0.3 else 1):
        parts += [once, gap]
    samples = np.concatenate(parts)[: int(LONGEST_S * RATE)]
    peak = 0.5 * 10 ** (-rng.uniform(0, 24) / 20)
    return np.asarray(samples * (peak / np.abs(samples).max()), dtype=np.float32)


def beeps(rng: np.random.Generator) -> Samples:
    """One to five notes of a telephone, an alarm or a till: steady or dying away, of one pitch or two at once."""
    harmonics = rng.uniform(0, 1, int(rng.integers(1, 7))) ** 2
    length = int(rng.uniform(0.04, 0.5) * RATE)
    at = np.arange(length) / RATE
    edges = np.minimum(1, np.minimum(at, at[::-1]) / 0.004)
    fall = np.exp(-at * rng.choice([0.0, rng.uniform(1, 12)]))
    glide = rng.choice([0.0, rng.uniform(-1, 1)])  # octaves a note
    silence = np.zeros(int(rng.choice([0.0, rng.uniform(0.02, 0.3)]) * RATE))
    pitches = 200 * 2 ** rng.uniform(0, 4, (int(rng.integers(1, 4)), int(rng.integers(1, 3))))  # [pitches, at once]
    notes = []
    for _ in range(int(rng.integers(1, 6))):
        note = np.zeros(length)
        for pitch in pitches[int(rng.integers(len(pitches)))]:
            phase = 2 * np.pi * np.cumsum(pitch * 2 ** (glide * at / at[-1])) / RATE
            for k, strength in enumerate(harmonics, 1):
                if pitch * k < 0.45 * RATE:
                    note += (strength + 0.01) * np.sin(k * phase)
        notes += [note * edges * fall, silence]
    return np.concatenate(notes).astype(np.float32)


def struck(rng: np.random.Generator) -> Samples:
    """A bell, a glass, a table: partials that are no harmonics and die away, the high ones sooner."""
    length = int(rng.uniform(0.1, 1.6) * RATE)
    at = np.arange(length) / RATE
    fall = rng.uniform(2, 25)
    out = np.zeros(length)
    lowest = 150 * 2 ** rng.uniform(0, 4)
    for ratio in np.cumprod(rng.uniform(1.1, 2.0, int(rng.integers(2, 9)))):
        if lowest * ratio < 0.45 * RATE:
            phase = rng.uniform(0, 2 * np.pi)
            out += (
                rng.uniform(0.1, 1) * np.exp(-at * fall * ratio**0.5) * np.sin(2 * np.pi * lowest * ratio * at + phase)
            )
    tick = rng.standard_normal(length) * np.exp(-at * rng.uniform(200, 1000)) * rng.uniform(0, 1)
    return (out + tick + 1e-4).astype(np.float32) * np.minimum(1, at[::-1] / 0.02).astype(np.float32)


def rattle(rng: np.random.Generator) -> Samples:
    """A shutter, paper, keys: one to seven bursts of noise in a band, each with an attack and a decay."""
    parts = []
    low = 100 * 2 ** rng.uniform(0, 5.5)
    high = low * 2 ** rng.uniform(0.5, 3)
    for _ in range(int(rng.integers(1, 8))):
        length = int(rng.uniform(0.02, 0.3) * RATE)
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequency = np.fft.rfftfreq(length, 1 / RATE)
        spectrum *= 1 / (1 + (low / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / high) ** 4)
        at = np.linspace(0, 1, length)
        shape = (
            np.minimum(1, at / rng.uniform(0.01, 0.5))
            * np.exp(-at * rng.uniform(1, 6))
            * np.minimum(1, at[::-1] / 0.05)
        )
        parts += [
            np.fft.irfft(spectrum, length) * shape * rng.uniform(0.3, 1),
            np.zeros(int(rng.uniform(0, 0.2) * RATE)),
        ]
    return np.concatenate(parts).astype(np.float32)
