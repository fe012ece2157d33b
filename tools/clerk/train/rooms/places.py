"""Where a person speaks: near a microphone, across a room, out of a small loudspeaker, or on the telephone."""

from __future__ import annotations

import numpy as np

from tools.clerk.train.data.clips import RATE, Samples
from tools.clerk.train.data.scenes import filtered, noise, recorded

PLACES = {"near": 0.55, "far": 0.2, "loudspeaker": 0.12, "telephone": 0.13}
"""The places, and their probabilities; `near` is what was trained before there were others."""
SPEECH = 0.08  # about the root mean square of speech with a peak of 0.5
MU = 255  # of µ-law (ITU-T G.711)


def placed(clean: Samples, rng: np.random.Generator) -> Samples:
    """A clean track as a microphone records it in a random place."""
    place = list(PLACES)[rng.choice(len(PLACES), p=list(PLACES.values()))]
    if place == "far":
        return far(clean, rng)
    if place == "loudspeaker":
        return recorded(loudspeaker(clean, rng), rng)
    if place == "telephone":
        return telephone(clean, rng)
    return recorded(clean, rng)


def far(clean: Samples, rng: np.random.Generator) -> Samples:
    """One to five metres away: the room is as loud as the voice or louder, highs are missing, noise is near."""
    samples = convolved(clean, room(rng.uniform(0.25, 0.9), rng.uniform(-6, 6), rng))
    samples = filtered(samples, rng.uniform(60, 150), rng.uniform(3500, 9000), rng.uniform(-6, 2))
    samples = samples + SPEECH * 10 ** (-rng.uniform(10, 35) / 20) * noise(len(samples), rng)
    return np.asarray(np.clip(samples * 10 ** (rng.uniform(-22, 0) / 20), -1, 1), dtype=np.float32)


def room(decay_s: float, direct_db: float, rng: np.random.Generator) -> Samples:
    """An impulse response: the direct sound, a few early reflections, and a tail that decays by 60 dB in `decay_s`.

    `direct_db` is the energy of the direct sound beside that of all others.
    """
    response = rng.standard_normal(int(decay_s * RATE)) * 10 ** (-3 * np.linspace(0, 1, int(decay_s * RATE)))
    response[: int(0.002 * RATE)] = 0
    for _ in range(int(rng.integers(2, 8))):
        response[int(rng.uniform(0.002, 0.04) * RATE)] += rng.choice((-1, 1)) * rng.uniform(2, 12)
    response *= 10 ** (-direct_db / 20) / np.sqrt((response**2).sum())
    response[0] = 1.0
    return np.asarray(response / np.sqrt((response**2).sum()), dtype=np.float32)


def convolved(samples: Samples, response: Samples) -> Samples:
    """Samples [n] in a room with this impulse response."""
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    out = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return np.asarray(out[: len(samples)], dtype=np.float32)


def loudspeaker(samples: Samples, rng: np.random.Generator) -> Samples:
    """Out of a small loudspeaker, as loud as before: without lows, with resonances, and clipping where it is loud."""
    out = filtered(samples, rng.uniform(200, 600), rng.uniform(4000, 9000), rng.uniform(-2, 5))
    for _ in range(int(rng.integers(1, 4))):
        centre, width = rng.uniform(500, 4000), rng.uniform(0.05, 0.3)
        frequency = np.fft.rfftfreq(len(out), 1 / RATE)
        boost = 1 + rng.uniform(0.5, 2) * np.exp(-((np.log(np.maximum(frequency, 1) / centre) / width) ** 2))
        out = np.asarray(np.fft.irfft(np.fft.rfft(out) * boost, len(out)), dtype=np.float32)
    if rng.random() < 0.5:
        drive = rng.uniform(1, 4)
        out = np.tanh(drive * out)
    return np.asarray(out * (samples.std() / max(float(out.std()), 1e-9)), dtype=np.float32)


def telephone(samples: Samples, rng: np.random.Generator) -> Samples:
    """On a telephone: 300 to 3,400 Hz, in the steps of µ-law, with the noise of where it was said."""
    gain = 10 ** (rng.uniform(-14, 2) / 20)
    said = samples + SPEECH * 10 ** (-rng.uniform(15, 50) / 20) * noise(len(samples), rng)
    band = filtered(said, rng.uniform(200, 350), rng.uniform(3200, 3600), rng.uniform(-4, 4))
    line = np.clip(band * gain, -1, 1)
    steps = np.round(np.sign(line) * np.log1p(MU * np.abs(line)) / np.log1p(MU) * 127) / 127
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU, dtype=np.float32)
