"""How int8 is compared with float32."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.report import CodecReport, load_wav, log_mel_distance_db, snr_db


def write_wav(path: Path, rate_hz: int, pcm: np.ndarray, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat((pcm * 32767).astype("<i2"), channels).tobytes())
    return path


def sine(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * seconds)) / rate_hz)


@pytest.mark.parametrize(("rate_hz", "channels"), [(24_000, 1), (16_000, 2), (44_100, 1)])
def test_speech_of_any_rate_arrives_as_frames(tmp_path: Path, rate_hz: int, channels: int) -> None:
    frames = load_wav(write_wav(tmp_path / "in.wav", rate_hz, sine(rate_hz), channels), 24_000, 1920)
    assert (str(frames.dtype), frames.shape) == ("float32", (12, 1920))
    np.testing.assert_allclose(frames.ravel()[1000:-1000], sine(24_000)[1000 : 12 * 1920 - 1000], atol=2e-3)


def test_a_wav_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match=r"none\.wav: cannot be read"):
        load_wav(tmp_path / "none.wav", 24_000, 1920)
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(AntiphonError, match=r"text\.wav: no 16-bit wav file"):
        load_wav(tmp_path / "text.wav", 24_000, 1920)
    with pytest.raises(AntiphonError, match=r"bytes\.wav: 8-bit samples"):
        load_wav(write_wav(tmp_path / "bytes.wav", 24_000, sine(24_000), width=1), 24_000, 1920)
    with pytest.raises(AntiphonError, match=r"short\.wav: shorter than a frame of 80 ms"):
        load_wav(write_wav(tmp_path / "short.wav", 24_000, sine(24_000, 0.07)), 24_000, 1920)


def test_signal_to_noise_ratio() -> None:
    signal = sine(24_000).astype(np.float32)
    assert snr_db(signal, signal) == 200
    assert snr_db(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=0.01)


def test_log_mel_distance() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    assert log_mel_distance_db(noise, noise, 24_000) == 0
    assert log_mel_distance_db(noise, 2 * noise, 24_000) == pytest.approx(6.02, abs=0.01)
    assert log_mel_distance_db(noise, -noise, 24_000) == pytest.approx(0, abs=1e-3)  # it hears no phase
    silence = np.zeros_like(noise)
    assert np.isfinite(log_mel_distance_db(noise, silence, 24_000))


def test_a_report_is_a_table_and_a_file() -> None:
    report = CodecReport("a.wav", 25, (1.0, 0.92), 33.25, 0.1, 0.5)
    assert "equal codes, by codebook: 100.0% 92.0%" in str(report)
    assert "33.2 dB" in str(report)
    assert json.loads(report.to_json())["equal_codes"] == [1.0, 0.92]
