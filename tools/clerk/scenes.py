"""The scenes of the evaluation: people who speak, and sounds without speech."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.train.data.clips import DIGITS, FRAME, PEAK, RATE, Clip, Word
from tools.clerk.train.data.other_words import ALPHABET
from tools.clerk.train.data.scenes import PAUSE_S, Track, bumps, noise, person, recorded
from tools.clerk.train.data.speech import make_bank
from tools.clerk.train.data.synthesizers import alone

HUMAN = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
DESKTOP = Path("/usr/share/sounds/freedesktop/stereo")
LEAD_S = 1.6  # for the greeting
TAIL_S = 5.0  # for the answer


@dataclass(frozen=True)
class Turn:
    """What a person says in a scene."""

    start_s: float
    end_s: float
    digits: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A person's whole track, its turns, and the synthesizer of its voice."""

    samples: Pcm
    turns: tuple[Turn, ...]
    synthesizer: str = ""


def turn_of(words: Sequence[Word], begin_s: float = 0.0) -> Turn:
    """A turn of these words, in a scene that begins at `begin_s` of their track."""
    return Turn(words[0].start_s - begin_s, words[-1].end_s - begin_s, tuple(word.text for word in words))


def utterance(
    bank: Sequence[Clip], rng: np.random.Generator, hear: Callable[[Pcm], Pcm], other_words: Sequence[Clip] = ()
) -> Scene:
    """A scene with one turn of one to four digits, after a clip of `other_words` if there are any."""
    begin, digits = int((LEAD_S + rng.uniform(0, 0.5)) * RATE), int(rng.integers(1, 5))
    words = other_words[int(rng.integers(len(other_words)))] if other_words else Clip("", np.zeros(0, np.float32), ())
    start = begin + len(words.samples) + (int(rng.uniform(0.05, PAUSE_S) * RATE) if other_words else 0)
    frames = start // FRAME + int((4 + TAIL_S) * RATE) // FRAME
    track = person(bank, frames, [(start, digits)], rng, voice=words.voice, as_recorded=True)
    track.add(words.samples, begin)
    end = int((track.words[-1].end_s + TAIL_S) * RATE)
    return Scene(hear(track.samples[: end - end % FRAME]), (turn_of(track.words),), track.voice.partition(" ")[0])


def interruption(bank: Sequence[Clip], rng: np.random.Generator, hear: Callable[[Pcm], Pcm]) -> Scene:
    """A scene with two turns; the second starts in the middle of the answer to the first."""
    frames = int((LEAD_S + 14) * RATE) // FRAME
    track = person(bank, frames, [(int(LEAD_S * RATE), int(rng.integers(2, 5)))], rng, as_recorded=True)
    first = turn_of(track.words)
    # The answer starts 0.6 s after the turn and would last at least half a second longer.
    start_s = first.end_s + 0.6 + rng.uniform(0.3, 0.4 * len(first.digits))
    second = person(bank, frames, [(int(start_s * RATE), int(rng.integers(1, 4)))], rng, as_recorded=True)
    end = int((second.words[-1].end_s + TAIL_S) * RATE)
    samples = hear((track.samples + second.samples)[: end - end % FRAME])
    return Scene(samples, (first, turn_of(second.words)))


def human_bank() -> list[Clip]:
    """The digits of a human speaker; empty if they are not installed."""
    return [human(path, DIGITS[int(path.stem)]) for path in sorted(HUMAN.glob("digits/[0-9].wav"))]


def human_words() -> list[Clip]:
    """The words of the radio alphabet by a human speaker; empty if they are not installed."""
    return [human(path, path.stem) for path in sorted(HUMAN.glob("phonetic/[a-z]_p.wav"))]


def human(path: Path, word: str) -> Clip:
    """A recording of one word."""
    pcm, rate = soundfile.read(path, dtype="float32")
    return alone("human", word, pcm, rate)


def said_once(clip: Clip) -> Pcm:
    """A track with one clip, and silence before and after it."""
    track = Track.silent((int((LEAD_S + TAIL_S) * RATE) + len(clip.samples)) // FRAME)
    track.add(clip.samples, int(LEAD_S * RATE))
    return track.samples


def desktop_tracks(length: int, rng: np.random.Generator) -> list[Pcm]:
    """Tracks that repeat one desktop sound, at the peak of speech and at a quarter of it; without spoken sounds."""
    tracks = []
    for path in sorted(DESKTOP.glob("*.oga")):
        if path.is_symlink() or path.name.startswith("audio-channel"):
            continue  # a duplicate, or spoken words
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sound = soxr.resample(channels.mean(1), rate, RATE)
        for peak in (PEAK, PEAK / 4):
            track, at = np.zeros(length, np.float32), int(LEAD_S * RATE)
            while at + len(sound) <= length - TAIL_S * RATE:
                track[at : at + len(sound)] = sound * (peak / np.abs(sound).max())
                at += len(sound) + int(rng.uniform(0.5, 2.5) * RATE)
            tracks.append(track)
    return tracks


def rows(count: int, seed: int) -> tuple[dict[str, list[Scene]], list[Scene], dict[str, list[Pcm]]]:
    """All scenes: people, interruptions, and tracks without a digit. Each row has its own random numbers."""

    def drawn(row: int) -> np.random.Generator:
        return np.random.default_rng([seed, row])

    def clean(samples: Pcm) -> Pcm:
        return samples

    bank, human_digits, few = make_bank(400, seed, held_out=True), human_bank(), max(5, count // 4)
    other_words = make_bank(few, seed, ALPHABET, held_out=True)
    unseen, microphone, noisy, person_s, barging, hiss, hush, desk, beside = (drawn(row) for row in range(9))
    people = {
        "unseen voices": [utterance(bank, unseen, clean) for _ in range(count)],
        "unseen voices, microphone": [
            utterance(bank, noisy, lambda samples: recorded(samples, microphone)) for _ in range(few)
        ],
        "unseen voices, after other words": [utterance(bank, beside, clean, other_words) for _ in range(few)],
    }
    if human_digits:
        people["a human"] = [utterance(human_digits, person_s, clean) for _ in range(few)]
    else:
        print("a human: not installed; apt-get install asterisk-core-sounds-en-wav", file=sys.stderr)
    length = 20 * RATE
    unanswered: dict[str, list[Pcm]] = {"silence": [np.zeros(length, np.float32)], "noise": []}
    for _ in range(few // 5):
        unanswered["silence"].append(10 ** (-hush.uniform(60, 100) / 20) * noise(length, hush))
    for i in range(few):
        samples = 0.08 * 10 ** (-hiss.uniform(12, 45) / 20) * noise(length, hiss)
        unanswered["noise"].append(samples + bumps(length, hiss) if i % 2 else samples)
    unanswered["other words"] = [said_once(clip) for clip in other_words]
    if human_digits:
        unanswered["other words: a human"] = [said_once(clip) for clip in human_words()]
    if ringing := desktop_tracks(length, desk):
        unanswered["desktop sounds"] = ringing
    else:
        print("desktop sounds: not installed; apt-get install sound-theme-freedesktop", file=sys.stderr)
    return people, [interruption(bank, barging, clean) for _ in range(few)], unanswered
