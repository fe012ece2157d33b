"""Samples on the way: what a block of audio is, and a buffer that cuts blocks of any size into blocks of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import soxr

Pcm = npt.NDArray[np.float32]
"""Mono samples [N], full scale at ±1."""


class BlockBuffer:
    """A queue of samples: blocks of any size in, blocks of the wanted size out. For one thread.

    It grows with what is put in; whoever fills it takes out what there is before filling it again.
    """

    def __init__(self) -> None:
        self._samples: Pcm = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self._samples)

    def put(self, block: Pcm) -> None:
        """Appends `block` [N]."""
        self._samples = np.concatenate((self._samples, block))

    def take(self, samples: int) -> Pcm:
        """The oldest `samples` samples; there must be as many."""
        assert samples <= len(self._samples)
        block, self._samples = self._samples[:samples], self._samples[samples:]
        return block

    def frames(self, frame_samples: int) -> Iterator[Pcm]:
        """Takes out every whole frame [frame_samples]; the rest stays for the next."""
        while len(self._samples) >= frame_samples:
            yield self.take(frame_samples)


def mono(block: Pcm) -> Pcm:
    """Averages the channels of `block` [N, channels] to [N]."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


def resampler(from_hz: int, to_hz: int) -> Callable[[Pcm], Pcm]:
    """A stream of blocks [N] from one rate to another, for live audio; blocks out differ in size from blocks in.

    It runs `soxr` in its variable-rate mode, at a constant ratio. The usual mode holds back 20 ms on average and gives
    it out in bursts of 35 ms; this one is steady, 5 to 15 ms late, and clean to 115 dB up to 10 kHz.
    """
    if from_hz == to_hz:
        return lambda block: block
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", vr=True)

    def resample(block: Pcm) -> Pcm:
        out: Pcm = stream.resample_chunk(block)
        return out

    return resample
