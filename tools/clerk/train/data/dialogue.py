"""Makes conversations with the number clerk: the person's track, and the clerk's replies with their times.

The clerk greets with "ready". `REPLY` frames after the frame in which a person's turn ends, it says "you said" and the
digits. It repeats a number that somebody spells out (`spelled`), and nothing else: other words belong to the turn but
are not repeated, and a turn without such a number has no reply. Silence is the better answer to people who talk to each
other: a full-duplex model that explains itself each time is in the way. If a person starts
while the clerk talks, it stops `STOP` frames after the frame in which the person starts. Both are sometimes late
(`LATE`), so that a model that missed the right frame has learned to act in the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tools.clerk.train.data.clips import DIGITS, FRAME, RATE, Clip, Samples, Word
from tools.clerk.train.data.crowd import Crowd, one_of
from tools.clerk.train.data.scenes import PAUSE_S, SPEEDS, Track, person, stretched
from tools.clerk.train.data.sounds import sound
from tools.clerk.train.rooms.echo import echo_of
from tools.clerk.train.rooms.places import placed

GREETING = 3  # frame of "ready"
REPLY = 7  # frames from the end of speech to the reply
STOP = 2  # frames from the start of speech to silence
LATE = (0.7, 0.2, 0.1)  # probabilities of being on time, one frame late, two frames late
TURNS = {
    ("digits",): 0.58,
    ("other",): 0.22,
    ("other", "digits"): 0.1,
    ("digits", "other"): 0.05,
    ("other", "digits", "other"): 0.05,
}
"""The parts of a turn (digits, other words or both), and their probabilities."""
ECHO = 0.4  # share of conversations in which the clerk hears itself
SOUNDS = 0.5  # share of conversations that may have non-speech sounds
APART_S = 0.15  # least time between speech and such a sound

Turn = tuple[float, float, list[str]]  # start and end in s, and digits; none if there are only other words


@dataclass
class Reply:
    """Units that the clerk says from frame `start` on, cut off at frame `end`."""

    start: int
    units: list[str]
    end: int

    def span_s(self, lengths: dict[str, int]) -> tuple[float, float]:
        """Start and end in s, given the frames of each unit."""
        end = min(self.end, self.start + sum(lengths[unit] for unit in self.units))
        return self.start * FRAME / RATE, end * FRAME / RATE


@dataclass
class Dialogue:
    """One conversation of a whole number of frames."""

    samples: Samples  # the person's track, as recorded
    words: list[Word]
    replies: list[Reply]
    turns: list[Turn] = field(default_factory=list)


def late(rng: np.random.Generator) -> int:
    """Draws by how many frames the clerk is late."""
    return int(rng.choice(len(LATE), p=LATE))


def place_sounds(track: Track, speech: list[tuple[float, float]], rng: np.random.Generator) -> None:
    """Adds up to ten non-speech sounds at random times, except those that would overlap with speech.

    `speech` has starts and ends in s, of person and clerk. Sounds stay clear of the clerk's speech too, because a model
    that first has to tell a sound from a voice stops too late.
    """
    for _ in range(int(rng.integers(1, 11))):
        samples = sound(rng)
        start = int(rng.integers(len(track.samples)))
        start_s, end_s = start / RATE - APART_S, (start + len(samples)) / RATE + APART_S
        if all(end_s < begin_s or start_s > until_s for begin_s, until_s in speech):
            track.add(samples, start)


def spelled(words: Sequence[str]) -> list[str]:
    """The digits that the clerk repeats of a phrase said in one breath; none if it is to leave it alone.

    A phrase is spelled out if it has digits only, or ends with two or more. A digit in a sentence counts things, and so
    does a single one at its end.
    """
    digits = list[str]()
    for word in reversed(words):
        if word not in DIGITS:
            break
        digits.insert(0, word)
    alone = len(digits) == len(words)
    return digits if alone or len(digits) >= 2 else []


def say(track: Track, at_s: float, crowd: Crowd, rng: np.random.Generator) -> Turn:
    """Adds a turn, in one voice if that has both digits and other words; the turn may end after the track."""
    parts = list(TURNS)[rng.choice(len(TURNS), p=list(TURNS.values()))] if crowd.others else ("digits",)
    start = at = int(at_s * RATE)
    voice, digits = "", list[str]()
    for i, part in enumerate(parts):
        begin = at + (int(rng.uniform(0, PAUSE_S) * RATE) if i else 0)
        if part == "digits":
            frames = len(track.samples) // FRAME
            said = person(crowd.digits, frames, [(begin, int(rng.integers(1, 5)))], rng, voice=voice)
            track.samples += said.samples
            track.words += said.words
            digits = [word.text for word in said.words]
            at, voice = int(said.words[-1].end_s * RATE) if digits else at, said.voice
        else:
            known = crowd.plain if len(parts) > 1 and crowd.plain else crowd.others
            clips = [clip for clip in known if clip.voice == voice] or known
            clip = clips[int(rng.integers(len(clips)))]
            repeated = spelled([word.text for word in clip.words])
            digits = digits or repeated
            heard = Clip(clip.voice, clip.samples, clip.words[len(clip.words) - len(repeated) :])
            at, voice = track.place(heard, begin, stretched(clip.samples, rng.uniform(*SPEEDS))), clip.voice
    return start / RATE, at / RATE, digits


def own_track(replies: Sequence[Reply], units: Mapping[str, Clip], frames: int) -> Samples:
    """What the clerk says, as its loudspeaker plays it, [frames · 1920]."""
    track = Track.silent(frames)
    for reply in replies:
        said = np.concatenate([units[unit].samples for unit in reply.units])[: max(0, reply.end - reply.start) * FRAME]
        track.add(said, reply.start * FRAME)
    return track.samples


def make(
    crowds: Sequence[Crowd],
    lengths: dict[str, int],
    frames: int,
    rng: np.random.Generator,
    *,
    clean: bool = False,
    sounds: float = SOUNDS,
    units: Mapping[str, Clip] | None = None,
) -> Dialogue:
    """Makes a conversation.

    Args:
        crowds: who speaks; each turn is of one.
        lengths: frames of each unit of the clerk.
        frames: length of the conversation.
        rng: makes all random choices.
        clean: whether to leave out noise and room.
        sounds: probability of non-speech sounds.
        units: the clerk's units as they sound, which a share of `ECHO` of the microphones hears; None for no echo.
    """
    track = Track.silent(frames)
    greeting = Reply(GREETING, ["ready"], frames)
    replies, turns = [greeting], list[Turn]()
    busy_until = GREETING + lengths["ready"]  # frame after the clerk's last
    at_s = rng.uniform(0.5, 2.5) if rng.random() < 0.7 else rng.uniform(0.0, 0.6)
    last = greeting
    quiet_chance = 0.08  # probability of a conversation without speech
    silent = rng.random() < quiet_chance
    while not silent and at_s < frames * FRAME / RATE - 1.0:
        start_s, end_s, digits = say(track, at_s, one_of(crowds, rng), rng)
        turns.append((start_s, end_s, digits))
        onset = int(start_s * RATE) // FRAME
        stop = onset + STOP + late(rng)
        if stop < busy_until:
            last.end, busy_until = max(last.start, stop), stop
        if not digits:
            at_s = end_s + rng.uniform(0.2, 3.0)
            continue
        start = int(end_s * RATE) // FRAME + REPLY + late(rng)
        length = lengths["you said"] + sum(lengths[digit] for digit in digits)
        last = Reply(start, ["you said", *digits], frames)
        replies.append(last)
        busy_until = start + length
        spoken_s = busy_until * FRAME / RATE
        if rng.random() < 0.4:
            at_s = rng.uniform(start * FRAME / RATE + 0.1, spoken_s)  # the person interrupts
        else:
            at_s = spoken_s + rng.choice([rng.uniform(0.0, 0.8), rng.uniform(0.3, 4.0)])
    if rng.random() < sounds:
        place_sounds(track, [*((a, b) for a, b, _ in turns), *(reply.span_s(lengths) for reply in replies)], rng)
    samples = track.samples if clean else placed(track.samples, rng)
    if units and rng.random() < ECHO:
        samples = np.clip(samples + echo_of(own_track(replies, units, frames), rng), -1, 1)
    return Dialogue(samples, track.words, replies, turns)
