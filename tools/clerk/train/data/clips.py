"""Clips of speech with their words, and their file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.errors import AntiphonError

Samples = NDArray[np.float32]

RATE = 24_000
FRAME = 1920
PEAK = 0.5  # peak amplitude of every clip
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
THROAT_HZ = (500.0, 1500.0, 2500.0, 4000.0)  # about the first four formants


@dataclass(frozen=True)
class Word:
    """A word and its start and end."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Clip:
    """Samples [n] at 24 kHz in [−1, 1] without silence at the ends, and their words."""

    voice: str
    samples: Samples
    words: tuple[Word, ...]


def trimmed(voice: str, samples: Samples, words: Sequence[Word]) -> Clip:
    """A clip without the silence at both ends, scaled to `PEAK`.

    Raises:
        AntiphonError: the samples are silent.
    """
    peak = float(np.abs(samples).max(initial=0))
    loud = np.flatnonzero(np.abs(samples) > 0.02 * peak)
    if not len(loud):
        said = " ".join(word.text for word in words)
        raise AntiphonError(f"{voice} makes no sound of “{said}”; install it again")
    start, end = max(0, loud[0] - 120), min(len(samples), loud[-1] + 240)
    offset_s, length_s = start / RATE, (end - start) / RATE
    moved = tuple(
        Word(word.text, max(0.0, float(word.start_s - offset_s)), float(min(length_s, word.end_s - offset_s)))
        for word in words
    )
    return Clip(voice, (samples[start:end] * (PEAK / peak)).astype(np.float32), moved)


@dataclass(frozen=True)
class Throat:
    """A vocal tract: the factor by which it shifts formants at each of `THROAT_HZ`."""

    name: str
    factors: tuple[float, ...]

    @classmethod
    def draw(cls, name: str, rng: np.random.Generator) -> Throat:
        """Draws a random length, and a small random change of each factor."""
        length = rng.uniform(0.82, 1.22)
        return cls(name, tuple(float(length * rng.uniform(0.92, 1.08)) for _ in THROAT_HZ))


def revoiced(clip: Clip, throat: Throat) -> Clip:
    """The clip with another vocal tract: formants move; pitch and timing stay.

    Warps the spectral envelope, which comes from the smoothed cepstrum, to get speakers that no synthesizer has
    (Jaitly, Hinton, "Vocal tract length perturbation", 2013; here each formant has its own factor).
    """
    size, hop, smooth = 1024, 256, 48
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(clip.samples, (size, size + -len(clip.samples) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(frames)  # [frames, bins]
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5))
    cepstra[:, smooth : 1 - smooth] = 0
    envelopes = np.fft.rfft(cepstra).real
    bins = np.arange(size // 2 + 1)
    at = bins / np.interp(bins * RATE / size, np.array(THROAT_HZ) * throat.factors, throat.factors)
    at = np.minimum(at, size // 2)
    below = np.minimum(at.astype(int), size // 2 - 1)
    moved = envelopes[:, below] + (at - below) * (envelopes[:, below + 1] - envelopes[:, below])
    made = np.fft.irfft(spectra * np.exp(np.clip(moved - envelopes, -4, 4))) * window
    samples, weight = np.zeros_like(padded), np.zeros_like(padded)
    for i, frame in enumerate(made):
        samples[i * hop : i * hop + size] += frame
        weight[i * hop : i * hop + size] += window**2
    voiced = (samples / np.maximum(weight, 1e-3))[size : size + len(clip.samples)]
    return Clip(f"{clip.voice} {throat.name}", (voiced * (PEAK / np.abs(voiced).max())).astype(np.float32), clip.words)


def save_clips(path: Path, clips: Sequence[Clip]) -> None:
    """Writes clips to an .npz file, with 16 bits per sample."""
    about = [
        {"voice": clip.voice, "samples": len(clip.samples), "words": [[w.text, w.start_s, w.end_s] for w in clip.words]}
        for clip in clips
    ]
    samples = np.concatenate([clip.samples for clip in clips])
    np.savez(path, samples=(samples * 32767).round().astype(np.int16), about=json.dumps(about))


def load_clips(path: Path) -> list[Clip]:
    """Reads what `save_clips` wrote."""
    with np.load(path) as file:
        samples, about = file["samples"].astype(np.float32) / 32767, json.loads(str(file["about"]))
    clips, start = [], 0
    for entry in about:
        words = tuple(Word(*word) for word in entry["words"])
        clips.append(Clip(entry["voice"], samples[start : start + entry["samples"]], words))
        start += entry["samples"]
    return clips


def load_units(path: Path) -> dict[str, Clip]:
    """The answering voice's units, by their text."""
    return {" ".join(word.text for word in clip.words): clip for clip in load_clips(path)}
