"""Files of sound: any rate and format in, 24 kHz out, and one sentence for what cannot be read."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from antiphon.errors import AntiphonError
from antiphon_edge.audio import pcm as pcm_module
from antiphon_edge.audio.pcm import Pcm, resampler
from antiphon_edge.audio.sound_source import BLOCK_SAMPLES
from antiphon_edge.audio.wav import WavReader, WavWriter
from antiphon_edge.errors import AudioFileError

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
def test_one_channel_is_heard_and_no_other(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "in.wav"
    pcm = speechlike(FRAME_SAMPLES, RATE_HZ)
    gains = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
    soundfile.write(path, pcm[:, None] * gains, RATE_HZ, subtype="FLOAT")
    assert np.allclose(read(path)[0], pcm * gains[0], atol=1e-6)
    with WavReader(path, RATE_HZ, FRAME_SAMPLES, channel=channels) as reader:
        assert np.allclose(next(iter(reader)), pcm * gains[-1], atol=1e-6)


def test_stereo_in_antiphase_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    pcm = speechlike(FRAME_SAMPLES, RATE_HZ)
    soundfile.write(path, np.stack((pcm, -pcm), 1), RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(read(path)[0], pcm)


@pytest.mark.parametrize(("channels", "channel", "count"), [(1, 2, "1 channel"), (2, 3, "2 channels"), (2, 0, "2")])
def test_a_channel_that_is_not_there_is_explained(tmp_path: Path, channels: int, channel: int, count: str) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros((100, channels)), RATE_HZ)
    with pytest.raises(AudioFileError, match=f"in.wav has {count}.*there is no channel {channel}"):
        WavReader(path, RATE_HZ, FRAME_SAMPLES, channel=channel)


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
        writer.write(np.array([-2e4, -1, 0, 1, 2], np.float32))  # whatever a model with random weights says
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    assert pcm.tolist() == [-32_768, -32_768, 0, 32_767, 32_767]
    assert soundfile.info(path).subtype == "PCM_16"


def test_a_gsm_file_is_read_as_any_other(tmp_path: Path) -> None:
    path, plain = tmp_path / "gsm.wav", tmp_path / "plain.wav"
    soundfile.write(path, speechlike(8_320, 8_000), 8_000, subtype="GSM610")
    decoded, _ = soundfile.read(path, frames=8_320, dtype="float32")
    soundfile.write(plain, decoded, 8_000, subtype="FLOAT")
    with WavReader(path, RATE_HZ, FRAME_SAMPLES) as reader:
        for _ in range(2):  # though libsndfile cannot go back to its beginning
            np.testing.assert_array_equal(list(reader), read(plain))


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])


@pytest.mark.parametrize(
    ("name", "subtype", "rate_hz", "missing_s"),
    [("in.wav", "PCM_16", 24_000, 1.0), ("in.wav", "GSM610", 8_000, 1.0), ("in.flac", "PCM_16", 24_000, None)],
)
def test_a_file_that_is_cut_in_half_is_read_and_told(
    tmp_path: Path, name: str, subtype: str, rate_hz: int, missing_s: float | None
) -> None:
    path = tmp_path / name
    said: list[str] = []
    soundfile.write(path, speechlike(2 * rate_hz, rate_hz), rate_hz, subtype=subtype)
    whole = read(path)
    cut(path, 0.5)
    with WavReader(path, RATE_HZ, FRAME_SAMPLES, warn=said.append) as reader:
        frames = list(reader)
    assert 0 < len(frames) < 0.7 * len(whole)
    np.testing.assert_array_equal(frames[: len(frames) - 2], whole[: len(frames) - 2])
    assert len(said) == 1
    told = re.search(rf"{name} is cut off: ([0-9.]+) s of 2.0\d s are missing", said[0])
    assert told is not None, said
    assert abs(float(told[1]) - (missing_s or 2 - len(frames) * 0.08)) < 0.1


def test_a_file_that_is_whole_is_not_called_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("in.wav", "in.flac", "in.aiff"):
        soundfile.write(tmp_path / name, speechlike(5_001, RATE_HZ), RATE_HZ, subtype="PCM_24")
        assert len(read(tmp_path / name)) == 3
    assert caplog.text == ""


def with_length(data: bytes, length: int) -> bytes:
    """A wav of soundfile's whose header claims so many bytes of samples."""
    assert data[36:40] == b"data"
    return data[:40] + length.to_bytes(4, "little") + data[44:]


@pytest.mark.parametrize("length", [0, 0xFFFF_FFFF, 0x7FFF_FFFF - 36, 0x8000_0000])
def test_a_recorder_that_was_stopped_before_it_knew_the_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speechlike(5_000, 16_000), 16_000, subtype="PCM_16")
    whole = read(path)
    path.write_bytes(with_length(path.read_bytes(), length))
    said: list[str] = []
    with WavReader(path, RATE_HZ, FRAME_SAMPLES, warn=said.append) as reader:
        for _ in range(2):
            np.testing.assert_array_equal(list(reader), whole)
    assert said == []


@contextmanager
def piped(data: bytes, folder: Path) -> Iterator[Path]:
    """A pipe that brings `data`."""
    path = folder / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    try:
        yield path
    finally:
        writer.join(10)


@pytest.mark.parametrize("length", [None, 0, 0xFFFF_FFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "ULAW"])
def test_a_pipe_brings_what_the_file_holds(tmp_path: Path, subtype: str, length: int | None) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.stack([speechlike(5_000, 16_000)] * 2, 1), 16_000, subtype=subtype)
    data = path.read_bytes()
    if length is not None:
        at = data.index(b"data") + 4
        data = data[:at] + length.to_bytes(4, "little") + data[at + 4 :]
    said: list[str] = []
    with piped(data, tmp_path) as pipe, WavReader(pipe, RATE_HZ, FRAME_SAMPLES, warn=said.append) as reader:
        assert reader.is_pipe
        np.testing.assert_array_equal(list(reader), read(path))
        assert reader.frames == (4 if length is None else None)
        with pytest.raises(AudioFileError, match="a pipe, which can be read once"):
            list(reader)
    assert said == []


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speechlike(4 * FRAME_SAMPLES, RATE_HZ), RATE_HZ, subtype="PCM_16")
    data, pipe = path.read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    half = len(data) // 2
    heard = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            file.write(data[:half])
            assert heard.wait(10), "nothing was heard before the pipe's end"
            file.write(data[half:-1000])

    said: list[str] = []
    writer = threading.Thread(target=write)
    writer.start()
    with WavReader(pipe, RATE_HZ, FRAME_SAMPLES, warn=said.append) as reader:
        frames = iter(reader)
        next(frames)
        heard.set()
        assert len(list(frames)) == 3
    writer.join(10)
    assert said == [f"{pipe} is cut off: 0.02 s of 0.32 s are missing; what is there is read"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "brings no wav"),
        (bytes(range(256)) * 20, "brings no wav"),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff" + bytes(100), "brings no wav"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0", "brings no wav"),
        (None, "a compressed wav, which cannot be read from a pipe: name the file instead"),
    ],
)
def test_a_pipe_that_brings_something_else_is_explained(tmp_path: Path, data: bytes | None, reason: str) -> None:
    if data is None:
        soundfile.write(tmp_path / "gsm.wav", np.zeros(800), 8_000, subtype="GSM610")
        data = (tmp_path / "gsm.wav").read_bytes()
    with piped(data, tmp_path) as pipe, pytest.raises(AudioFileError, match=reason):
        WavReader(pipe, RATE_HZ, FRAME_SAMPLES)


def unreadable_files(folder: Path) -> dict[str, Path]:
    cases = {name: folder / f"{name}.wav" for name in ("missing", "empty", "header", "text", "folder", "short")}
    cases["raw"] = folder / "noise.raw"
    cases["empty"].touch()
    soundfile.write(cases["header"], np.zeros(0, np.float32), RATE_HZ)
    cases["text"].write_text("this is no sound\n" * 100)
    cases["raw"].write_bytes(bytes(1000))
    cases["folder"].mkdir()
    cases["device"] = Path("/dev/null")
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
        ("device", "is a device"),
    ],
)
def test_unreadable_files_say_what_and_where(tmp_path: Path, case: str, reason: str) -> None:
    path = unreadable_files(tmp_path)[case]
    with pytest.raises(AudioFileError, match=reason) as caught:
        WavReader(path, RATE_HZ, FRAME_SAMPLES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros(100), RATE_HZ)
    data = path.read_bytes()
    path.write_bytes(data[:24] + rate_hz.to_bytes(4, "little") + data[28:])
    with pytest.raises(AudioFileError, match=f"in.wav is damaged: it claims {rate_hz} samples a second"):
        WavReader(path, RATE_HZ, FRAME_SAMPLES)


@pytest.mark.parametrize(("sample", "reason"), [(np.nan, "not numbers"), (-3e4, "a sample of 30000 where full scale")])
def test_samples_that_are_none(tmp_path: Path, sample: float, reason: str) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.array([0, sample], np.float32), RATE_HZ, subtype="FLOAT")
    with WavReader(path, RATE_HZ, FRAME_SAMPLES) as reader, pytest.raises(AudioFileError, match=reason):
        list(reader)


@pytest.mark.parametrize(
    ("pcm", "sentence"),
    [
        ([0.0, float("nan")], "holds samples that are not numbers"),
        (np.zeros((4, 2)), r"expected samples \[N\], got shape \[4, 2\]"),
        ([1, 2], "expected floats"),
    ],
)
def test_samples_that_cannot_be_written_are_refused(tmp_path: Path, pcm: Any, sentence: str) -> None:
    with WavWriter(tmp_path / "out.wav", RATE_HZ) as writer, pytest.raises(AntiphonError, match=f"^pcm: {sentence}"):
        writer.write(pcm)


def test_the_writer_takes_samples_as_a_caller_has_them(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with WavWriter(path, RATE_HZ, channels=2) as writer:
        writer.write(np.array([[1, -1], [32_767, -32_768]], np.int16))
        writer.write([[0.5, -0.5]])
    pcm, _ = soundfile.read(path, dtype="int16")
    assert pcm.tolist() == [[1, -1], [32_767, -32_768], [16_384, -16_384]]


@pytest.mark.parametrize("path", ["/dev/full", "{folder}", "{folder}/missing/out.wav"])
def test_unwritable_paths_say_so(tmp_path: Path, path: str) -> None:
    with pytest.raises(AudioFileError, match="cannot be written"):
        WavWriter(path.format(folder=tmp_path), RATE_HZ)


def test_a_name_that_is_none_of_the_locales_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.wav")
    with WavWriter(path, RATE_HZ) as writer:
        writer.write(np.zeros(FRAME_SAMPLES, np.float32))
    assert len(read(path)) == 1


def test_a_soxr_without_a_variable_rate_resamples_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcm_module, "STEADY", {})  # as with soxr 1.0
    resample, tone = resampler(48_000, RATE_HZ), np.sin(np.arange(48_000) * 2 * np.pi / 48).astype(np.float32)
    heard = np.concatenate([resample(block) for block in tone.reshape(100, 480)])
    assert 0.9 * RATE_HZ < len(heard) <= RATE_HZ
    assert np.abs(np.fft.rfft(heard[:20_000])).argmax() == round(1000 * 20_000 / RATE_HZ)
