"""Makes recordings of a person: clips in a room, with noise, a band limit and a gain; labelled per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, Clip, Samples, Word

OTHER = 1 + 3 * (len(DIGITS) + 3)
"""The class of words that are neither a digit nor the answering voice's."""
CLASSES = OTHER + 1
"""Classes: silence; the beginning, middle and end of each digit and of the answering voice's words; other words."""
CLEAN = 0.3  # share of training data without noise and room, as tests play clean sound
PAUSE_S = 0.35  # longest pause within a turn
SPEEDS = (0.82, 1.2)  # slowest and fastest
_PLACE = {word: i for i, word in enumerate((*DIGITS, "ready", "you", "said"))}


@dataclass
class Track:
    """A stream under construction: samples [n], its words, and the voice of the last clip."""

    samples: Samples
    words: list[Word]
    voice: str = ""

    @classmethod
    def silent(cls, frames: int) -> Track:
        """A track of silence."""
        return cls(np.zeros(frames * FRAME, dtype=np.float32), [])

    def place(self, clip: Clip, start: int, samples: Samples | None = None) -> int:
        """Adds a clip (or another rendering of it) at sample `start`; returns the index after its last sample."""
        samples = clip.samples if samples is None else samples
        self.voice = clip.voice
        scale = len(samples) / len(clip.samples)
        for word in clip.words:
            begin_s = start / RATE + word.start_s * scale
            if begin_s < len(self.samples) / RATE:
                self.words.append(Word(word.text, begin_s, start / RATE + word.end_s * scale))
        return self.add(samples, start)

    def add(self, samples: Samples, start: int) -> int:
        """Adds samples only; returns the index after the last one, which may be beyond the track."""
        room = self.samples[start : start + len(samples)]
        room += samples[: len(room)]
        return start + len(samples)

    def labels(self) -> NDArray[np.int64]:
        """The class of each frame, from the word in its middle."""
        labels = np.zeros(len(self.samples) // FRAME, dtype=np.int64)
        middles = (np.arange(len(labels)) + 0.5) * FRAME / RATE
        for word in self.words:
            parts = word.text.split()
            for i, part in enumerate(parts):
                length = (word.end_s - word.start_s) / len(parts)
                at = (middles - word.start_s - i * length) / max(length, 1e-3)
                inside = (at >= 0) & (at < 1)
                place = _PLACE.get(part)
                labels[inside] = OTHER if place is None else 1 + 3 * place + (at[inside] * 3).astype(np.int64)
        return labels


def stretched(samples: Samples, speed: float) -> Samples:
    """Samples played `speed` times as fast; this also shifts pitch and formants."""
    at = np.arange(0, len(samples) - 1, speed)
    return np.asarray(np.interp(at, np.arange(len(samples)), samples), dtype=np.float32)


def person(
    bank: Sequence[Clip],
    frames: int,
    turns: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    *,
    voice: str = "",
    as_recorded: bool = False,
) -> Track:
    """The track of a person who says one to four digits in each turn.

    Args:
        bank: clips to draw from. A turn has one voice, and fewer digits if that voice has no fitting clip.
        frames: length of the track.
        turns: first sample and number of digits of each turn.
        rng: makes all random choices.
        voice: the voice of all turns, if the bank has it.
        as_recorded: keeps the speed of the clips.
    """
    track = Track.silent(frames)
    for start, digits in turns:
        gap_s = rng.choice([rng.uniform(-0.03, 0.1), rng.uniform(0.05, 0.25), rng.uniform(0.2, PAUSE_S)])
        speed = 1.0 if as_recorded else rng.uniform(*SPEEDS)
        short = [clip for clip in bank if len(clip.words) <= digits]
        known = [clip for clip in short if clip.voice == voice] or short
        chosen = known[int(rng.integers(len(known)))].voice
        voices = [clip for clip in short if clip.voice == chosen]
        at, left = start, digits
        while fitting := [clip for clip in voices if len(clip.words) <= left]:
            clip = fitting[int(rng.integers(len(fitting)))]
            rendering = clip.samples if as_recorded else stretched(clip.samples, speed)
            at = track.place(clip, at, rendering) + int(gap_s * RATE)
            left -= len(clip.words)
    return track


def recorded(clean: Samples, rng: np.random.Generator) -> Samples:
    """A clean track as recorded by a microphone: with room, band limit, noise and gain."""
    samples = clean
    if rng.random() < 0.35:
        samples = reverberated(samples, rng)
    low, high = 0.0, RATE / 2
    kind = rng.random()
    if kind < 0.3:
        high = rng.uniform(3300, 4000)  # a telephone
        low = rng.choice([0.0, rng.uniform(100, 320)])
    elif kind < 0.6:
        high = rng.uniform(5000, 12000)
    samples = filtered(samples, low, high, rng.uniform(-6, 6))
    gain = 10 ** (rng.uniform(-20, 4) / 20)
    level = 0.08 * 10 ** (-rng.uniform(12, 55) / 20)  # 0.08: about the RMS of speech with a peak of 0.5
    noisy = samples + level * noise(len(samples), rng) if rng.random() < 0.8 else samples
    if rng.random() < 0.25:
        noisy = noisy + bumps(len(samples), rng)
    return np.clip(noisy * gain, -1, 1).astype(np.float32)


def noise(count: int, rng: np.random.Generator) -> Samples:
    """Coloured noise with unit root mean square, sometimes with mains hum."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    spectrum *= (np.maximum(frequency, 40) / 1000) ** -rng.uniform(0, 1.2)
    out = np.fft.irfft(spectrum, count)
    if rng.random() < 0.2:
        at = np.arange(count) / RATE
        out = out / out.std() + 0.7 * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * at)
    return np.asarray(out / max(out.std(), 1e-9), dtype=np.float32)


def bumps(count: int, rng: np.random.Generator) -> Samples:
    """A few short bursts, like a door, a key or a cough."""
    out = np.zeros(count, dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        length = int(rng.uniform(0.005, 0.25) * RATE)
        start = int(rng.integers(0, max(1, count - length)))
        burst = noise(max(length, 64), rng)[:length] * np.exp(-np.linspace(0, rng.uniform(2, 7), length))
        out[start : start + length] += (rng.uniform(0.005, 0.12) * burst).astype(np.float32)[: count - start]
    return out


def reverberated(samples: Samples, rng: np.random.Generator) -> Samples:
    """Adds a room's exponentially decaying reflections, 0.1 to 0.5 s for 60 dB."""
    length = int(rng.uniform(0.1, 0.5) * RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.linspace(0, 1, length))
    tail *= rng.uniform(0.05, 0.5) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = 1 << (len(samples) + length - 1).bit_length()
    out = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    return np.asarray(out, dtype=np.float32)


def filtered(samples: Samples, low: float, high: float, tilt_db: float) -> Samples:
    """Limits the band with soft edges, and tilts the spectrum around 1 kHz by `tilt_db` per two octaves."""
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    gain = (np.maximum(frequency, 60) / 1000) ** (tilt_db / 12)
    gain = np.clip(gain, 0.1, 4) / (1 + (frequency / high) ** 16) ** 0.5
    if low:
        gain /= (1 + (low / np.maximum(frequency, 1)) ** 6) ** 0.5
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)), dtype=np.float32)
