"""The clerk's own voice in the person's stream: a loudspeaker beside the microphone, or what a canceller left of it."""

from __future__ import annotations

import numpy as np

from tools.clerk.train.data.clips import RATE, Samples
from tools.clerk.train.data.scenes import noise
from tools.clerk.train.rooms.places import convolved, loudspeaker, room

LOUDEST = 0.2  # −14 dB
FAINTEST = 0.005  # −46 dB
DELAYS_S = (0.1, 0.5)  # playout, devices and air
RESIDUE = 0.35  # share of echoes that went through a canceller


def echo_of(own: Samples, rng: np.random.Generator) -> Samples:
    """What the microphone hears of the clerk's own track [n]: later, softer, coloured; gains are even in dB."""
    gain = float(np.exp(rng.uniform(np.log(FAINTEST), np.log(LOUDEST))))
    out = loudspeaker(own, rng) if rng.random() < 0.5 else own
    if rng.random() < 0.6:
        out = convolved(out, room(rng.uniform(0.08, 0.4), rng.uniform(0, 12), rng))
    if rng.random() < RESIDUE:
        out = residue(out, rng)
    late = int(rng.uniform(*DELAYS_S) * RATE)
    return np.concatenate([np.zeros(late, np.float32), gain * out])[: len(own)].astype(np.float32)


def residue(samples: Samples, rng: np.random.Generator) -> Samples:
    """What a canceller leaves: bands come and go, as it explains one and not another."""
    size, hop = 512, 256
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, (size, size + -len(samples) % hop))
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window)
    bands, times = 24, len(spectra) // 10 + 2
    kept = np.clip(rng.uniform(-1, 1.2, (times, bands)), 0, 1)  # about half of it is gone
    rows = np.linspace(0, times - 1, len(spectra)).astype(int)
    columns = np.linspace(0, bands - 1, size // 2 + 1).astype(int)
    parts = np.fft.irfft(spectra * kept[rows][:, columns])
    out = np.zeros_like(padded)
    for i, part in enumerate(parts):
        out[i * hop : i * hop + size] += part
    hiss = rng.uniform(0, 0.003) * noise(len(samples), rng)
    return np.asarray(out[size : size + len(samples)] + hiss, dtype=np.float32)
