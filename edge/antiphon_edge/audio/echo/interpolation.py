"""Samples between the samples: what a signal is at any moment, for clocks that drift apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

TAPS = 16  # clean to −60 dB up to 8 kHz of 12
PHASES = 1024  # of the way to the next sample
BEFORE = TAPS // 2 - 1  # samples that stand before a position's own


def _table() -> Pcm:
    distance = np.arange(TAPS)[None] - BEFORE - np.arange(PHASES + 1)[:, None] / PHASES  # [phases, taps]
    window = np.cos(np.pi * distance / (TAPS + 2)) ** 2
    table = np.sinc(distance) * window
    normal: Pcm = (table / table.sum(1, keepdims=True)).astype(np.float32)
    return normal


_TABLE = _table()


def interpolate(samples: Pcm, positions: npt.NDArray[np.float64]) -> Pcm:
    """The signal `samples` [S] at `positions` [N], in samples from the first; beyond its ends it is silent.

    A whole position gives that sample as it is.
    """
    whole = np.floor(positions).astype(np.int64)
    phase = np.rint((positions - whole) * PHASES).astype(np.int64)
    low = int(whole.min()) - BEFORE
    high = int(whole.max()) - BEFORE + TAPS
    part = np.pad(samples[max(0, low) : max(0, high)], (max(0, -low), max(0, high - max(len(samples), low))))
    windows = np.lib.stride_tricks.sliding_window_view(part, TAPS)  # [P, TAPS]
    values: Pcm = np.einsum("nt,nt->n", windows[whole - BEFORE - low], _TABLE[phase])
    return values
