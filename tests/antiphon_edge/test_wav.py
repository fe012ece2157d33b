"""Files of sound: any rate and format in, 24 kHz out, and one sentence for what cannot be read."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon_edge.errors import AudioFileError
from antiphon_edge.pcm import Pcm
from antiphon_edge.wav import BLOCK_SAMPLES, WavReader, WavWriter

RATE_HZ = 24_000
FRAME_SAMPLES = 1920


def speechlike(samples: int, rate_hz: int) -> Pcm:
    """Three tones below 3 kHz under a slow envelope, so that every rate can hold them."""
    t = np.arange(samples) / rate_hz
    tones = sum(np.sin(2 * np.pi * hz * t + hz) for hz in (220.0, 1234.0, 2900.0))
    return (0.2 * tones * np.sin(2 * np.pi * 0.7 * t)).astype(np.float32)


def read(path: Path) -> list[Pcm]:
    with WavReader(path, RATE_HZ, FRAME_SAMPLES) as reader:
        frames = list(reader)
        assert reader.frames == len(frames)
        assert all(frame.shape == (FRAME_SAMPLES,) and frame.dtype == np.float32 for frame in frames)
    return frames


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("samples", [7, 1_001, 3 * BLOCK_SAMPLES + 1])
def test_any_rate_keeps_length_and_time(tmp_path: Path, rate_hz: int, samples: int) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speechlike(samples, rate_hz), rate_hz, subtype="FLOAT")
    frames = read(path)
    length = round(samples * RATE_HZ / rate_hz)
    assert len(frames) == -(-length // FRAME_SAMPLES)
    pcm = np.concatenate(frames)
    assert not pcm[length:].any()
    expected = speechlike(length, RATE_HZ)
    inner = slice(200, length - 200)  # a filter rings at the ends
    if length > 1000:
        assert np.abs(pcm[:length][inner] - expected[inner]).max() < 2e-3


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("PCM_U8", 1 / 64), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("DOUBLE", 1e-6), ("ULAW", 0.03)],
)
def test_any_sample_format(tmp_path: Path, subtype: str, error: float) -> None:
    path = tmp_path / "in.wav"
    pcm = speechlike(2 * FRAME_SAMPLES, RATE_HZ)
    soundfile.write(path, pcm, RATE_HZ, subtype=subtype)
    assert np.abs(np.concatenate(read(path)) - pcm).max() < error


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "in.wav"
    pcm = speechlike(FRAME_SAMPLES, RATE_HZ)
    gains = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
    soundfile.write(path, pcm[:, None] * gains, RATE_HZ, subtype="FLOAT")
    assert np.allclose(read(path)[0], pcm, atol=1e-6)


def test_same_rate_is_bit_exact_through_reader_and_writer(tmp_path: Path) -> None:
    source, copy = tmp_path / "in.wav", tmp_path / "out.wav"
    integers = np.random.default_rng(0).integers(-32_768, 32_768, 2 * FRAME_SAMPLES, dtype=np.int16)
    soundfile.write(source, integers, RATE_HZ, subtype="PCM_16")
    with WavWriter(copy, RATE_HZ) as writer:
        for frame in read(source):
            writer.write(frame)
    assert source.read_bytes() == copy.read_bytes()


def test_iterating_again_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speechlike(5_000, 16_000), 16_000)
    with WavReader(path, RATE_HZ, FRAME_SAMPLES) as reader:
        assert all(np.array_equal(first, second) for first, second in zip(reader, list(reader), strict=True))


def test_writer_clips(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with WavWriter(path, RATE_HZ) as writer:
        writer.write(np.array([-2, -1, 0, 1, 2], np.float32))
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    assert pcm.tolist() == [-32_768, -32_768, 0, 32_767, 32_767]
    assert soundfile.info(path).subtype == "PCM_16"


def test_a_wav_whose_header_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, speechlike(4 * FRAME_SAMPLES, RATE_HZ), RATE_HZ, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: -2 * FRAME_SAMPLES])
    assert len(read(path)) == 3


def unreadable_files(folder: Path) -> dict[str, Path]:
    cases = {name: folder / f"{name}.wav" for name in ("missing", "empty", "header", "text", "folder", "short")}
    cases["raw"] = folder / "noise.raw"
    cases["empty"].touch()
    soundfile.write(cases["header"], np.zeros(0, np.float32), RATE_HZ)
    cases["text"].write_text("this is no sound\n" * 100)
    cases["raw"].write_bytes(bytes(1000))
    cases["folder"].mkdir()
    cases["pipe"] = folder / "pipe.wav"
    os.mkfifo(cases["pipe"])
    soundfile.write(cases["short"], np.zeros(1, np.float32), 192_000)
    return cases


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("header", "holds no audio"),
        ("short", "holds no audio"),
        ("text", "not a wav file"),
        ("raw", "not a wav file"),
        ("folder", "is a directory"),
        ("pipe", "a pipe or a device"),
    ],
)
def test_unreadable_files_say_what_and_where(tmp_path: Path, case: str, reason: str) -> None:
    path = unreadable_files(tmp_path)[case]
    with pytest.raises(AudioFileError, match=reason) as caught:
        WavReader(path, RATE_HZ, FRAME_SAMPLES)
    assert str(path) in str(caught.value)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0, np.nan], np.float32), RATE_HZ, subtype="FLOAT")
    with WavReader(path, RATE_HZ, FRAME_SAMPLES) as reader, pytest.raises(AudioFileError, match="not numbers"):
        list(reader)


@pytest.mark.parametrize("path", ["/dev/full", "{folder}", "{folder}/missing/out.wav"])
def test_unwritable_paths_say_so(tmp_path: Path, path: str) -> None:
    with pytest.raises(AudioFileError, match="cannot be written"):
        WavWriter(path.format(folder=tmp_path), RATE_HZ)


def test_a_name_that_is_none_of_the_locales_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.wav")
    with WavWriter(path, RATE_HZ) as writer:
        writer.write(np.zeros(FRAME_SAMPLES, np.float32))
    assert len(read(path)) == 1
