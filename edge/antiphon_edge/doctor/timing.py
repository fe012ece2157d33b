"""The codec timed on this device, frame after frame."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.codec.codec import Decoder, Encoder
from antiphon_edge.doctor.device import peak_memory_bytes

LOUDNESS = 0.1  # of the noise to encode: silence would time the processor's zeros
MINIMUM_FRAMES = 3  # on however slow a device


@dataclass(frozen=True, slots=True)
class Timing:
    """One stream of frames, encoded and decoded one after the other."""

    start_ms: float
    """From opening the codec's files to the first frame heard and spoken."""
    encode_ms: tuple[float, ...]
    decode_ms: tuple[float, ...]
    peak_memory_bytes: int | None
    """Of the whole process; None where the system does not tell it."""


def time_frames(encoder: Encoder, decoder: Decoder, frame_samples: int, start: float, seconds: float) -> Timing:
    """Encodes and decodes frame after frame, as fast as the device goes, until `seconds` have passed.

    Args:
        encoder: at the start of its stream.
        decoder: at the start of its stream.
        frame_samples: samples in a frame.
        start: `perf_counter()` when the codec began to load.
        seconds: how long to measure, from the second frame on.
    """
    random = np.random.default_rng(0)

    def noise() -> Pcm:
        return random.uniform(-LOUDNESS, LOUDNESS, frame_samples).astype(np.float32)

    decoder.step(encoder.step(noise()))
    first = perf_counter()
    encode_ms: list[float] = []
    decode_ms: list[float] = []
    while len(encode_ms) < MINIMUM_FRAMES or perf_counter() - first < seconds:
        pcm = noise()
        begun = perf_counter()
        codes = encoder.step(pcm)
        encoded = perf_counter()
        decoder.step(codes)
        decoded = perf_counter()
        encode_ms.append(1e3 * (encoded - begun))
        decode_ms.append(1e3 * (decoded - encoded))
    return Timing(1e3 * (first - start), tuple(encode_ms), tuple(decode_ms), peak_memory_bytes())
