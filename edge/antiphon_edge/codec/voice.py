"""A voice for a session to begin with, from a recording of it.

voice = encode_voice(codec, "me.wav")
async with connect("localhost:50051", codec.spec, voice=voice) as session: ...

Needs pyloudnorm, which the `voice` extra brings.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon_edge.audio.wav import WavReader
from antiphon_edge.codec.codec import Codec
from antiphon_edge.errors import AudioFileError

LOUDNESS_LUFS = -24.0  # of the voices that PersonaPlex was trained with
SHORTEST_S, LONGEST_S = 1.0, 60.0


def encode_voice(codec: Codec, path: str | Path, *, channel: int = 1) -> Codes:
    """The codes [T, codebooks] of a voice, at the loudness that models expect of one.

    Args:
        codec: the codec of the session.
        path: a sound file of 1 to 60 s, of any rate; "-" for standard input.
        channel: of the file, from 1.

    Raises:
        AudioFileError: the file cannot be read, or is too short, too long or silent.
        AntiphonError: pyloudnorm is missing.
    """
    spec = codec.spec
    with WavReader(path, spec.sample_rate_hz, spec.frame_samples, channel=channel) as reader:
        longest = math.ceil(LONGEST_S / spec.frame_s)
        frames = []
        for frame in reader:
            frames.append(frame)
            if len(frames) > longest:
                raise AudioFileError(f"{path} is longer than {LONGEST_S:g} s: cut 10 to 20 s of clear speech out of it")
    if len(frames) * spec.frame_s < SHORTEST_S:
        raise AudioFileError(f"{path} is shorter than {SHORTEST_S:g} s: record 10 to 20 s of clear speech")
    pcm = np.concatenate(frames) * _gain(np.concatenate(frames), spec.sample_rate_hz, path)
    encoder = codec.encoder()
    return np.stack([encoder.step(frame) for frame in pcm.clip(-1, 1).reshape(len(frames), -1)])


def _gain(pcm: np.ndarray[tuple[int], np.dtype[np.float32]], rate_hz: int, path: str | Path) -> np.float32:
    """What brings the samples to `LOUDNESS_LUFS`."""
    try:
        import pyloudnorm
    except ImportError:
        raise AntiphonError(
            "a voice of your own needs pyloudnorm: pip install 'antiphon[voice]', or take one of the worker's voices"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of silence, whose loudness is minus infinity
        loudness = float(pyloudnorm.Meter(rate_hz).integrated_loudness(pcm.astype(np.float64)))
    if not math.isfinite(loudness):
        raise AudioFileError(f"{path} is silent: record 10 to 20 s of clear speech")
    return np.float32(10 ** ((LOUDNESS_LUFS - loudness) / 20))
