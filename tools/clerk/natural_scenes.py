"""The scenes of people: numbers alone and beside other words, sentences, letters; each in one voice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.people import Person
from tools.clerk.scenes import LEAD_S, TAIL_S, Scene, Turn, interruption, said_once
from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, Clip
from tools.clerk.train.data.scenes import PAUSE_S, Track

Hear = Callable[[Pcm], Pcm]


def clean(samples: Pcm) -> Pcm:
    """What a microphone hears that adds nothing."""
    return samples


def one_of(clips: Sequence[Clip], rng: np.random.Generator) -> Clip:
    """Draws a clip."""
    return clips[int(rng.integers(len(clips)))]


def said_in_turn(clips: Sequence[Clip], kind: str, rng: np.random.Generator, hear: Hear = clean) -> Scene:
    """A scene with one turn: these clips, one after the other, with pauses as in training."""
    gaps = [int(rng.uniform(0.05, PAUSE_S) * RATE) for _ in clips]
    length = sum(len(clip.samples) for clip in clips) + sum(gaps)
    track = Track.silent(int((LEAD_S + 0.5 + TAIL_S) * RATE + length) // FRAME)
    start = at = int((LEAD_S + rng.uniform(0, 0.5)) * RATE)
    for clip, gap in zip(clips, gaps, strict=True):
        end = track.place(clip, at)
        at = end + gap
    digits = tuple(word.text for word in track.words if word.text in DIGITS)
    return Scene(hear(track.samples), (Turn(start / RATE, end / RATE, digits),), kind)


def numbers(people: Sequence[Person], count: int, rng: np.random.Generator, hear: Hear = clean) -> list[Scene]:
    """`count` numbers of one to four digits, by each person in turn."""
    each = [people[i % len(people)] for i in range(count)]
    return [said_in_turn([one_of(person.numbers, rng)], person.kind, rng, hear) for person in each]


def spelled_by_recordings(people: Sequence[Person], count: int, rng: np.random.Generator) -> list[Scene]:
    """`count` numbers of one to four digits, of people whose ten digits are recorded one by one."""
    scenes = []
    for i in range(count):
        person = people[i % len(people)]
        digits = [one_of(person.numbers, rng) for _ in range(int(rng.integers(1, 5)))]
        scenes.append(said_in_turn(digits, f"human {person.name}", rng))
    return scenes


def beside_other_words(
    people: Sequence[Person], count: int, rng: np.random.Generator, *, between: bool = False
) -> list[Scene]:
    """`count` numbers after other words, or between some."""
    scenes = []
    for i in range(count):
        person = people[i % len(people)]
        clips = [one_of(person.others, rng), one_of(person.numbers, rng)]
        scenes.append(said_in_turn([*clips, one_of(person.others, rng)] if between else clips, person.kind, rng))
    return scenes


def interruptions_by(people: Sequence[Person], count: int, rng: np.random.Generator) -> list[Scene]:
    """`count` conversations in which somebody interrupts an answer."""
    bank = [clip for person in people for clip in person.numbers]
    return [interruption(bank, rng, clean) for _ in range(count)]


def unanswered_by(
    people: Sequence[Person], recordings: Sequence[Clip], count: int, rng: np.random.Generator
) -> dict[str, list[Pcm]]:
    """Tracks, by what they hold, with something that is no number; up to `count` of each, or all that there are."""
    kinds = {
        "natural voices, other words": [clip for person in people for clip in person.others],
        "natural voices, numbers in a sentence": [clip for person in people for clip in person.sentences],
        "natural voices, letters": [clip for person in people for clip in person.letters],
        "recordings of other words": recordings,
    }
    return {name: some(clips, count, rng) for name, clips in kinds.items() if clips}


def some(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Pcm]:
    """Tracks with one of the clips each, up to `count`, or all."""
    chosen = rng.permutation(len(clips))[:count]
    return [said_once(clips[i]) for i in chosen]
