"""What the room does to the speaker's sound, as a linear filter that is learnt while the two are heard.

A Kalman filter in the frequency domain, over partitions of a block each (Enzner and Vary 2006; Kuech and others 2014).
Its gain falls by itself while a person speaks, so that it needs no detector of double talk to stay as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

BLOCK_MS = 10  # with longer ones an echo that ends a block is learnt badly
SPAN_MS = 240  # devices, air and reverberation
FORGET = 0.99997  # a block: rooms change slowly, and the clocks' drift is taken out before
SMOOTH = 0.5  # of the near end's spectrum, a block
REACH_BLOCKS = 10.0  # a priori the response decays by e in so many
FLOOR = 1e-6  # of the near end's spectrum, for each sample of a block: below what a microphone hears

Spectra = npt.NDArray[np.complex64]


class LinearEchoFilter:
    """The echo of the speaker in the microphone, learnt as it goes.

    Args:
        sample_rate_hz: of both signals.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.block_samples = sample_rate_hz * BLOCK_MS // 1000
        partitions, bins = SPAN_MS // BLOCK_MS, self.block_samples + 1
        self._far = np.zeros((partitions, bins), np.complex64)  # spectra of the far end, the newest first
        self._weights = np.zeros((partitions, bins), np.complex64)
        prior = np.exp(-np.arange(partitions, dtype=np.float32) / REACH_BLOCKS)
        self._doubt = np.repeat(prior[:, None], bins, 1)  # variance of each weight
        self._near = np.full(bins, 1e-4, np.float32)  # power spectrum of what is not the echo
        self._last: Pcm = np.zeros(self.block_samples, np.float32)

    def echo(self, mic: Pcm, far: Pcm) -> Pcm:
        """The echo in one block of the microphone; `mic`, `far` and it [block_samples]."""
        self._far[1:] = self._far[:-1]
        self._far[0] = np.fft.rfft(np.concatenate((self._last, far)))
        self._last = far
        self._learn(mic - self._filter())
        return self._filter()  # with what this block has taught: 7 dB better

    def _filter(self) -> Pcm:
        size = self.block_samples
        return np.fft.irfft((self._far * self._weights).sum(0), 2 * size)[size:].astype(np.float32)

    def _learn(self, error: Pcm) -> None:
        size = self.block_samples
        spectrum = np.fft.rfft(np.concatenate((np.zeros(size, np.float32), error))).astype(np.complex64)  # [bins]
        self._near = SMOOTH * self._near + (1 - SMOOTH) * np.abs(spectrum) ** 2
        far_power = np.abs(self._far) ** 2  # [partitions, bins]
        seen = 0.5 * (far_power * self._doubt).sum(0) + self._near + FLOOR * size  # half: zeros stand before a block
        gain = self._doubt / seen
        step = np.fft.irfft(gain * self._far.conj() * spectrum, 2 * size, axis=1)
        step[:, size:] = 0  # a partition is no longer than a block
        self._weights = (FORGET * (self._weights + np.fft.rfft(step, axis=1))).astype(np.complex64)
        self._doubt *= FORGET**2 * (1 - 0.5 * gain * far_power)
        self._doubt += (1 - FORGET**2) * np.abs(self._weights) ** 2
