"""Turns in a conversation that has none: when a response of a turn-based protocol opens and closes. Without I/O."""

from __future__ import annotations

import enum

import numpy as np

from antiphon_gateway.calls.events import Frame

LOUD = 0.01  # root mean square, −40 dB of full scale
QUIET_FRAMES = 8  # 640 ms without text and sound


class Turn(enum.Enum):
    """What a frame does to the response."""

    NONE = "there is none"
    OPENS = "it opens with this frame"
    GOES_ON = "the frame belongs to it"
    CLOSES = "the frame is its last"


class Turns:
    """A full-duplex model speaks when it will; a client that knows turns is told of a response, from the first text
    piece or loud frame to the last of `QUIET_FRAMES` frames with neither.

    Args:
        always: one response that never closes, for clients that understand it.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self._open = False
        self._quiet = 0
        self._asked = False

    @property
    def open(self) -> bool:
        """Whether a response is open."""
        return self._open

    def ask(self) -> None:
        """The client asks for a response: the next frame opens one, loud or not."""
        self._asked = True

    def cut(self) -> bool:
        """The client ends the response; returns whether one was open. What still sounds of it opens no other."""
        was_open, self._open = self._open, False
        self._quiet = 0
        return was_open

    def add(self, frame: Frame) -> Turn:
        """What the frame does."""
        speaks = bool(frame.reply.text) or is_loud(frame)
        if not self._open:
            if not (speaks or self._asked or self._always):
                return Turn.NONE
            self._open, self._asked, self._quiet = True, False, 0
            return Turn.OPENS
        self._quiet = 0 if speaks else self._quiet + 1
        if self._quiet < QUIET_FRAMES or self._always:
            return Turn.GOES_ON
        self._open = False
        return Turn.CLOSES


def is_loud(frame: Frame) -> bool:
    """Whether the frame's sound is more than background."""
    pcm = frame.pcm
    return pcm is not None and len(pcm) > 0 and float(np.sqrt(np.mean(np.square(pcm)))) > LOUD
