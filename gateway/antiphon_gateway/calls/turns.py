"""Turns in a conversation that has none: when a response of a turn-based protocol opens and closes. Without I/O."""

from __future__ import annotations

import enum

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.calls.events import Frame

LOUD = 0.01  # root mean square, −40 dB of full scale
QUIET_FRAMES = 8  # 640 ms without text and sound
ANSWER_FRAMES = 63  # 5 s, in which a response that was asked for begins to be heard


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
        self.always = always
        self._left = 0  # quiet frames after which the response closes; 0 where there is none
        self._asked = False
        self._cut = 0  # quiet frames that are missing until another response may open

    @property
    def open(self) -> bool:
        """Whether a response is open."""
        return self._left > 0

    def ask(self) -> None:
        """The client asks for a response: the next frame opens one, loud or not."""
        self._asked, self._cut = True, 0

    def cut(self) -> bool:
        """The client ends the response; returns whether one was open. What still sounds of it opens no other."""
        was_open, self._left, self._asked = self.open, 0, False
        if was_open:
            self._cut = QUIET_FRAMES
        return was_open

    def add(self, frame: Frame) -> Turn:
        """What the frame does."""
        speaks = bool(frame.reply.text) or is_loud(frame.pcm)
        if self._cut:
            self._cut = QUIET_FRAMES if speaks else self._cut - 1
            return Turn.NONE
        if not self.open:
            if not (speaks or self._asked or self.always):
                return Turn.NONE
            self._left, self._asked = QUIET_FRAMES if speaks else ANSWER_FRAMES, False
            return Turn.OPENS
        self._left = QUIET_FRAMES if speaks or self.always else self._left - 1
        return Turn.GOES_ON if self._left else Turn.CLOSES


class Speech:
    """When a person begins and ends to speak, by loudness.

    The model needs none of this: it hears all. It is for clients that show who speaks.
    """

    def __init__(self) -> None:
        self._loud = 0  # blocks in a row
        self._quiet_s = 0.0
        self.speaking = False

    def add(self, pcm: Pcm, duration_s: float) -> bool | None:
        """True where the person begins with samples [N], False where they ended before, None for no change."""
        if is_loud(pcm):
            self._loud, self._quiet_s = self._loud + 1, 0.0
        else:
            self._loud, self._quiet_s = 0, self._quiet_s + duration_s
        if not self.speaking and self._loud >= 2:
            self.speaking = True
            return True
        if self.speaking and self._quiet_s >= QUIET_S:
            self.speaking = False
            return False
        return None


QUIET_S = 0.5  # after which a person has ended


def is_loud(pcm: Pcm | None) -> bool:
    """Whether samples [N] are more than background: asked of every frame, so one product and no square root."""
    return pcm is not None and float(np.dot(pcm, pcm)) > LOUD * LOUD * len(pcm)
