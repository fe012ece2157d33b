"""Conversations with the number clerk: the person's track, and what the clerk says when.

Rules. The clerk greets with "ready". `REPLY` frames after the frame in which a person's turn ends it says "you said"
and the digits. `STOP` frames after the frame in which a person starts while it talks, it is silent. Both are late now
and then (`LATE`): a model that missed the moment has learned that the next one will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from train.clips import FRAME, RATE, Clip, Samples, Word
from train.scenes import Track, person, recorded
from train.sounds import sound

GREETING = 3  # frame of "ready"
REPLY = 7  # frames from the one in which speech ends to the reply
STOP = 2  # frames from the one in which speech starts to silence
LATE = (0.7, 0.2, 0.1)  # how often one of them comes on time, one frame late, two frames late
SOUNDS = 0.5  # of the conversations may have sounds that are no speech
APART_S = 0.15  # at least, between speech and such a sound

Turn = tuple[float, float, list[str]]  # start and end in s, digits


@dataclass
class Reply:
    """Units that the clerk says from frame `start`, cut before frame `end` if that comes first."""

    start: int
    units: list[str]
    end: int

    def span_s(self, lengths: dict[str, int]) -> tuple[float, float]:
        """Its start and end in s, given the frames of each unit."""
        end = min(self.end, self.start + sum(lengths[unit] for unit in self.units))
        return self.start * FRAME / RATE, end * FRAME / RATE


@dataclass
class Dialogue:
    """One conversation of a whole number of frames."""

    samples: Samples  # the person's, as recorded
    words: list[Word]
    replies: list[Reply]
    turns: list[Turn] = field(default_factory=list)


def late(rng: np.random.Generator) -> int:
    """Frames by which the clerk is late."""
    return int(rng.choice(len(LATE), p=LATE))


def place_sounds(track: Track, speech: list[tuple[float, float]], rng: np.random.Generator) -> None:
    """Tries one to ten sounds that are no speech, each anywhere; one that would be over speech is left out.

    Speech, starts and ends in s, is the clerk's too: whoever has to tell a sound from a voice first stops too late.
    """
    for _ in range(int(rng.integers(1, 11))):
        samples = sound(rng)
        start = int(rng.integers(len(track.samples)))
        start_s, end_s = start / RATE - APART_S, (start + len(samples)) / RATE + APART_S
        if all(end_s < begin_s or start_s > until_s for begin_s, until_s in speech):
            part = track.samples[start : start + len(samples)]
            part += samples[: len(part)]


def make(
    bank: list[Clip],
    lengths: dict[str, int],
    frames: int,
    rng: np.random.Generator,
    *,
    clean: bool = False,
    sounds: float = SOUNDS,
) -> Dialogue:
    """A conversation.

    Args:
        bank: the person's clips.
        lengths: frames of each unit of the clerk.
        frames: length.
        rng: decides all.
        clean: without noise and room.
        sounds: how often there may be some that are no speech.
    """
    track = Track.silent(frames)
    greeting = Reply(GREETING, ["ready"], frames)
    replies, turns = [greeting], list[Turn]()
    busy_until = GREETING + lengths["ready"]  # frame after the clerk's last
    at_s = rng.uniform(0.5, 2.5) if rng.random() < 0.7 else rng.uniform(0.0, 0.6)
    last = greeting
    quiet_chance = 0.08  # a conversation in which nobody says anything
    silent = rng.random() < quiet_chance
    while not silent and at_s < frames * FRAME / RATE - 1.0:
        digits = int(rng.integers(1, 5))
        turn = person(bank, frames, [(int(at_s * RATE), digits)], rng)
        if not turn.words:
            break
        start_s, end_s = turn.words[0].start_s, turn.words[-1].end_s
        track.samples += turn.samples
        track.words += turn.words
        texts = [word.text for word in turn.words]
        turns.append((start_s, end_s, texts))
        onset = int(start_s * RATE) // FRAME
        stop = onset + STOP + late(rng)
        if stop < busy_until:
            last.end = max(last.start, stop)
        start = int(end_s * RATE) // FRAME + REPLY + late(rng)
        length = lengths["you said"] + sum(lengths[text] for text in texts)
        last = Reply(start, ["you said", *texts], frames)
        replies.append(last)
        busy_until = start + length
        spoken_s = busy_until * FRAME / RATE
        if rng.random() < 0.4:
            at_s = rng.uniform(start * FRAME / RATE + 0.1, spoken_s)  # a barge-in
        else:
            at_s = spoken_s + rng.choice([rng.uniform(0.0, 0.8), rng.uniform(0.3, 4.0)])
    if rng.random() < sounds:
        place_sounds(track, [*((a, b) for a, b, _ in turns), *(reply.span_s(lengths) for reply in replies)], rng)
    samples = track.samples if clean else recorded(track.samples, rng)
    return Dialogue(samples, track.words, replies, turns)
