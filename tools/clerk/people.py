"""The people of the evaluation: natural voices and humans that training never hears, and what each says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from antiphon.errors import AntiphonError
from tools.clerk.piper import Joe
from tools.clerk.train.data.clips import DIGITS, Clip, load_clips
from tools.clerk.train.data.synthesizers import alone
from tools.clerk.train.packages import FOLDER
from tools.clerk.train.voices.bank import held_out_kinds
from tools.clerk.train.voices.speakers import HELD_OUT

ASTERISK = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
NUMBERS = "spokennumbers/default"
RECORDINGS = {
    "Allison": ASTERISK / "phonetic",
    "klettres": Path("/usr/share/klettres/en"),
    "ktuberling": Path("/usr/share/ktuberling/sounds/en"),
    "codec2": Path("/usr/share/codec2/wav"),
}
"""Folders of recordings without a digit, by who or what they are known as."""
LONGEST_S = 4.0  # of a recording


@dataclass
class Person:
    """One voice, what kind it is, and its clips by what they hold."""

    name: str
    kind: str  # of synthesizer, or "human"
    numbers: list[Clip] = field(default_factory=list)
    others: list[Clip] = field(default_factory=list)
    sentences: list[Clip] = field(default_factory=list)  # with a digit to leave alone
    letters: list[Clip] = field(default_factory=list)

    def take(self, clips: Iterable[Clip]) -> None:
        """Sorts clips by their words."""
        for clip in clips:
            words = [word.text for word in clip.words]
            digits = [word in DIGITS for word in words]
            if all(digits):
                self.numbers.append(clip)
            elif any(digits):
                self.sentences.append(clip)
            elif all(len(word) == 1 and word.isupper() for word in words):
                self.letters.append(clip)
            else:
                self.others.append(clip)


def natural_people(sets: Path) -> list[Person]:
    """Kokoro's held-out voices, as far as `train.voices.bank --held-out` has made them.

    Raises:
        AntiphonError: it has made none.
    """
    people = []
    for name in HELD_OUT:
        if (path := sets / f"{name}.npz").exists():
            people.append(Person(name, "kokoro"))
            people[-1].take(load_clips(path))
    if not people:
        raise AntiphonError(f"no voices in {sets}: python -m tools.clerk.train.voices.bank {sets} --held-out")
    return people


def joe(rng: np.random.Generator, folder: Path = FOLDER) -> Person:
    """Piper's joe, who says as many things as each of Kokoro's voices."""
    voice, person = Joe(folder), Person("joe", "piper")
    for kind, count in held_out_kinds():
        person.take(voice.speak(kind(rng), float(rng.uniform(0.9, 1.2))) for _ in range(count))
    return person


def humans(folder: Path = FOLDER) -> list[Person]:
    """People whose ten digits are recorded one by one; those that are not installed are left out."""
    people = []
    for name, place in (("Allison", ASTERISK / "digits"), ("spokennumbers", folder / NUMBERS)):
        if place.exists():
            said = [recording(place / f"{i}.wav", name, digit) for i, digit in enumerate(DIGITS)]
            people.append(Person(name, "human", [clip for clip in said if clip]))
    return people


def recordings() -> list[Clip]:
    """What people say on recordings that have no digit: words, letters, syllables and parts of sentences."""
    clips = list[Clip]()
    for name, place in RECORDINGS.items():
        paths = sorted(path for path in place.rglob("*") if path.suffix in (".wav", ".ogg"))
        said = [recording(path, name, path.stem) for path in paths if not path.stem[0].isdigit()]
        clips += [clip for clip in said if clip]
    return clips


def recording(path: Path, voice: str, word: str) -> Clip | None:
    """A recording as a clip of one word, at most `LONGEST_S` of it; None if it is silent."""
    channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    pcm = channels.mean(1)[: int(LONGEST_S * rate)]
    return alone(f"human {voice}", word, pcm, rate) if np.abs(pcm).max(initial=0) > 0 else None
