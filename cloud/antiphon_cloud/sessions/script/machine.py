"""What decides when a word begins, and what the text stream holds meanwhile: the rules that all modes share.

At each step an event may happen: a word or a pause begins, or the text that is being said has come to its end. A
machine says what makes it happen, and what the text stream then holds, and is told whether it did. What the stream
holds is a function of the words and of the steps at which events happened: by these a session that goes on elsewhere
is brought back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from antiphon_cloud.sessions.script.entries import Texts

PADDING = 3  # the text token of a step in which no word begins, and none goes on


class Chance(enum.Enum):
    """What makes an event happen at the next step."""

    NEVER = enum.auto()
    DRAWN = enum.auto()
    """The model draws `NEW_WORD`."""
    ALWAYS = enum.auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did of a script."""

    said: int | None = None  # where an event happened: characters of all that was given that have begun
    said_all: bool = False  # nothing more is heard of the text


class Machine(Protocol):
    """The rules of a mode."""

    texts: Texts

    @property
    def chance(self) -> Chance:
        """What makes an event happen at the next step."""

    @property
    def starved(self) -> bool:
        """Whether the next step has to wait for words."""

    def could(self, event: bool) -> bool:
        """Whether the next step can have been taken with the event, or without it, whenever the words came."""

    def begin_midway(self) -> None:
        """An event happens next: the words before it were left out."""

    @property
    def settled(self) -> bool:
        """Whether steps change nothing until the next event."""

    def fed(self, event: bool) -> int:
        """The text token of the next step, `UNGENERATED` for what the model draws: with the event, and without."""

    def advance(self, event: bool, text_token: int) -> Outcome:
        """A step was taken.

        Args:
            event: whether it happened.
            text_token: of the step's reply, −2 where the delays held it back.
        """
