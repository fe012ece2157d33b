"""Speech synthesizers from Debian and PyPI, and recordings of a person from Debian.

All are free: espeak-ng (GPL-3+, the program; its speech is not a derived work), flite and festival with its voice ked
(BSD-like, including their voices), SVOX Pico as packaged by `ttspico` (Apache-2.0, including its voices), the
recordings of `saytime` (GPL).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from antiphon.errors import AntiphonError
from tools.clerk.train.data.clips import DIGITS, RATE, Clip, Samples, Word, trimmed
from tools.clerk.train.packages import module

FESTIVAL = "ked_diphone"
PICO_RATE = 16_000
SAYTIME = Path("/usr/share/saytime")  # n.au: the digit n by David C Dawson; raw µ-law at 8 kHz

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
"""Number of phones of each word in flite's lexicon, to get word times from segment times."""


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
    """libespeak-ng in this process. Voices are named `accent+variant`; `add` adds variants.

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
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # our copy of its data, once variants are added
        self._pcm: list[Samples] = []
        self._starts: list[int] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._take)
        self._rate = self._read(None)

    def _read(self, folder: str | None) -> int:
        """Reads voices from the folder's `espeak-ng-data`, or the system's; returns the sample rate in Hz."""
        data = folder.encode() if folder else None
        rate: int = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data, self._DO_NOT_EXIT)
        if rate <= 0:
            raise AntiphonError("espeak-ng has no voices: apt-get install --reinstall espeak-ng-data")
        self._library.espeak_SetSynthCallback(self._callback)
        return rate

    def _take(self, wav: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if count > 0:
            self._pcm.append(np.ctypeslib.as_array(wav, (count,)).astype(np.float32) / np.float32(32768))
        i = 0
        while events[i].type:
            if events[i].type == self._WORD:
                self._starts.append(events[i].sample)
            i += 1
        return 0

    @property
    def _variants(self) -> Path:
        path = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(path))
        assert path.value is not None
        return Path(path.value.decode()) / "voices" / "!v"

    def variant(self, name: str) -> str:
        """The text of a variant's file.

        Raises:
            AntiphonError: espeak-ng has no such variant.
        """
        try:
            return (self._variants / name).read_text()
        except FileNotFoundError as error:
            raise AntiphonError(f"espeak-ng has no variant {name}; see espeak-ng --voices=variant") from error

    def add(self, name: str, variant: str) -> None:
        """Adds a variant with this file text, until this object is closed."""
        if self._folder is None:
            # espeak-ng reads only one folder: this one has copies of the voices and links to the other data. It lists
            # at most 350 voices, so MBROLA's, which need another program, are left out.
            self._folder = tempfile.TemporaryDirectory(prefix="espeak-ng-")
            system, own = self._variants.parents[1], Path(self._folder.name) / "espeak-ng-data"
            shutil.copytree(system / "voices", own / "voices", ignore=shutil.ignore_patterns("mb"))
            for entry in system.iterdir():
                if entry.name != "voices":
                    (own / entry.name).symlink_to(entry)
            self._read(self._folder.name)
        (self._variants / name).write_text(variant)

    def close(self) -> None:
        """Removes the added variants."""
        if self._folder is not None:
            self._read(None)
            self._folder.cleanup()
            self._folder = None

    def choose(self, voice: str) -> None:
        """Selects a voice.

        Raises:
            AntiphonError: espeak-ng has no such voice.
        """
        unknown = self._library.espeak_SetVoiceByName(voice.encode())
        # With an unknown accent the voice does not change; with an unknown variant the accent has none.
        chosen: bytes = self._library.espeak_GetCurrentVoice().contents.identifier
        if unknown or chosen.decode().partition("+")[2] != voice.partition("+")[2]:
            raise AntiphonError(f"espeak-ng has no voice {voice}; see espeak-ng --voices=en and --voices=variant")

    def speak(self, words: Sequence[str], voice: str, words_a_minute: int, pitch: int) -> Clip | None:
        """Speaks the words without a pause; None if this voice merges words or is silent.

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
        if not pcm.any():
            return None
        edges = [start / self._rate for start in self._starts] + [len(pcm) / self._rate]
        times = [Word(word, edges[i], edges[i + 1]) for i, word in enumerate(words)]
        return trimmed(f"espeak {voice}", soxr.resample(pcm, self._rate, RATE), times)


def missing(packages: str) -> AntiphonError:
    """The error for a missing program, with the packages to install."""
    return AntiphonError(f"{packages.split()[0]} is not installed: apt-get install {packages}")


def synthesize(packages: str, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a synthesizer from Debian's `packages`.

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
    """Speaks the words without a pause, `stretch` times as long as usual; None if flite merges words.

    If a word is not in `PHONES`, all of them count as one word.

    Raises:
        AntiphonError: flite is not installed.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = ["-voice", voice, "--setf", f"duration_stretch={stretch}", "-psdur", "-t", " ".join(words)]
        done = synthesize("flite", ["flite", *options, "-o", file.name])
        pcm, rate = soundfile.read(file.name, dtype="float32")
    if not PHONES.keys() >= set(words):
        return alone(f"flite {voice}", " ".join(words), pcm, rate)
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


def alone(voice: str, word: str, pcm: Samples, rate: int) -> Clip:
    """A clip of samples [n] at `rate` Hz that are one word."""
    samples = soxr.resample(pcm, rate, RATE)
    return trimmed(voice, samples, [Word(word, 0.0, len(samples) / RATE)])


def festival(words: Sequence[str], stretch: float = 1.0) -> Clip:
    """Speaks the words without a pause with festival's voice ked, `stretch` times as long as usual.

    Raises:
        AntiphonError: festival or its voice is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        wav, ends = Path(folder) / "wav", Path(folder) / "words"
        commands = [
            f"(voice_{FESTIVAL})",
            f"(Parameter.set 'Duration_Stretch {stretch})",
            f'(set! said (SynthText "{" ".join(words)}"))',
            f'(utt.save.wave said "{wav}" "riff")',
            f'(utt.save.words said "{ends}")',
        ]
        synthesize("festival festvox-kdlpc16k", ["festival", "-b", *commands])
        pcm, rate = soundfile.read(wav, dtype="float32")
        lines = [line.split() for line in ends.read_text().splitlines() if not line.startswith("#")]
    times, start_s = [], 0.0
    for end_s, _, word in lines:
        times.append(Word(word, start_s, float(end_s)))
        start_s = float(end_s)
    return trimmed(f"festival {FESTIVAL}", soxr.resample(pcm, rate, RATE), times)


def pico(word: str, voice: str, rate: int = 100, pitch: int = 100) -> Clip:
    """Speaks one word with SVOX Pico's "en-GB" or "en-US" voice; rate and pitch are in percent of its own.

    Raises:
        AntiphonError: ttspico is not installed.
    """
    try:
        engine = module("ttspico").TtsEngine(voice)
    except ImportError as error:
        raise AntiphonError("ttspico is not installed: run `make voices`") from error
    engine.rate, engine.pitch = rate, pitch
    pcm = np.frombuffer(engine.speak(word), np.int16).astype(np.float32) / np.float32(32768)
    return alone(f"pico {voice}", word, pcm, PICO_RATE)


def saytime(word: str) -> Clip:
    """One digit from the recordings of Debian's `saytime`: a man's voice, in telephone bandwidth.

    Raises:
        AntiphonError: saytime is not installed.
    """
    path = SAYTIME / f"{DIGITS.index(word)}.au"
    if not path.exists():
        raise missing("saytime")
    pcm, rate = soundfile.read(path, format="RAW", subtype="ULAW", samplerate=8000, channels=1, dtype="float32")
    return alone("saytime", word, pcm, rate)
