"""Samples on the way: what a block of audio is, and a buffer that cuts blocks of any size into blocks of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.errors import AntiphonError

Pcm = npt.NDArray[np.float32]
"""Mono samples [N], full scale at ±1."""
Samples = npt.ArrayLike
"""The same as a caller may have them: floats, or 16-bit integers (a numpy array of int16)."""

BEYOND = 10.0  # times full scale: loud sound stays below, the numbers of 16-bit samples do not
STEADY = {"vr": True} if "vr" in signature(soxr.ResampleStream).parameters else {}


class BlockBuffer:
    """A queue of samples: blocks of any size in, blocks of the wanted size out. For one thread.

    It grows with what is put in: its user takes out what there is before filling it again.
    """

    def __init__(self) -> None:
        self._samples: Pcm = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self._samples)

    def put(self, block: Pcm) -> None:
        """Appends `block` [N]."""
        self._samples = np.concatenate((self._samples, block)) if len(self._samples) else block.copy()

    def take(self, samples: int) -> Pcm:
        """The oldest `samples` samples; there must be as many."""
        assert samples <= len(self._samples)
        block, self._samples = self._samples[:samples], self._samples[samples:]
        return block

    def frames(self, frame_samples: int) -> Iterator[Pcm]:
        """Takes out every whole frame [frame_samples]; the rest stays for the next."""
        while len(self._samples) >= frame_samples:
            yield self.take(frame_samples)


def as_pcm(samples: Samples, most: float = BEYOND) -> Pcm:
    """Samples [N] as float32 with full scale at ±1.

    Args:
        samples: floats, which stay as they are, or int16, which are divided by 32,768.
        most: times full scale that a sample may reach.

    Raises:
        AntiphonError: more or fewer dimensions than one, another type, samples that are not numbers, or some far beyond
            full scale (16-bit samples that were turned into floats and not scaled).
    """
    array = as_array(samples, "pcm", AntiphonError)
    if array.dtype == np.float32 and array.ndim == 1 and float(np.dot(array, array)) <= most * most:
        return array  # their squares add up to less, so each is: one pass instead of four
    if array.ndim != 1:
        raise AntiphonError(f"pcm: expected mono samples [N], got shape {list(array.shape)}; choose one channel")
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32_768)
    if not np.issubdtype(array.dtype, np.floating):
        raise AntiphonError(f"pcm: expected floats in [-1, 1] or int16, got {array.dtype}")
    peak = np.abs(array).max(initial=0.0)
    if not np.isfinite(peak):
        raise AntiphonError("pcm: holds samples that are not numbers")
    if peak > most:
        raise AntiphonError(f"pcm: a sample of {peak:.0f} is far beyond full scale, which is 1: divide by 32768")
    return array.astype(np.float32, copy=False)


def as_array(values: npt.ArrayLike, name: str, error: type[AntiphonError]) -> npt.NDArray[Any]:
    """`values` as an array, where they are one.

    Raises:
        AntiphonError: as `error`, naming the argument: rows of different lengths, or things that are no numbers.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise error(f"{name}: expected an array of numbers, got {type(values).__name__}") from None


def one_channel(block: Pcm, channel: int) -> Pcm:
    """Channel `channel`, counted from 1, of `block` [N, channels], as [N].

    The others are left out: an average is silent where two channels are each other's inverse, and mixes what a
    microphone array has cleaned with what it has not.
    """
    return np.ascontiguousarray(block[:, channel - 1])


def resampler(from_hz: int, to_hz: int) -> Callable[[Pcm], Pcm]:
    """A stream of blocks [N] from one rate to another, for live audio; blocks out differ in size from blocks in.

    It runs `soxr` in its variable-rate mode, at a constant ratio. The usual mode holds back 20 ms on average and gives
    it out in bursts of 35 ms; this one is steady, 5 to 15 ms late, and clean to 115 dB up to 10 kHz. soxr
    before 1.1, which Pipecat holds on to, has the usual mode alone.
    """
    if from_hz == to_hz:
        return lambda block: block
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", **STEADY)

    def resample(block: Pcm) -> Pcm:
        out: Pcm = stream.resample_chunk(block)
        return out

    return resample
