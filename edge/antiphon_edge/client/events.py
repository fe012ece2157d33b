"""What a session tells its owner: replies, totals, and the loss and return of its streams."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon.codes import Codes


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of what the session was given to say, as it is spoken."""

    text: str
    start_s: float  # in the sound that the replies' codes make
    speaker: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer to the frame of the same sequence number."""

    sequence: int
    codes: Codes | None  # [model_codebooks]; None while the delays hold it back, and where there is no sound
    text_token: int | None  # None while the delays hold it back
    text: str
    round_trip_s: float  # from the frame's sending, however often it was sent, to the reply
    said: SpokenWord | None = None
    """The word that begins with this step; its sound may come later."""
    all_begun: bool = False
    """The last word of a text has begun, and what follows is the model's own; in writing, its answer begins."""
    said_all: bool = False
    """Nothing more is heard of the text that `finish_saying` ended last but those that wait."""
    pause: float | None = None
    """The probability that the person has come to a pause, where `ModelSpec.hears_pauses`."""


@dataclass(frozen=True, slots=True)
class GoAway:
    """The worker asks this session to move."""

    reason: str
    time_left_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """How a session ended. Timings, where asked for, cover the last frames, oldest first, in microseconds."""

    frames: int
    wait_us: list[int] = field(default_factory=list)
    step_us: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream is lost, or soon will be, and the session looks for another."""

    reason: str
    again_in_s: float = 0.0  # until the next attempt


@dataclass(frozen=True, slots=True)
class Resumed:
    """The session goes on in another call."""

    address: str
    after_s: float  # since the session began to look for it
    rebuilt_steps: int  # that the worker computed again; 0 where it still held the slot


@dataclass(frozen=True, slots=True)
class Ending:
    """The session ends soon, and goes on nowhere: it has lasted as long as one may, or the key or token expires."""

    in_s: float


Change = Reconnecting | Resumed | Ending
