"""The events of a conversation, as programs read them: one JSON object a line, version 1.

Each line has `version` (1), `at_s` (seconds since the start, by a clock that never jumps) and `event`, the name of one
of the structs here; the rest are its fields. A later version may add events and fields, and a reader passes over what
it does not know. A field or an event never changes its meaning within a version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

VERSION = 1
SLOW_S = 0.5  # of speech that is not answered yet: nobody takes that for a conversation


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """Something that has happened."""

    version: ClassVar[int] = VERSION


class Connected(Event, frozen=True):
    """A worker has taken the session."""

    address: str
    model: str
    session: str
    seed: int


class Listening(Event, frozen=True):
    """The devices are open, and the model hears the person from now on."""

    microphone: str | None
    """None where a file or a pipe speaks."""
    speaker: str | None
    """None where nothing is played."""


class Text(Event, frozen=True):
    """The model has written a piece of text: a word or a part of one, with the space before it."""

    text: str
    sequence: int
    """The number of the frame that it answers, from 0; a frame is 80 ms."""


class Utterance(Event, frozen=True):
    """The model has written nothing more for a second: all of the text since the last one."""

    text: str


class Word(Event, frozen=True):
    """The person has said a word, as a transcription worker hears it."""

    text: str
    start_s: float
    """Seconds from the first frame of the person's sound."""


class Said(Event, frozen=True):
    """The person has come to a pause, or no word has come for a second: all of them since the last one."""

    text: str


class Transcriber(Event, frozen=True):
    """What became of the transcription worker."""

    state: str
    """"connected", "lost" or "back"."""
    address: str
    reason: str
    """Why it is lost; empty else."""


class Speaking(Event, frozen=True):
    """The model's voice begins."""


class Silent(Event, frozen=True):
    """The model's voice has ended."""


class Muted(Event, frozen=True):
    """The person is not heard any more, or is heard again."""

    muted: bool


class Device(Event, frozen=True):
    """A microphone or a speaker has changed."""

    direction: str
    """"input" or "output"."""
    state: str
    """"lost", "back", "moved", "silent" (nothing but zeros comes) or "heard"."""
    device: str
    reason: str
    after_s: float
    """How long it was lost, or has been silent."""
    message: str
    """All of it as a sentence."""


class Reconnecting(Event, frozen=True):
    """The worker is lost, or asks the session to go: another call is looked for. Once an outage."""

    reason: str


class Resumed(Event, frozen=True):
    """The session goes on."""

    address: str
    after_s: float


class Ending(Event, frozen=True):
    """The worker ends the conversation soon, and no other goes on with it."""

    in_s: float


class Lost(Event, frozen=True):
    """Something was lost in the last seconds; counts since the last such event."""

    microphone_frames: int = 0
    """Dropped because this device was too slow."""
    microphone_overflows: int = 0
    """Times that the driver lost samples of the microphone."""
    speaker_underflows: int = 0
    """Times that the driver had nothing to play because this device was too slow."""
    playout_underruns: int = 0
    """Times that a reply came too late to be played without a gap."""
    playout_dropped_ms: int = 0
    """Speech that was left out, to catch up."""
    unheard_frames: int = 0
    """Frames that no worker was there to hear."""
    late_replies: int = 0
    """Replies that came too late to be played."""
    playout_late_frames: int = 0
    """Replies that were played after their turn."""
    playout_gap_ms: int = 0
    """In all gaps of the reply together."""
    unwritten_frames: int = 0
    """Frames of the person that the transcription worker never heard."""


class Slow(Event, frozen=True):
    """Replies come later than a conversation allows, or in time again: the worker or the network is overloaded."""

    slow: bool
    lag_s: float
    """How much was said that is not answered yet."""


class Status(Event, frozen=True):
    """How it goes, every second."""

    microphone_dbfs: float | None
    """The loudest moment of the last second, in decibels below full scale; None in digital silence."""
    speaker_dbfs: float | None
    round_trip_ms: float | None
    """Of the last reply."""
    lag_s: float
    frames_up: int
    frames_down: int
    muted: bool


class Error(Event, frozen=True):
    """The conversation ends with an error."""

    message: str


class Ended(Event, frozen=True):
    """The conversation is over; nothing comes after it. All that was lost, together."""

    frames_up: int
    frames_down: int
    microphone_outages: int
    speaker_outages: int
    resumptions: int
    longest_lag_s: float
    """The most that was said and not answered yet, outages aside."""
    lost: Lost


Publish = Callable[[Event], None]


def as_json(event: Event, at_s: float) -> bytes:
    """The event as a line."""
    fields = {"version": VERSION, "at_s": round(at_s, 3)} | msgspec.to_builtins(event)
    return msgspec.json.encode(fields) + b"\n"
