"""Compares an int8 codec with its float32 one: codes and audio, on the user's own speech."""

from __future__ import annotations

import json
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from antiphon.codec_manifest import CodecManifest
from antiphon.errors import AntiphonError
from antiphon_cloud.codec.run_graph import run_graph

Floats = npt.NDArray[np.float32]

REPORT_FILE = "codec-report.json"

_WINDOW, _HOP, _MELS = 1024, 256, 80  # samples, samples, bands
_FLOOR = 1e-5  # mel magnitudes below this count as silence


@dataclass(frozen=True, slots=True)
class CodecReport:
    """The content of `codec-report.json`."""

    wav: str
    frames: int
    equal_codes: tuple[float, ...]
    """For each codebook, the share of frames where both encoders give the same code."""
    decoder_snr_db: float
    """Signal-to-noise ratio of int8 audio against float32 audio, both decoded from the float32 codes."""
    decoder_log_mel_db: float
    """Root mean square difference of the log-mel spectrograms of the same audio."""
    codec_log_mel_db: float
    """The same, with int8 for both encoder and decoder against float32 for both."""

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def __str__(self) -> str:
        equal = " ".join(f"{share:.1%}" for share in self.equal_codes)
        return (
            f"int8 beside float32 on {self.frames} frames of {self.wav}:\n"
            f"  equal codes, by codebook: {equal}\n"
            f"  audio decoded from the same codes: signal-to-noise ratio {self.decoder_snr_db:.1f} dB, "
            f"log-mel distance {self.decoder_log_mel_db:.2f} dB\n"
            f"  audio encoded and decoded: log-mel distance {self.codec_log_mel_db:.2f} dB"
        )


def compare(manifest: CodecManifest, reference: Path, folder: Path, pcm: Floats, wav: str) -> CodecReport:
    """Runs both codecs over `pcm` [frames, frame_samples].

    Args:
        manifest: describes the graphs of both folders, except for their sizes and hashes.
        reference: folder of the float32 graphs.
        folder: folder of the graphs to compare.
        pcm: the speech.
        wav: the speech file's name.
    """
    codes = run_graph(reference, manifest.encoder, pcm)
    audio = run_graph(reference, manifest.decoder, codes).ravel()
    found_codes = run_graph(folder, manifest.encoder, pcm)
    found_audio = run_graph(folder, manifest.decoder, codes).ravel()
    whole = run_graph(folder, manifest.decoder, found_codes).ravel()
    rate = manifest.sample_rate_hz
    return CodecReport(
        wav=wav,
        frames=len(pcm),
        equal_codes=tuple((codes == found_codes).mean(0).tolist()),
        decoder_snr_db=snr_db(audio, found_audio),
        decoder_log_mel_db=log_mel_distance_db(audio, found_audio, rate),
        codec_log_mel_db=log_mel_distance_db(audio, whole, rate),
    )


def snr_db(signal: Floats, found: Floats) -> float:
    """Power of `signal` over that of its difference from `found`, in dB; 200 if they are equal."""
    noise = float(np.square(signal - found, dtype=np.float64).sum())
    power = float(np.square(signal, dtype=np.float64).sum())
    return 200.0 if noise == 0 else float(10 * np.log10(max(power, 1e-20) / noise))


def log_mel_distance_db(signal: Floats, found: Floats, rate_hz: int) -> float:
    """Root mean square difference of two log-mel spectrograms, in dB."""
    difference = _log_mel_db(signal, rate_hz) - _log_mel_db(found, rate_hz)
    return float(difference.square().mean().sqrt())


def _log_mel_db(pcm: Floats, rate_hz: int) -> torch.Tensor:
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(torch.from_numpy(pcm), _WINDOW, _HOP, window=window, return_complex=True).abs()  # [F, T]
    mel = _mel_bands(rate_hz) @ (spectrum / window.sum())  # [_MELS, T]
    return 20 * torch.log10(mel.clamp(min=_FLOOR))


def _mel_bands(rate_hz: int) -> torch.Tensor:
    """Triangular bands, equally spaced on the mel scale, [_MELS, F]."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = torch.from_numpy(700 * (10 ** (np.linspace(0, top, _MELS + 2) / 2595) - 1)).float()  # Hz
    hz = torch.linspace(0, rate_hz / 2, _WINDOW // 2 + 1)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def load_wav(path: Path, rate_hz: int, frame_samples: int) -> Floats:
    """The file's whole frames, mixed to mono and resampled, [frames, frame_samples].

    Raises:
        AntiphonError: it cannot be read, is not a 16-bit wav file, or is shorter than a frame.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise AntiphonError(f"{path}: {8 * file.getsampwidth()}-bit samples; convert it to a 16-bit wav file")
            channels, spoken_hz = file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise AntiphonError(f"{path}: cannot be read ({error.strerror})") from error
    except (EOFError, wave.Error) as error:
        raise AntiphonError(f"{path}: no 16-bit wav file ({error})") from error
    pcm = np.frombuffer(data, "<i2").reshape(-1, channels).mean(1) / 32768
    pcm = _resample(pcm, spoken_hz, rate_hz)
    frames = len(pcm) // frame_samples
    if not frames:
        raise AntiphonError(f"{path}: shorter than a frame of {frame_samples / rate_hz * 1000:.0f} ms")
    return pcm[: frames * frame_samples].astype(np.float32).reshape(frames, frame_samples)


def _resample(pcm: npt.NDArray[np.float64], from_hz: int, to_hz: int) -> npt.NDArray[np.float64]:
    """Band-limited resampling by the FFT of the whole file."""
    if from_hz == to_hz or not len(pcm):
        return pcm
    samples = len(pcm) * to_hz // from_hz
    return np.fft.irfft(np.fft.rfft(pcm), samples) * (samples / len(pcm))
