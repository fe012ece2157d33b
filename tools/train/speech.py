"""Spoken digits with exact word times, from Debian's synthesizers: espeak-ng by its C interface, the others by command.

espeak-ng (GPL-3+, the program; its speech is no derived work), flite and festival with its voice ked (BSD-like, their
voices too) are free software.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from antiphon.errors import AntiphonError

Samples = NDArray[np.float32]

RATE = 24_000
FRAME = 1920
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UNITS = ("ready", "you said", *DIGITS)  # what the answering voice can say
ANSWERING_VOICE = "rms"  # the independent recognizer hears its every digit right, and slt's "four" as "five"

# "en" is British English: espeak-ng knows "en-gb" as a language, not as a voice.
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
VARIANTS = """
    Alex Alicia Andrea Annie Denis Diogo Henrique Hugo Jacky Lee Mario Michael Mike adam anika antonio aunty
    benjamin boris caleb david ed edward f1 f2 f3 f5 grandma grandpa gustave iven iven2 iven3 john kaukovalta
    klatt klatt2 klatt3 m1 m2 m3 m4 m6 m7 m8 marcelo max miguel norbert pablo paul pedro quincy rob robert
    sandro shelby steph steph2 zac
""".split()  # noqa: SIM905 - five times as many lines as a list
FLITE = ("slt", "rms", "kal16")
FESTIVAL = "ked_diphone"
WARPS = (0.82, 0.88, 0.94, 1.0, 1.07, 1.14, 1.22)
HELD_OUT_VARIANTS = ("Andy", "Gene", "Marco", "belinda", "f4", "linda", "m5", "michel", "travis", "victor")
HELD_OUT_FLITE = ("awb",)
"""Voices that training never hears: ten variants of espeak-ng and a Scot, made from recordings of himself."""

PHONES = {
    "zero": 4,
    "one": 3,
    "two": 2,
    "three": 3,
    "four": 3,
    "five": 3,
    "six": 4,
    "seven": 5,
    "eight": 2,
    "nine": 3,
    "ready": 4,
    "you said": 5,
}
"""Phones of each word in flite's lexicon: its segment times become word times."""


@dataclass(frozen=True)
class Word:
    """A word and where it is spoken."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Clip:
    """Samples [n] at 24 kHz in [−1, 1], without silence around them, and the words in them."""

    voice: str
    samples: Samples
    words: tuple[Word, ...]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p))


class Espeak:
    """libespeak-ng in this process: voices are `accent+variant`.

    Raises:
        AntiphonError: it is not installed.
    """

    _SYNCHRONOUS, _DO_NOT_EXIT, _WORD, _UTF8, _RATE, _PITCH = 2, 0x8000, 1, 1, 1, 3

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        except OSError as error:
            raise missing("espeak-ng") from error
        self._library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self._rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, None, self._DO_NOT_EXIT)
        if self._rate <= 0:
            raise AntiphonError("espeak-ng has no voices: apt-get install --reinstall espeak-ng-data")
        self._pcm: list[Samples] = []
        self._starts: list[int] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, wav: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if count > 0:
            self._pcm.append(np.ctypeslib.as_array(wav, (count,)).astype(np.float32) / np.float32(32768))
        i = 0
        while events[i].type:
            if events[i].type == self._WORD:
                self._starts.append(events[i].sample)
            i += 1
        return 0

    def choose(self, voice: str) -> None:
        """Speaks with this voice from now on.

        Raises:
            AntiphonError: espeak-ng has no such voice.
        """
        unknown = self._library.espeak_SetVoiceByName(voice.encode())
        # An unknown accent leaves the voice as it was; an unknown variant leaves the accent without one.
        chosen: bytes = self._library.espeak_GetCurrentVoice().contents.identifier
        if unknown or chosen.decode().partition("+")[2] != voice.partition("+")[2]:
            raise AntiphonError(f"espeak-ng has no voice {voice}; see espeak-ng --voices=en and --voices=variant")

    def speak(self, words: Sequence[str], voice: str, words_a_minute: int, pitch: int) -> Clip | None:
        """The words in one breath; None where this voice runs them together.

        Raises:
            AntiphonError: espeak-ng has no such voice.
        """
        text = " ".join(words).encode()
        self._pcm, self._starts = [], []
        self.choose(voice)
        self._library.espeak_SetParameter(self._RATE, words_a_minute, 0)
        self._library.espeak_SetParameter(self._PITCH, pitch, 0)
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, self._UTF8, None, None)
        if len(self._starts) != len(words) or not self._pcm:
            return None
        pcm = np.concatenate(self._pcm)
        edges = [start / self._rate for start in self._starts] + [len(pcm) / self._rate]
        times = [Word(word, edges[i], edges[i + 1]) for i, word in enumerate(words)]
        return trimmed(f"espeak {voice}", soxr.resample(pcm, self._rate, RATE), times)


def missing(packages: str) -> AntiphonError:
    """What to install."""
    return AntiphonError(f"{packages.split()[0]} is not installed: apt-get install {packages}")


def synthesize(packages: str, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a synthesizer of Debian's `packages`.

    Raises:
        AntiphonError: it is not installed, or fails.
    """
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise missing(packages) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or "it says nothing").splitlines()[-1]
        raise AntiphonError(f"{command[0]} failed: {reason} (is all of {packages} installed?)") from error


def flite(words: Sequence[str], voice: str, stretch: float = 1.0) -> Clip | None:
    """The words in one breath, `stretch` times as long as usual.

    Raises:
        AntiphonError: flite is not installed.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = ["-voice", voice, "--setf", f"duration_stretch={stretch}", "-psdur", "-t", " ".join(words)]
        done = synthesize("flite", ["flite", *options, "-o", file.name])
        pcm, rate = soundfile.read(file.name, dtype="float32")
    ends = [(name, float(end)) for name, end in (entry.split(":") for entry in done.stdout.split())]
    spoken = [i for i, (name, _) in enumerate(ends) if name != "pau"]
    if len(spoken) != sum(PHONES[word] for word in words):
        return None
    times, first = [], 0
    for word in words:
        last = first + PHONES[word] - 1
        start = ends[spoken[first] - 1][1] if spoken[first] else 0.0
        times.append(Word(word, start, ends[spoken[last]][1]))
        first = last + 1
    return trimmed(f"flite {voice}", soxr.resample(pcm, rate, RATE), times)


def festival(word: str, stretch: float = 1.0) -> Clip:
    """One word by festival's voice ked, `stretch` times as long as usual.

    Raises:
        AntiphonError: festival or its voice is not installed.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        evaluate = [f"(voice_{FESTIVAL})", f"(Parameter.set 'Duration_Stretch {stretch})"]
        options = [part for command in evaluate for part in ("-eval", command)]
        synthesize("festival festvox-kdlpc16k", ["text2wave", *options, "-o", file.name], word)
        pcm, rate = soundfile.read(file.name, dtype="float32")
    samples = soxr.resample(pcm, rate, RATE)
    return trimmed(f"festival {FESTIVAL}", samples, [Word(word, 0.0, len(samples) / RATE)])


def trimmed(voice: str, samples: Samples, words: Sequence[Word]) -> Clip:
    """Without the silence at both ends, at a peak of 0.5."""
    peak = float(np.abs(samples).max()) or 1.0
    loud = np.flatnonzero(np.abs(samples) > 0.02 * peak)
    start, end = max(0, loud[0] - 120), min(len(samples), loud[-1] + 240)
    offset_s, length_s = start / RATE, (end - start) / RATE
    moved = tuple(
        Word(word.text, max(0.0, float(word.start_s - offset_s)), float(min(length_s, word.end_s - offset_s)))
        for word in words
    )
    return Clip(voice, (samples[start:end] * (0.5 / peak)).astype(np.float32), moved)


def revoiced(clip: Clip, warp: float) -> Clip:
    """As a vocal tract `warp` times shorter would say it: formants move, pitch and time stay.

    The envelope of the spectra is that of their smoothed cepstra; warping it makes speakers that no synthesizer has
    (Jaitly, Hinton, "Vocal tract length perturbation", 2013).
    """
    size, hop, smooth = 1024, 256, 48
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(clip.samples, (size, size + -len(clip.samples) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(frames)  # [frames, bins]
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5))
    cepstra[:, smooth : 1 - smooth] = 0
    envelopes = np.fft.rfft(cepstra).real
    at = np.minimum(np.arange(size // 2 + 1) / warp, size // 2)
    below = np.minimum(at.astype(int), size // 2 - 1)
    moved = envelopes[:, below] + (at - below) * (envelopes[:, below + 1] - envelopes[:, below])
    made = np.fft.irfft(spectra * np.exp(np.clip(moved - envelopes, -4, 4))) * window
    samples, weight = np.zeros_like(padded), np.zeros_like(padded)
    for i, frame in enumerate(made):
        samples[i * hop : i * hop + size] += frame
        weight[i * hop : i * hop + size] += window**2
    voiced = (samples / np.maximum(weight, 1e-3))[size : size + len(clip.samples)]
    return Clip(f"{clip.voice} x{warp}", (voiced * (0.5 / np.abs(voiced).max())).astype(np.float32), clip.words)


def answering_units() -> dict[str, Clip]:
    """What the answering voice says, each a whole number of frames long."""
    units = {}
    for text in UNITS:
        clip = flite([text], ANSWERING_VOICE, 1.1)
        assert clip is not None, text
        frames = -(-len(clip.samples) // FRAME)
        samples = np.pad(clip.samples, (0, frames * FRAME - len(clip.samples)))
        units[text] = Clip(clip.voice, samples, clip.words)
    return units


def make_bank(count: int, seed: int, *, held_out: bool = False) -> list[Clip]:
    """Clips of one to four digits in one breath, half of them single digits.

    Half are espeak-ng's: each of its variants has two accents. For training most are said by a shorter or longer vocal
    tract, so that few voices stand for many.

    Raises:
        AntiphonError: a synthesizer or a voice is not installed.
    """
    rng, espeak, bank = np.random.default_rng(seed), Espeak(), list[Clip]()
    variants, natural = (HELD_OUT_VARIANTS, HELD_OUT_FLITE) if held_out else (VARIANTS, FLITE)
    while len(bank) < count:
        digits = [DIGITS[i] for i in rng.integers(10, size=rng.choice((1, 1, 1, 2, 3, 4)))]
        kind, warp = rng.random(), float(rng.choice(WARPS))
        clip: Clip | None
        if kind < 0.1 and not held_out:
            clip = festival(digits[0], float(rng.uniform(0.8, 1.4)))
        elif kind < 0.5:
            clip = flite(digits, str(rng.choice(natural)), float(rng.uniform(0.8, 1.4)))
        else:
            i = int(rng.integers(len(variants)))
            voice = f"{ACCENTS[(i + 3 * int(rng.integers(2))) % len(ACCENTS)]}+{variants[i]}"
            clip = espeak.speak(digits, voice, int(rng.integers(100, 211)), int(rng.integers(15, 86)))
            warp = float(rng.choice((1.0, WARPS[i % len(WARPS)])))
        if clip is not None:
            bank.append(clip if held_out or warp == 1.0 else revoiced(clip, warp))
    return bank


def save_clips(path: Path, clips: Sequence[Clip]) -> None:
    """Writes clips to an .npz file, 16 bits a sample."""
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
    """What the answering voice says, by its text."""
    return {" ".join(word.text for word in clip.words): clip for clip in load_clips(path)}


def main() -> None:
    """Writes the banks of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder")
    parser.add_argument("--clips", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = {
        "train": make_bank(arguments.clips, arguments.seed),
        "held-out": make_bank(arguments.clips // 10, arguments.seed + 1, held_out=True),
        "answering": list(answering_units().values()),
    }
    for name, part in parts.items():
        save_clips(arguments.out / f"{name}.npz", part)


if __name__ == "__main__":
    try:
        main()
    except AntiphonError as error:
        sys.exit(f"speech: {error}")
