"""A recording becomes a voice: at one loudness, whatever its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
import soundfile

from antiphon.errors import AntiphonError
from antiphon_edge.codec.codec import Codec
from antiphon_edge.codec.voice import encode_voice
from antiphon_edge.errors import AudioFileError

RATE = 24_000
Sound = npt.NDArray[Any]


@pytest.fixture(scope="module")
def codec(tiny_codec: Path) -> Codec:
    return Codec.load(tiny_codec, only="encoder")


@pytest.fixture(scope="module")
def speech() -> Sound:
    """Two seconds of something loud and quiet by turns."""
    t = np.arange(2 * RATE) / RATE
    loud: Sound = 0.2 * np.sin(2 * np.pi * 200 * t) * (1 + np.sin(2 * np.pi * 3 * t))
    return loud.astype(np.float32)


def wav(path: Path, pcm: Sound) -> Path:
    soundfile.write(path, pcm, RATE, subtype="FLOAT")
    return path


def test_a_voice_is_what_the_codec_makes_of_it_at_24_lufs_below_full_scale(
    codec: Codec, speech: Sound, tmp_path: Path
) -> None:
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(speech.astype(np.float64))
    wanted = speech * np.float32(10 ** ((-24.0 - loudness) / 20))
    encoder = codec.encoder()
    codes = [encoder.step(frame) for frame in wanted.reshape(-1, 1920)]
    np.testing.assert_array_equal(encode_voice(codec, wav(tmp_path / "v.wav", speech)), codes)


def test_how_loud_the_recording_is_changes_nothing(codec: Codec, speech: Sound, tmp_path: Path) -> None:
    loud = encode_voice(codec, wav(tmp_path / "loud.wav", speech))
    quiet = encode_voice(codec, wav(tmp_path / "quiet.wav", speech / 16))
    np.testing.assert_array_equal(loud, quiet)


@pytest.mark.parametrize(
    ("seconds", "gain", "words"),
    [
        (0.5, 1.0, r"v\.wav is shorter than 1 s: record 10 to 20 s of clear speech"),
        (61.0, 1.0, r"v\.wav is longer than 60 s: cut 10 to 20 s of clear speech out of it"),
        (2.0, 0.0, r"v\.wav is silent: record 10 to 20 s of clear speech"),
    ],
    ids=["short", "long", "silent"],
)
def test_what_is_no_voice_is_one_sentence(
    seconds: float, gain: float, words: str, codec: Codec, speech: Sound, tmp_path: Path
) -> None:
    pcm = np.resize(speech * np.float32(gain), round(seconds * RATE))
    with pytest.raises(AudioFileError, match=words):
        encode_voice(codec, wav(tmp_path / "v.wav", pcm))


def test_without_pyloudnorm_the_extra_is_named(
    codec: Codec, speech: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(AntiphonError, match=r"pip install 'antiphon\[voice\]', or take one of the worker's voices"):
        encode_voice(codec, wav(tmp_path / "v.wav", speech))
