"""Makes non-speech sounds, which the clerk should not answer: beeps, rings and rattles.

Every kind returns samples [n] at 24 kHz, not normalized.
"""

from __future__ import annotations

import numpy as np

from tools.clerk.train.data.clips import PEAK, RATE, Samples

LONGEST_S = 4.0


def sound(rng: np.random.Generator) -> Samples:
    """A sound, once or up to four times, [n], at most `LONGEST_S` long, at a clip's peak or up to 24 dB below."""
    kind = (beeps, struck, rattle)[int(rng.integers(3))]
    once, longest = kind(rng), int(LONGEST_S * RATE)
    gap = np.zeros(int(rng.uniform(0.0, 0.7) * RATE), dtype=np.float32)
    samples = once[:longest]
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.3 else 0):
        if len(samples) + len(gap) + len(once) <= longest:
            samples = np.concatenate([samples, gap, once])
    samples[-480:] *= np.linspace(1, 0, len(samples[-480:]), dtype=np.float32)
    peak = PEAK * 10 ** (-rng.uniform(0, 24) / 20)
    return np.asarray(samples * (peak / np.abs(samples).max()), dtype=np.float32)


def beeps(rng: np.random.Generator) -> Samples:
    """One to five notes as of a telephone, an alarm or a till, steady or decaying, of one or two pitches at once."""
    harmonics = rng.uniform(0, 1, int(rng.integers(1, 7))) ** 2
    length = int(rng.uniform(0.04, 0.5) * RATE)
    at = np.arange(length) / RATE
    edges = np.minimum(1, np.minimum(at, at[::-1]) / 0.004)
    fall = np.exp(-at * rng.choice([0.0, rng.uniform(1, 12)]))
    glide = rng.choice([0.0, rng.uniform(-1, 1)])  # octaves per note
    silence = np.zeros(int(rng.choice([0.0, rng.uniform(0.02, 0.3)]) * RATE))
    pitches = 200 * 2 ** rng.uniform(0, 4, (int(rng.integers(1, 4)), int(rng.integers(1, 3))))  # [pitches, at once]
    notes = []
    for _ in range(int(rng.integers(1, 6))):
        note = np.zeros(length)
        for pitch in pitches[int(rng.integers(len(pitches)))]:
            phase = 2 * np.pi * np.cumsum(pitch * 2 ** (glide * at / at[-1])) / RATE
            for k, strength in enumerate(harmonics, 1):
                if pitch * k * 2 ** max(0, glide) < RATE / 2:
                    note += (strength + 0.01) * np.sin(k * phase)
        notes += [note * edges * fall, silence]
    return np.concatenate(notes[:-1]).astype(np.float32)


def struck(rng: np.random.Generator) -> Samples:
    """A bell, a glass or a table: decaying inharmonic partials, of which the high ones decay faster."""
    length = int(rng.uniform(0.1, 1.6) * RATE)
    at = np.arange(length) / RATE
    fall = rng.uniform(2, 25)
    out = rng.standard_normal(length) * np.exp(-at * rng.uniform(200, 1000)) * rng.uniform(0, 1)  # the impact
    base = 150 * 2 ** rng.uniform(0, 4)
    for ratio in np.cumprod(rng.uniform(1.1, 2.0, int(rng.integers(2, 9)))):
        if base * ratio < RATE / 2:
            phase = 2 * np.pi * (base * ratio * at + rng.random())
            out += rng.uniform(0.1, 1) * np.exp(-at * fall * ratio**0.5) * np.sin(phase)
    return (out * np.minimum(1, at[::-1] / 0.02)).astype(np.float32)


def rattle(rng: np.random.Generator) -> Samples:
    """A shutter, paper or keys: one to seven bursts of band-limited noise, each with an attack and a decay."""
    parts = []
    low = 100 * 2 ** rng.uniform(0, 5.5)
    high = low * 2 ** rng.uniform(0.5, 3)
    for _ in range(int(rng.integers(1, 8))):
        length = int(rng.uniform(0.02, 0.3) * RATE)
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequency = np.fft.rfftfreq(length, 1 / RATE)
        spectrum *= 1 / (1 + (low / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / high) ** 4)
        at = np.linspace(0, 1, length)
        attack, release = np.minimum(1, at / rng.uniform(0.01, 0.5)), np.minimum(1, at[::-1] / 0.05)
        burst = np.fft.irfft(spectrum, length) * attack * np.exp(-at * rng.uniform(1, 6)) * release
        parts += [burst * rng.uniform(0.3, 1), np.zeros(int(rng.uniform(0, 0.2) * RATE))]
    return np.concatenate(parts[:-1]).astype(np.float32)
