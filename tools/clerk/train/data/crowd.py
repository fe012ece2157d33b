"""The people of training: crowds of voices of one kind, and what each of them says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from antiphon.errors import AntiphonError
from tools.clerk.train.data.clips import DIGITS, Clip, load_clips
from tools.clerk.train.voices.speakers import refuse_held_out, voices_of

NATURAL = 0.6  # share of turns in natural voices
EVERY = 20  # one natural speaker of so many measures training


@dataclass(frozen=True)
class Crowd:
    """Clips of digits alone, and clips of other words, which may have digits among them."""

    digits: Sequence[Clip]
    others: Sequence[Clip] = ()
    share: float = 1.0  # of the turns, beside the other crowds'

    @cached_property
    def plain(self) -> list[Clip]:
        """The clips of other words that have no digit."""
        return [clip for clip in self.others if not any(word.text in DIGITS for word in clip.words)]


def one_of(crowds: Sequence[Crowd], rng: np.random.Generator) -> Crowd:
    """Draws a crowd by its share."""
    shares = np.array([crowd.share for crowd in crowds])
    return crowds[int(rng.choice(len(crowds), p=shares / shares.sum()))]


def load_crowds(bank: Path, *, held_out: bool = False) -> list[Crowd]:
    """The crowds of a bank: synthesizers' voices, and natural ones where it has them.

    `held_out` gives those that measure training as it goes: other voices of the synthesizers, and natural speakers of
    which training has no file. The natural voices of the evaluation are in no bank.

    Raises:
        AntiphonError: a natural voice of the evaluation is in the bank.
    """
    people = "held-out" if held_out else "train"
    other_words = bank / f"{people}-other-words.npz"
    crowds = [Crowd(load_clips(bank / f"{people}.npz"), load_clips(other_words) if other_words.exists() else ())]
    if (bank / "natural").exists():
        clips = load_natural(bank / "natural", held_out=held_out)
        numbers = [clip for clip in clips if all(word.text in DIGITS for word in clip.words)]
        others = [clip for clip in clips if not all(word.text in DIGITS for word in clip.words)]
        crowds = [Crowd(crowds[0].digits, crowds[0].others, 1 - NATURAL), Crowd(numbers, others, NATURAL)]
    return crowds


def load_natural(folder: Path, *, held_out: bool = False) -> list[Clip]:
    """All clips of natural speakers, in order; with `held_out` of every `EVERY`-th file, else of the others.

    Raises:
        AntiphonError: there are none, or one has a voice of the evaluation.
    """
    paths = [path for path in sorted(folder.glob("[0-9]*[0-9].npz")) if (int(path.stem) % EVERY == 0) == held_out]
    if not paths:
        raise AntiphonError(f"too few speakers in {folder}: train.voices.bank makes them")
    clips = [clip for path in paths for clip in load_clips(path)]
    refuse_held_out([voice for name in {clip.voice for clip in clips} for voice in voices_of(name)])
    return clips
