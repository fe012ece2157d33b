"""Makes natural voices' clips: a file for each speaker, with what it says in digits and in other words.

    python -m tools.clerk.train.voices.bank BANK/natural --speakers 1000
    python -m tools.clerk.train.voices.bank SETS --held-out        # for the evaluation; training refuses its voices

Of every speaker an independent recognizer hears some numbers. One that it does not understand is replaced by another,
if it is for training; of a held-out voice the share is told only. A file that exists is kept: the same command goes on
where it was stopped, and a greater `--speakers` adds speakers. Seed and number of a file decide what is in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tools.clerk.train.data.clips import DIGITS, RATE, Clip, Samples, save_clips
from tools.clerk.train.data.other_words import ALPHABET, dictionary_words
from tools.clerk.train.packages import FOLDER
from tools.clerk.train.stage import positive, run
from tools.clerk.train.voices.cutting import clips_of, paused
from tools.clerk.train.voices.kokoro import Kokoro
from tools.clerk.train.voices.lexicon import Lexicon
from tools.clerk.train.voices.lines import (
    Phrase,
    announced,
    counted,
    letters,
    lines_of,
    number,
    phrase,
    words,
)
from tools.clerk.train.voices.sentences import UNHEARD_COUNTED, UNHEARD_PHRASES
from tools.clerk.train.voices.speakers import HELD_OUT, Speaker, drawn, stranger
from tools.clerk.train.voices.whisper import Whisper, digits_in

CHECKED = 8  # numbers of a speaker that the recognizer hears
UNDERSTOOD = 0.5  # share of them that it has to understand

Kind = Callable[[np.random.Generator], Phrase]

PAUSED = 0.2  # share of numbers with silence between their digits
LONGEST_PAUSE_S = 0.35  # as in conversations


def said_by(
    speaker: Speaker, kinds: Sequence[tuple[Kind, int]], kokoro: Kokoro, lexicon: Lexicon, rng: np.random.Generator
) -> list[Clip]:
    """What a speaker says: so many phrases of each kind, in a random order."""
    phrases = list[Phrase]()
    for kind, count in kinds:
        wanted = len(phrases) + count
        while len(phrases) < wanted:
            if lexicon.knows(said := kind(rng)):
                phrases.append(said)
    clips = list[Clip]()
    for line, parts in lines_of([phrases[i] for i in rng.permutation(len(phrases))], rng):
        pronounced = lexicon.pronounce(line)
        clips += clips_of(speaker.name, pronounced, kokoro.say(pronounced.phonemes, speaker), parts)
    return [with_pauses(clip, rng) if rng.random() < PAUSED else clip for clip in clips]


def with_pauses(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip, with silence between its digits if it has nothing else."""
    if not all(word.text in DIGITS for word in clip.words):
        return clip
    return paused(clip, rng.uniform(0, LONGEST_PAUSE_S, len(clip.words) - 1).tolist())


class Recognizer(Protocol):
    """A recognizer of phrases."""

    def words(self, samples: Samples, sample_rate_hz: int) -> list[str]:
        """The words in samples [n]."""


def understood(clips: Sequence[Clip], recognizer: Recognizer) -> float:
    """The share of a speaker's first `CHECKED` numbers that the recognizer hears as they are."""
    said = [[word.text for word in clip.words] for clip in clips]
    checked = [i for i, digits in enumerate(said) if all(digit in DIGITS for digit in digits)][:CHECKED]
    right = [digits_in(recognizer.words(np.pad(clips[i].samples, RATE // 4), RATE)) == said[i] for i in checked]
    return sum(right) / max(1, len(right))


def training_kinds(dictionary: Sequence[str]) -> list[tuple[Kind, int]]:
    """What a speaker says for training."""
    return [(number, 24), (phrase, 6), (words(dictionary), 7), (letters, 5), (counted, 5), (announced, 4)]


def held_out_kinds() -> list[tuple[Kind, int]]:
    """What a held-out voice says for the evaluation, of which training has no sentence."""

    def other(rng: np.random.Generator) -> Phrase:
        return str(rng.choice((*UNHEARD_PHRASES, *ALPHABET))).split()

    def left_alone(rng: np.random.Generator) -> Phrase:
        template = str(rng.choice(UNHEARD_COUNTED))
        return [str(rng.choice(DIGITS[1:])) if word == "#" else word for word in template.split()]

    return [(number, 12), (other, 12), (left_alone, 4), (letters, 3)]


def main() -> None:
    """Writes the missing files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--speakers", type=positive, default=1000, help="files (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of training's speakers (default: %(default)s)")
    parser.add_argument("--held-out", action="store_true", help="the held-out voices, a file each, for the evaluation")
    parser.add_argument("--packages", type=Path, default=FOLDER, help="folder of `make voices` (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kokoro, whisper = Kokoro(arguments.packages), Whisper(arguments.packages)
    lexicons = {british: Lexicon(british=british, folder=arguments.packages) for british in (False, True)}
    kinds = held_out_kinds() if arguments.held_out else training_kinds(dictionary_words())
    last = len(HELD_OUT) if arguments.held_out else arguments.first + arguments.speakers
    for i in range(0 if arguments.held_out else arguments.first, last):
        path = arguments.out / (f"{HELD_OUT[i]}.npz" if arguments.held_out else f"{i:04}.npz")
        if path.exists():
            continue
        rng, share, clips = np.random.default_rng([i, arguments.held_out, arguments.seed]), 0.0, list[Clip]()
        while share < UNDERSTOOD:
            speaker = stranger(HELD_OUT[i], rng) if arguments.held_out else drawn(rng)
            clips = said_by(speaker, kinds, kokoro, lexicons[speaker.british], rng)
            share = understood(clips, whisper)
            print(f"{path.stem}: {speaker.name}, {100 * share:.0f} % understood", flush=True)
            if arguments.held_out:
                break
        save_clips(path.with_suffix(".new.npz"), clips)
        path.with_suffix(".new.npz").replace(path)


if __name__ == "__main__":
    run(main, "bank")
